"""From a tree back to text (RFC 7644 section 3.4.2.2), for another service provider and for the log."""

import json
from collections.abc import Callable

from schema.resource_type import AttributePath
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPatchPath,
    BoundPresence,
    BoundValuePath,
    Comparison,
    Literal,
    Node,
    Not,
    Or,
    PatchPath,
    Presence,
    ValuePath,
)
from scim_filter.visitor import Visitor


def render(node: Node | PatchPath | BoundPatchPath) -> str:
    """Return the text whose tree is `node`, with no parentheses but those it needs."""
    match node:
        case PatchPath(path=path, filter=inner, sub_attribute=sub_attribute):
            return _patch_path(path.text, inner, sub_attribute)
        case BoundPatchPath(path=bound, filter=None):
            return bound.text
        case BoundPatchPath(path=bound, filter=inner):
            sub_attribute = bound.sub_attribute.name if bound.sub_attribute else None
            attribute = AttributePath(bound.attribute, None, bound.extension)
            return _patch_path(attribute.text, inner, sub_attribute)
        case _:
            return _Renderer().visit(node)


def render_without_values(node: Node) -> str:
    """Return the text with a question mark in place of each value, which may be personal data."""
    return _Renderer(lambda value: "?").visit(node)


def _literal(value: Literal) -> str:
    return json.dumps(value, ensure_ascii=False)


def _patch_path(attribute: str, inner: Node | None, sub_attribute: str | None) -> str:
    brackets = f"[{_Bracketed().visit(inner)}]" if inner is not None else ""
    return f"{attribute}{brackets}{'.' + sub_attribute if sub_attribute else ''}"


class _Renderer(Visitor[str]):
    """`shown` returns the text of a value."""

    def __init__(self, shown: Callable[[Literal], str] = _literal) -> None:
        self._shown = shown

    def comparison(self, node: Comparison) -> str:
        return self._compared(node.path.text, node)

    def presence(self, node: Presence) -> str:
        return f"{node.path.text} pr"

    def value_path(self, node: ValuePath) -> str:
        return f"{node.path.text}[{_Bracketed(self._shown).visit(node.filter)}]"

    def bound_comparison(self, node: BoundComparison) -> str:
        return self._compared(node.path.text, node)

    def bound_presence(self, node: BoundPresence) -> str:
        return f"{node.path.text} pr"

    def bound_value_path(self, node: BoundValuePath) -> str:
        return f"{node.path.text}[{_Bracketed(self._shown).visit(node.filter)}]"

    def conjunction(self, node: And) -> str:
        parts = (f"({self.visit(o)})" if isinstance(o, Or) else self.visit(o) for o in node.operands)
        return " and ".join(parts)

    def disjunction(self, node: Or) -> str:
        return " or ".join(map(self.visit, node.operands))

    def negation(self, node: Not) -> str:
        return f"not ({self.visit(node.operand)})"

    def _compared(self, path: str, node: Comparison | BoundComparison) -> str:
        return f"{path} {node.operator} {self._shown(node.value)}"


class _Bracketed(_Renderer):
    """Within brackets a sub-attribute stands alone, and `value` for a simple element."""

    def bound_comparison(self, node: BoundComparison) -> str:
        return self._compared(_part(node.path), node)

    def bound_presence(self, node: BoundPresence) -> str:
        return f"{_part(node.path)} pr"


def _part(path: AttributePath) -> str:
    return "value" if path.sub_attribute is None else path.sub_attribute.name
