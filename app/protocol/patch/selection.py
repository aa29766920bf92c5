"""The element that a filter in brackets describes, where it selects none."""

from typing import Any, Final

from schema.errors import NoTarget
from scim_filter.nodes import And, BoundComparison, BoundPatchPath, Node, Not
from telemetry.deviations import accepted

# What names an element rather than describe it: nobody means a new one by that.
_NAMING: Final = frozenset({"value", "$ref"})


class NothingSelected(NoTarget):
    """The filter of a path selects nothing, which another resource might hold."""


def made_element(condition: Node) -> dict[str, Any] | None:
    """Return the element that a filter of equalities describes, or None for any other filter."""
    parts = condition.operands if isinstance(condition, And) else (condition,)
    element: dict[str, Any] = {}
    for part in parts:
        equality = part.operand if isinstance(part, Not) else part
        if not isinstance(equality, BoundComparison) or equality.operator != "eq":
            return None
        leaf, value = equality.path.leaf, equality.value
        name, made = leaf.name, [value] if leaf.multi_valued else value
        if isinstance(part, Not):
            # `primary eq false` is bound so: absent is false.
            if name != "primary" or value is not True:
                return None
            made = False
        if element.setdefault(name, made) != made:
            # No element has both.
            return None
    return element


def element_to_make(op: str, bound: BoundPatchPath) -> dict[str, Any] | None:
    """Return the element to make for `op` where the filter of its path selects nothing, if any.

    Entra ID sets the first work number by `replace` of `phoneNumbers[type eq "work"].value`: the
    element is made as `add` does it, unless the filter names an element by its value.
    """
    template = None if bound.filter is None else made_element(bound.filter)
    if template is None or op != "add" and (bound.path.sub_attribute is None or _NAMING & set(template)):
        return None
    accepted("new-values")
    return template
