"""The tokens of filters and PATCH paths (RFC 7644 sections 3.4.2.2 and 3.5.2), by PLY."""

import json
from typing import Any

from ply import lex

OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_WORDS = {"and": "AND", "or": "OR", "not": "NOT", "pr": "PR"}
_LITERALS = {"true": True, "false": False, "null": None}
# Deeper nesting serves nobody, and the stack of whoever walks the tree is finite.
MAX_DEPTH = 50


class SyntaxProblem(Exception):
    """What is wrong with the text, and at which character, counted from 1."""

    def __init__(self, text: str, position: int) -> None:
        super().__init__(f"{text} at character {position}")


class FilterLexer:
    """The rules of PLY's lexer; an attribute path with its URN is one token."""

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
        r'"(?:[^"\\]|\\.)*"'
        try:
            token.value = json.loads(token.value)
            token.value.encode()
        except ValueError:
            # Control characters, unknown escapes, lone surrogates: no JSON string has them.
            raise SyntaxProblem("the string is no JSON string", token.lexpos + 1) from None
        token.type = "LITERAL"
        return token

    def t_NUMBER(self, token: Any) -> Any:
        r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])"
        if len(token.value) > 100:
            raise SyntaxProblem("the number is too long", token.lexpos + 1)
        integral = token.value.lstrip("-").isdigit()
        token.value = int(token.value) if integral else float(token.value)
        token.type = "LITERAL"
        return token

    def t_SUB_ATTRIBUTE(self, token: Any) -> Any:
        r"\.[A-Za-z$][\w\-$]*"
        token.value = token.value[1:]
        return token

    def t_PATH(self, token: Any) -> Any:
        r"[A-Za-z$][\w\-$.:+%@/]*"
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
        return self._deeper(token)

    def t_LBRACKET(self, token: Any) -> Any:
        r"\["
        return self._deeper(token)

    def t_RPAREN(self, token: Any) -> Any:
        r"\)"
        token.lexer.depth -= 1
        return token

    def t_RBRACKET(self, token: Any) -> Any:
        r"\]"
        token.lexer.depth -= 1
        return token

    def t_error(self, token: Any) -> None:
        raise SyntaxProblem(f"unexpected {token.value[0]!r}", token.lexpos + 1)

    @staticmethod
    def _deeper(token: Any) -> Any:
        token.lexer.depth += 1
        if token.lexer.depth > MAX_DEPTH:
            raise SyntaxProblem(f"more than {MAX_DEPTH} levels of nesting", token.lexpos + 1)
        return token


def make_lexer() -> Any:
    """Return a PLY lexer to be cloned for each text: PLY's lexers are not thread-safe."""
    lexer = lex.lex(object=FilterLexer(), errorlog=lex.NullLogger())
    lexer.depth = 0
    return lexer
