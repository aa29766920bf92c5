"""The grammar of filters and PATCH paths for PLY; the ABNF of RFC 7644 stands above each production.

The productions of `and` and `or` are left-recursive lists, so that precedence and a flat tree come
of themselves and a filter of thousands of terms needs no deep stack.
"""

from typing import Any

from scim_filter.lexer import FilterLexer
from scim_filter.nodes import (
    Comparison,
    Not,
    PatchPath,
    Path,
    Presence,
    ValuePath,
    all_of,
    any_of,
)


class UnexpectedToken(Exception):
    """A token that does not fit, by its offset in the text; None when the text ends too early."""

    def __init__(self, position: int | None) -> None:
        super().__init__(position)
        self.position = position


class FilterGrammar:
    """The rules of PLY's parser; the start symbol is `filter` or `path`."""

    tokens = FilterLexer.tokens

    # FILTER = attrExp / logExp / valuePath / *1"not" "(" FILTER ")"
    def p_filter(self, p: Any) -> None:
        "filter : disjunction"
        p[0] = any_of(p[1])

    # logExp = FILTER SP ("and" / "or") SP FILTER; `and` binds stronger
    def p_list_of_one(self, p: Any) -> None:
        """disjunction : conjunction_node
        conjunction : term"""
        p[0] = [p[1]]

    def p_longer_list(self, p: Any) -> None:
        """disjunction : disjunction OR conjunction_node
        conjunction : conjunction AND term"""
        p[1].append(p[3])
        p[0] = p[1]

    def p_conjunction_node(self, p: Any) -> None:
        "conjunction_node : conjunction"
        p[0] = all_of(p[1])

    # *1"not" "(" FILTER ")"
    def p_group(self, p: Any) -> None:
        "term : LPAREN filter RPAREN"
        p[0] = p[2]

    def p_not(self, p: Any) -> None:
        "term : NOT LPAREN filter RPAREN"
        p[0] = Not(p[3])

    # attrExp = attrPath SP "pr"
    def p_presence(self, p: Any) -> None:
        "term : PATH PR"
        p[0] = Presence(_path(p, 1))

    # attrExp = attrPath SP compareOp SP compValue
    def p_comparison(self, p: Any) -> None:
        "term : PATH OPERATOR LITERAL"
        p[0] = Comparison(_path(p, 1), p[2], p[3])

    # valuePath = attrPath "[" valFilter "]"
    def p_value_path(self, p: Any) -> None:
        "term : PATH LBRACKET filter RBRACKET"
        p[0] = ValuePath(_path(p, 1), p[3])

    # attrExp = valuePath subAttr SP compareOp SP compValue
    # Not in the RFC: Entra ID writes `emails[type eq "work"].value eq "x"`, a further condition
    # on the element.
    def p_value_path_comparison(self, p: Any) -> None:
        "term : PATH LBRACKET filter RBRACKET SUB_ATTRIBUTE OPERATOR LITERAL"
        last = Comparison(_sub_attribute(p, 5), p[6], p[7])
        p[0] = ValuePath(_path(p, 1), all_of([p[3], last]))

    # attrExp = valuePath subAttr SP "pr"
    def p_value_path_presence(self, p: Any) -> None:
        "term : PATH LBRACKET filter RBRACKET SUB_ATTRIBUTE PR"
        last = Presence(_sub_attribute(p, 5))
        p[0] = ValuePath(_path(p, 1), all_of([p[3], last]))

    # PATH = attrPath
    def p_path(self, p: Any) -> None:
        "path : PATH"
        p[0] = PatchPath(_path(p, 1))

    # PATH = valuePath
    def p_path_with_filter(self, p: Any) -> None:
        "path : PATH LBRACKET filter RBRACKET"
        p[0] = PatchPath(_path(p, 1), p[3])

    # PATH = valuePath subAttr
    def p_path_with_sub_attribute(self, p: Any) -> None:
        "path : PATH LBRACKET filter RBRACKET SUB_ATTRIBUTE"
        p[0] = PatchPath(_path(p, 1), p[3], p[5])

    def p_error(self, token: Any) -> None:
        raise UnexpectedToken(None if token is None else token.lexpos)


def _path(p: Any, index: int) -> Path:
    return Path(p[index], p.lexpos(index) + 1)


def _sub_attribute(p: Any, index: int) -> Path:
    # The token begins with the dot.
    return Path(p[index], p.lexpos(index) + 2)
