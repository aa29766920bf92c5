"""From the text of a filter or PATCH path to its tree (RFC 7644 sections 3.4.2.2 and 3.5.2)."""

import copy
import threading
from functools import cache
from typing import Any

from ply import yacc

from schema.errors import InvalidFilter, InvalidPath
from scim_filter.grammar import FilterGrammar
from scim_filter.lexer import SyntaxProblem, make_lexer
from scim_filter.nodes import Node, PatchPath

MAX_LENGTH = 8192
_BUILDING = threading.Lock()


@cache
def _tables(start: str) -> tuple[Any, Any]:
    """Return the lexer and parser to be copied for each text: PLY's own are not thread-safe."""
    with _BUILDING:
        parser = yacc.yacc(
            module=FilterGrammar(),
            start=start,
            debug=False,
            write_tables=False,
            errorlog=yacc.NullLogger(),
        )
        return make_lexer(), parser


def _parse(text: str, start: str) -> Any:
    lexer, parser = _tables(start)
    own = lexer.clone()
    own.depth = 0
    try:
        return copy.copy(parser).parse(text, lexer=own)
    except SyntaxProblem as problem:
        if str(problem).endswith("at character 0"):
            raise SyntaxProblem("the text ends too early", len(text) + 1) from None
        raise


def parse_filter(text: str, *, max_length: int = MAX_LENGTH) -> Node:
    """Return the tree of a filter.

    Raises InvalidFilter, which tells the position, for text that is no filter, is longer than
    `max_length` characters or is nested too deep.
    """
    if len(text) > max_length:
        raise InvalidFilter(f"filter: is longer than {max_length} characters")
    try:
        node: Node = _parse(text, "filter")
    except SyntaxProblem as problem:
        raise InvalidFilter(f"filter: {problem}") from None
    return node


def parse_path(text: str, *, max_length: int = MAX_LENGTH) -> PatchPath:
    """Return the tree of a PATCH path. Raises InvalidPath as `parse_filter` raises InvalidFilter."""
    if len(text) > max_length:
        raise InvalidPath(f"path: is longer than {max_length} characters")
    try:
        path: PatchPath = _parse(text, "path")
    except SyntaxProblem as problem:
        raise InvalidPath(f"path: {problem}") from None
    return path
