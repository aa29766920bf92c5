"""How an operation changes one complex value: read once, then done to as many as the path selects."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.protocol.patch.index import frozen
from app.protocol.patch.plan import PatchRules
from schema.attribute import Attribute
from schema.errors import InvalidValue, Mutability
from schema.required import lacking
from schema.resource_type import AttributePath
from schema.validation import is_emptied
from schema.values import key_function, lenient_key

Change = Callable[[Any], Any]
# From the canonical value of a sub-attribute, None for none, to the one it gets.
PartChange = Callable[[Any], Any]


def element_change(rules: PatchRules, op: str, path: AttributePath, value: Any) -> Change:
    """Return what `op` does to each element that a filter selects."""
    if path.sub_attribute is not None:
        return part_change(rules, path, assignment(rules, op, path, value))
    alone = value[0] if isinstance(value, list) and len(value) == 1 else value
    is_merged = op == "add" and path.attribute.is_complex
    if is_merged and isinstance(parts := rules.object_in(path.attribute, alone), Mapping):
        return merge(rules, op, path.attribute, parts, path.text)
    whole = rules.element_reader(path.attribute)(alone, path.text)
    return lambda old: whole


def assignment(rules: PatchRules, op: str, path: AttributePath, value: Any) -> PartChange:
    """Return what `add` or `replace` makes of the sub-attribute of `path`; `add` appends to a list."""
    sub = path.leaf
    if not sub.multi_valued:
        single = rules.value_reader(sub)(value, path.text)
        return lambda old: single
    new = rules.elements(sub, value, path.text)
    return lambda old: (_joined(old, new) if op == "add" else new) or None


def _joined(old: Any, new: list[Any]) -> list[Any]:
    """Return a list with those of `new` behind it that it lacks."""
    values = [] if old is None else listed(old)
    known = set(map(frozen, values))
    return [*values, *(value for value in new if frozen(value) not in known)]


def removal(rules: PatchRules, path: AttributePath, items: list[Any] | None) -> PartChange:
    """Return what `remove` makes of the sub-attribute of `path`; a list loses `items`, all without them."""
    sub = path.leaf
    if items is None or not sub.multi_valued:
        return lambda old: None
    key, gone = lenient_key(sub), {*map(key_function(sub), rules.elements(sub, items, path.text))}
    return lambda old: old and [value for value in listed(old) if key(value) not in gone] or None


def part_change(rules: PatchRules, path: AttributePath, part: PartChange) -> Change:
    """Return a function that changes the sub-attribute of `path` in a complex value as `part` says.

    It raises Mutability for an immutable one that has another value, and InvalidValue for a required
    one that would have none.
    """
    sub = path.leaf

    def change(old: Mapping[str, Any]) -> dict[str, Any]:
        before = old.get(sub.name)
        after = part(before)
        check_immutable(sub, path, before, after)
        changed = _unless_emptied(rules, path, {**old, sub.name: after})
        if changed and sub.required and after in (None, ""):
            raise InvalidValue(f"{path.text}: is required")
        return {name: item for name, item in changed.items() if item is not None}

    return change


def _unless_emptied(rules: PatchRules, path: AttributePath, element: dict[str, Any]) -> dict[str, Any]:
    """Return an element of which one sub-attribute was set: nothing when that was its `value`, to ""."""
    if path.leaf.name != "value" or element.get("value") != "":
        return element
    # A $ref names what the value was before.
    left = {name: part for name, part in element.items() if name != "$ref"}
    return {} if is_emptied(path.attribute, left, rules.profile.patch) else element


def merge(rules: PatchRules, op: str, attribute: Attribute, value: Mapping[str, Any], place: str) -> Change:
    """Return a function that changes the sub-attributes in `value`, and takes those away that are null.

    `add` appends to lists. Whether all that are required are there is to be checked on the
    value that comes of it.
    """
    given: dict[str, Any] = rules.parts_reader(attribute)(value, place) or {}
    if not given and is_emptied(attribute, value, rules.profile.patch):
        return lambda old: {}
    empty: tuple[Any, ...] = (None,) if op == "add" else (None, [])
    gone = {
        sub.name
        for key, item in value.items()
        if item in empty and (sub := attribute.sub_attribute(key)) is not None
    }
    lists = [s.name for s in attribute.sub_attributes if op == "add" and s.multi_valued and s.name in given]

    def change(old: Mapping[str, Any]) -> dict[str, Any]:
        new = {**{name: item for name, item in old.items() if name not in gone}, **given}
        new |= {name: _joined(old.get(name), given[name]) for name in lists}
        check_immutable_parts(attribute, place, old, new)
        return new

    return change


def check_immutable(attribute: Attribute, path: AttributePath, old: Any, new: Any) -> None:
    """Raise Mutability when an immutable attribute would lose or change its value."""
    if attribute.mutability == "immutable" and old is not None and old != new:
        raise Mutability(f"{path.text}: is immutable and has a value")


def check_immutable_parts(
    attribute: Attribute, place: str, old: Mapping[str, Any], new: Mapping[str, Any], dot: str = "."
) -> None:
    """Raise Mutability when a complex value that stays would lose or change an immutable part.

    The elements of multi-valued parts come and go as a whole.
    """
    for sub in attribute.sub_attributes:
        before, after, name = old.get(sub.name), new.get(sub.name), f"{place}{dot}{sub.name}"
        if sub.mutability == "immutable" and before is not None and before != after:
            raise Mutability(f"{name}: is immutable and has a value")
        if isinstance(before, Mapping):
            check_immutable_parts(sub, name, before, after or {})


def require_values(
    attributes: Iterable[Attribute],
    holder: Mapping[str, Any],
    prefix: str,
    lacked: Mapping[str, Any],
    apart: Attribute | None = None,
) -> None:
    """Raise InvalidValue for a required attribute, other than `apart`, that `holder` has no value of.

    What `lacking` found before the PATCH, `lacked`, may be lacking still: other programs stored it so.
    """
    for name, value in lacking(attributes, holder, apart).items():
        if name not in lacked or lacked[name] != value:
            raise InvalidValue(f"{prefix}{name}: is required")


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, list) else [value]
