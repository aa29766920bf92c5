"""Removing by value: which elements the `value` of a remove operation describes.

RFC 7644 section 3.5.2.2 knows only paths; Entra ID and others send whom or what to remove as values.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from app.protocol.patch.elements import Elements
from app.protocol.patch.plan import PatchRules
from app.protocol.patch.values import listed
from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.leniency import MISMATCH
from schema.resource_type import AttributePath
from schema.validation import rewritten_values
from schema.values import comparison_key
from scim_filter.nodes import BoundComparison, Node, all_of


def named_values(value: Any) -> list[Any]:
    """Return the items of a list, or of one value, that name anything.

    Null, "", 0, false, and what holds nothing else name nothing: a client that computes a list of
    what to remove computes empty ones, too, and does not mean everything.
    """
    return [item for item in listed(value) if not _is_hollow(item)]


def _is_hollow(item: Any) -> bool:
    if isinstance(item, Mapping):
        return all(part is None or part == "" or part == [] or part == {} for part in item.values())
    return not item or (isinstance(item, list) and all(map(_is_hollow, item)))


def removal_items(attribute: Attribute, value: Any) -> list[Any] | None:
    """Return what the `value` of a remove operation names, None where it says nothing.

    Only a list of values can be removed in part; a single value goes whatever comes along.
    """
    if value is None or not attribute.multi_valued:
        return None
    if isinstance(value, list) and not attribute.is_complex:
        # In such a list 0 is a number, and "" a text.
        return [item for item in value if item is not None and item != {} and item != []]
    return named_values(value)


def described(rules: PatchRules, path: AttributePath, elements: Elements, items: list[Any]) -> list[int]:
    """Return the numbers of the elements that `items` describe, by their value or by their parts.

    Attribute names and values are compared as in a filter. Raises InvalidValue for a value that no
    element can have, and for an object of unknown sub-attributes alone.
    """
    if not path.attribute.is_complex:
        return _united(map(elements.equal_to, rules.elements(path.attribute, items, path.text)))
    holder = AttributePath(path.attribute, None, path.extension)
    sub = path.sub_attribute or path.attribute.sub_attribute("value")
    conditions = []
    for item in rewritten_values(path.attribute, items, rules.profile.patch):
        parts = item if isinstance(item, Mapping) else _read_alone(rules, path, sub, item)
        condition = _condition(rules, holder, parts)
        if condition is not None:
            conditions.append(condition)
    return _united(map(elements.select, conditions))


def _read_alone(
    rules: PatchRules, path: AttributePath, sub: Attribute | None, item: Any
) -> Mapping[str, Any]:
    """Return the parts that an item means which is no object."""
    reading = MISMATCH if path.sub_attribute else rules.profile.patch.coercion(path.attribute, item)
    if isinstance(reading, Mapping):
        return reading
    if sub is None:
        raise InvalidValue(f"{path.text}: must be an object")
    return {sub.name: item}


def _condition(rules: PatchRules, path: AttributePath, parts: Mapping[str, Any]) -> Node | None:
    """Return the filter that elements with all of `parts` satisfy, None when there are none."""
    equalities: list[Node] = []
    unknown = None
    for name, part in parts.items():
        sub = path.attribute.sub_attribute(name)
        if part is None or part == "":
            continue
        if sub is None:
            unknown = name
        elif sub.name != "$ref":
            equalities += _equalities(rules, AttributePath(path.attribute, sub, path.extension), sub, part)
    if not equalities:
        if unknown is not None:
            raise InvalidValue(f"{path.text}: {unknown[:100]} is not a sub-attribute")
        return None
    return all_of(equalities)


def _equalities(rules: PatchRules, path: AttributePath, sub: Attribute, part: Any) -> list[Node]:
    value = rules.value_reader(sub)(part, path.text)
    values = value if isinstance(value, list) else [value] if value is not None else []
    return [BoundComparison(path, "eq", one, comparison_key(sub, one)) for one in values]


def _united(found: Iterable[list[int]]) -> list[int]:
    return sorted({number for numbers in found for number in numbers})
