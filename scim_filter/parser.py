"""From the text of a filter or PATCH path to its tree (RFC 7644 sections 3.4.2.2 and 3.5.2)."""

import copy
import re
import threading
from functools import cache
from typing import Any

from ply import yacc

from schema.errors import InvalidFilter, InvalidPath
from scim_filter.grammar import FilterGrammar, UnexpectedToken
from scim_filter.lexer import OPERATORS, WORDS, SyntaxProblem, begin_text, make_lexer
from scim_filter.nodes import Comparison, Node, PatchPath, Path

MAX_LENGTH = 8192
# Deeper nesting serves nobody, and the stack of whoever walks the tree is finite.
MAX_DEPTH = 50

# One comparison with a text in which nothing is escaped.
_PLAIN = re.compile(
    rf'[ \t\r\n]*([A-Za-z$][A-Za-z0-9_$.:\-]*)[ \t\r\n]+({"|".join(sorted(OPERATORS))})[ \t\r\n]+'
    r'"([^"\\\x00-\x1f\ud800-\udfff]*)"[ \t\r\n]*',
    re.IGNORECASE | re.ASCII,
)
_BUILDING = threading.Lock()
_THREAD = threading.local()
# What an error calls the terminals of the grammar, in the order it lists them.
_NAMES = {
    "PATH": "an attribute",
    "SUB_ATTRIBUTE": "a sub-attribute",
    "OPERATOR": "an operator",
    "PR": "'pr'",
    "LITERAL": "a value",
    "AND": "'and'",
    "OR": "'or'",
    "NOT": "'not'",
    "LPAREN": "'('",
    "RPAREN": "')'",
    "LBRACKET": "'['",
    "RBRACKET": "']'",
    "$end": "the end",
}


def parse_filter(text: str, *, max_length: int = MAX_LENGTH, max_depth: int = MAX_DEPTH) -> Node:
    """Return the tree of a filter.

    Raises InvalidFilter, which tells what is wrong at which character, for text that is no filter,
    is longer than `max_length` characters or has more than `max_depth` groups and brackets
    within each other.
    """
    plain = _PLAIN.fullmatch(text) if len(text) <= max_length else None
    if plain is not None and plain[1].lower() not in WORDS:
        # Most filters look up one value: the tables would find the same in ten times the time.
        return Comparison(Path(plain[1], plain.start(1) + 1), plain[2].lower(), plain[3])
    try:
        node: Node = _parse("filter", text, max_length, max_depth)
    except SyntaxProblem as problem:
        raise InvalidFilter(f"filter: {problem}") from None
    return node


def parse_path(text: str, *, max_length: int = MAX_LENGTH, max_depth: int = MAX_DEPTH) -> PatchPath:
    """Return the tree of a PATCH path.

    Raises InvalidFilter for what is no filter within brackets (RFC 7644 table 9), and InvalidPath
    for any other fault, such as brackets that are not closed.
    """
    try:
        path: PatchPath = _parse("path", text, max_length, max_depth)
    except SyntaxProblem as problem:
        error = InvalidFilter if problem.in_brackets else InvalidPath
        raise error(f"path: {problem}") from None
    return path


def _parse(start: str, text: str, max_length: int, max_depth: int) -> Any:
    if len(text) > max_length:
        raise SyntaxProblem(f"found more than {max_length} characters (the limit)", max_length + 1)
    lexer, parser = _own(start)
    begin_text(lexer, max_depth)
    parser.statestack = [0]
    before: list[int] = []
    in_brackets = False

    def next_token() -> Any:
        nonlocal in_brackets
        # A token that does not fit may still lead to reductions; what was possible instead of it
        # is only known from the stack as it was before.
        before[:], in_brackets = parser.statestack, lexer.bracketed
        return lexer.token()

    try:
        return parser.parse(text, lexer=lexer, tokenfunc=next_token)
    except UnexpectedToken as unexpected:
        problem = _misfit(text, unexpected.position, lexer.lexpos, _expected(parser, before))
        problem.in_brackets = in_brackets and unexpected.position is not None
        raise problem from None
    except SyntaxProblem as problem:
        problem.in_brackets = in_brackets
        raise


def _own(start: str) -> tuple[Any, Any]:
    """Return the lexer and the parser of this thread: PLY keeps the state of a parse on both."""
    own: tuple[Any, Any] | None = getattr(_THREAD, start, None)
    if own is None:
        with _BUILDING:
            lexer, parser = _tables(start)
        own = lexer.clone(), copy.copy(parser)
        setattr(_THREAD, start, own)
    return own


def _misfit(text: str, begin: int | None, end: int, expected: list[str]) -> SyntaxProblem:
    hint = f"; expected: {', '.join(expected)}"
    if begin is None:
        return SyntaxProblem("found the end", len(text) + 1, hint)
    found = text[begin:end]
    return SyntaxProblem(f"found {found if len(found) <= 40 else found[:40] + '...'!r}", begin + 1, hint)


@cache
def _tables(start: str) -> tuple[Any, Any]:
    """Return the lexer and the parser to copy for each thread, built once in a process."""
    parser = yacc.yacc(
        module=FilterGrammar(),
        start=start,
        debug=False,
        write_tables=False,
        errorlog=yacc.NullLogger(),
    )
    return make_lexer(), parser


def _expected(parser: Any, states: list[int]) -> list[str]:
    """Return what can follow when `states` are on the parser's stack."""
    return [name for terminal, name in _NAMES.items() if _shifts(parser, states, terminal)]


def _shifts(parser: Any, states: list[int], terminal: str) -> bool:
    # The tables of LALR(1) share states: `)` may be listed where no group is open. Whether it
    # fits is known when the reductions it leads to have been followed to the end.
    stack = list(states)
    while (action := parser.action[stack[-1]].get(terminal)) is not None:
        if action >= 0:
            return True
        production = parser.productions[-action]
        del stack[len(stack) - production.len :]
        stack.append(parser.goto[stack[-1]][production.name])
    return False
