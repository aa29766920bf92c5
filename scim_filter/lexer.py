"""The tokens of filters and PATCH paths (RFC 7644 sections 3.4.2.2 and 3.5.2), by PLY."""

import json
import math
from typing import Any, NoReturn

from ply import lex

OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_WORDS = {"and": "AND", "or": "OR", "not": "NOT", "pr": "PR"}
_LITERALS = {"true": True, "false": False, "null": None}
# The words that are no names of attributes, in lower case.
WORDS = OPERATORS | _WORDS.keys() | _LITERALS.keys()
# No number that a resource can hold takes more digits.
_LONGEST_NUMBER = 100


class SyntaxProblem(Exception):
    """What is wrong with the text, and at which character, counted from 1; `in_brackets` says where."""

    def __init__(self, problem: str, position: int, hint: str = "") -> None:
        super().__init__(f"{problem} at character {position}{hint}")
        self.in_brackets = False


class FilterLexer:
    """The rules of PLY's lexer; an attribute path with its URN is one token.

    PLY tries them in the order they are written in. What changes while a text is read (`depth`,
    `bracketed`) is kept on the lexer that reads it.
    """

    tokens = (
        "PATH",
        "SUB_ATTRIBUTE",
        "OPERATOR",
        "PR",
        "AND",
        "OR",
        "NOT",
        "LITERAL",
        "LPAREN",
        "RPAREN",
        "LBRACKET",
        "RBRACKET",
    )
    t_ignore = " \t\r\n"

    def t_STRING(self, token: Any) -> Any:
        r'"(?:[^"\\]|\\(?:.|\n))*"'
        try:
            token.value = json.loads(token.value)
            token.value.encode()
        except ValueError:
            # Control characters, unknown escapes, lone surrogates: no JSON string has them.
            _refuse("found a string that is not valid JSON", token)
        token.type = "LITERAL"
        return token

    def t_NUMBER(self, token: Any) -> Any:
        r"-?[0-9][\w.+\-]*"
        # All that stands together is one token, so that `007` and `1.` are refused as a whole.
        if len(token.value) > _LONGEST_NUMBER:
            _refuse(f"found a number of more than {_LONGEST_NUMBER} characters", token)
        try:
            value = json.loads(token.value)
        except ValueError:
            _refuse(f"found {token.value!r}, which is not a JSON number,", token)
        if not math.isfinite(value):
            _refuse(f"found {token.value!r}, which is out of range,", token)
        token.type, token.value = "LITERAL", value
        return token

    def t_SUB_ATTRIBUTE(self, token: Any) -> Any:
        r"\.[A-Za-z$][A-Za-z0-9_$\-]*"
        token.value = token.value[1:]
        return token

    def t_PATH(self, token: Any) -> Any:
        r"[uU][rR][nN]:[!\#-'*-Z\\^-~]+|[A-Za-z$][A-Za-z0-9_$.:\-]*"
        # A URN may hold all of ASCII that has no meaning of its own in a filter.
        word = token.value.lower()
        if word in _WORDS:
            token.type = _WORDS[word]
        elif word in OPERATORS:
            token.type, token.value = "OPERATOR", word
        elif word in _LITERALS:
            token.type, token.value = "LITERAL", _LITERALS[word]
        return token

    def t_LPAREN(self, token: Any) -> Any:
        r"\("
        return _deeper(token)

    def t_LBRACKET(self, token: Any) -> Any:
        r"\["
        # valFilter of RFC 7644 has no valuePath in it: the elements of an attribute have no elements.
        if token.lexer.bracketed:
            _refuse("found brackets within brackets", token)
        token.lexer.bracketed = True
        return _deeper(token)

    def t_RPAREN(self, token: Any) -> Any:
        r"\)"
        token.lexer.depth -= 1
        return token

    def t_RBRACKET(self, token: Any) -> Any:
        r"\]"
        token.lexer.bracketed = False
        token.lexer.depth -= 1
        return token

    def t_error(self, token: Any) -> None:
        found = token.value[0]
        if found == '"':
            _refuse("found a string without closing quote", token)
        hint = "; strings need double quotes" if found == "'" else ""
        raise SyntaxProblem(f"found {found!r}", token.lexpos + 1, hint)


def _refuse(problem: str, token: Any) -> NoReturn:
    raise SyntaxProblem(problem, token.lexpos + 1) from None


def _deeper(token: Any) -> Any:
    token.lexer.depth += 1
    if token.lexer.depth > token.lexer.max_depth:
        _refuse(f"found more than {token.lexer.max_depth} levels of nesting", token)
    return token


def make_lexer() -> Any:
    """Return a PLY lexer for `lexer_for` to copy."""
    return lex.lex(object=FilterLexer(), errorlog=lex.NullLogger())


def begin_text(lexer: Any, max_depth: int) -> None:
    """Make `lexer` forget the text before: it is the lexer of one thread, for one text at a time."""
    lexer.depth, lexer.max_depth, lexer.bracketed = 0, max_depth, False
    lexer.lineno = 1
