"""PATCH (RFC 7644 section 3.5.2): a pure function from a resource and operations to a resource."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from app.protocol.messages import read_message, read_names
from app.protocol.references import named_members
from app.protocol.tolerance import Profile
from schema import urns
from schema.attribute import Attribute
from schema.errors import (
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    ScimError,
)
from schema.leniency import Leniency
from schema.resource_type import AttributePath, ResourceType
from schema.validation import (
    compile_attribute_validator,
    compile_element_validator,
    is_emptied,
    rewritten_values,
)
from scim_filter import parse_path, resolve_path
from scim_filter.evaluate import select
from scim_filter.nodes import And, BoundComparison, BoundPatchPath, Node

OPERATIONS: Final = ("add", "remove", "replace")


@dataclass(frozen=True)
class PatchOperation:
    """One operation as the client sent it; `path` is None where there is none."""

    op: str
    path: str | None
    value: Any = None


class MemberChanges:
    """What a PATCH does to the members of a group, without reading them unless it must.

    `load` yields the members there are, as elements of the attribute.
    """

    def __init__(self, load: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._load = load
        self.cleared = False
        self.added: dict[str, str | None] = {}
        self.removed: dict[str, None] = {}

    def add(self, members: Mapping[str, str | None]) -> None:
        """Let members join; they are ids with what the client wants displayed, if anything."""
        for member_id, display in members.items():
            self.removed.pop(member_id, None)
            self.added[member_id] = display

    def remove(self, member_ids: Iterable[str]) -> None:
        for member_id in member_ids:
            self.added.pop(member_id, None)
            if not self.cleared:
                self.removed[member_id] = None

    def clear(self) -> None:
        self.cleared = True
        self.added.clear()
        self.removed.clear()

    def elements(self) -> list[dict[str, Any]]:
        """Return the members as they are after the changes so far."""
        kept = [] if self.cleared else [e for e in self._load() if e["value"] not in self.removed]
        known = {element["value"] for element in kept}
        return kept + [{"value": member_id} for member_id in self.added if member_id not in known]


@dataclass(frozen=True)
class Patched:
    """The resource after a PATCH; `removed_secrets` are paths of `returned: never` attributes."""

    resource: dict[str, Any]
    removed_secrets: frozenset[str] = field(default=frozenset())


def read_operations(body: Mapping[str, Any], profile: Profile) -> list[PatchOperation]:
    """Return the operations of a PatchOp message.

    Raises InvalidSyntax when it is none, or an operation is not add, remove or replace.
    """
    operations = read_message(body, urns.PATCH_OP, ("Operations",), profile).get("Operations")
    if not isinstance(operations, list) or not operations:
        raise InvalidSyntax("Operations: must be a list of operations")
    return [_read_operation(raw, f"Operations[{i}]", profile) for i, raw in enumerate(operations)]


def _read_operation(raw: Any, place: str, profile: Profile) -> PatchOperation:
    if not isinstance(raw, Mapping):
        raise InvalidSyntax(f"{place}: must be an object")
    members = read_names(raw, ("op", "path", "value"), profile, f"{place}.")
    op = members.get("op")
    if isinstance(op, str) and profile.operation_name is not None:
        op = profile.operation_name(op)
    if op not in OPERATIONS:
        raise InvalidSyntax(f"{place}.op: must be one of {', '.join(OPERATIONS)}")
    path = members.get("path")
    if path is not None and not isinstance(path, str):
        raise InvalidPath(f"{place}.path: must be a string")
    if op != "remove" and "value" not in members:
        raise InvalidValue(f"{place}.value: is required")
    return PatchOperation(str(op), path or None, members.get("value"))


def apply_patch(
    resource_type: ResourceType,
    resource: Mapping[str, Any],
    operations: Sequence[PatchOperation],
    profile: Profile,
    members: MemberChanges,
) -> Patched:
    """Return the canonical `resource` after all `operations`, in order; the argument stays as it is.

    Changes of the membership attribute go to `members`. Raises InvalidPath, NoTarget, Mutability
    and InvalidValue, each with the index of the operation; nothing is changed then.
    """
    patcher = _Patcher(resource_type, orjson.loads(orjson.dumps(resource)), profile, members)
    for position, operation in enumerate(operations):
        with _place_named(position):
            patcher.run(operation)
    return Patched(patcher.finish(), frozenset(patcher.removed_secrets))


def check_operations(
    resource_type: ResourceType, operations: Sequence[PatchOperation], profile: Profile
) -> None:
    """Raise, as `apply_patch` would, what is wrong with `operations` whatever the resource holds."""
    for position, operation in enumerate(operations):
        patcher = _Patcher(resource_type, {}, profile, MemberChanges(lambda: ()))
        with _place_named(position):
            try:
                patcher.run(operation)
            except NoTarget:
                # What a path selects depends on the resource.
                if operation.path is None:
                    raise


@contextmanager
def _place_named(position: int) -> Iterator[None]:
    """Have what an operation raises name it."""
    try:
        yield
    except ScimError as problem:
        raise type(problem)(f"Operations[{position}]: {problem.detail}") from None


class _Patcher:
    def __init__(
        self,
        resource_type: ResourceType,
        resource: dict[str, Any],
        profile: Profile,
        members: MemberChanges,
    ) -> None:
        self._type = resource_type
        self._resource = resource
        self._profile = profile
        self._leniency: Leniency = profile.patch
        self._members = members
        self.removed_secrets: set[str] = set()

    def run(self, operation: PatchOperation) -> None:
        if operation.path is None:
            self._run_without_path(operation)
            return
        bound = resolve_path(parse_path(operation.path), self._type, self._leniency)
        if self._is_extension(bound.path):
            self._run_on_extension(operation.op, bound.path.attribute.name, operation.value)
        else:
            self._run_on(operation.op, bound, operation.value)

    def finish(self) -> dict[str, Any]:
        resource = self._resource
        present = []
        for extension in self._type.extensions:
            urn = extension.schema.id
            if not resource.get(urn):
                resource.pop(urn, None)
                if extension.required:
                    raise InvalidValue(f"{urn}: is required")
                continue
            present.append(urn)
            _require(extension.schema.attributes, resource[urn], f"{urn}:")
        _require(self._type.schema.attributes, resource, "", self._type.members)
        return {**resource, "schemas": [self._type.schema.id, *present]}

    # -- where an operation leads

    def _run_without_path(self, operation: PatchOperation) -> None:
        if operation.op == "remove":
            raise NoTarget("path: is required to remove")
        if not isinstance(operation.value, Mapping):
            raise InvalidValue("value: must be an object when there is no path")
        for name, value in operation.value.items():
            key = self._leniency.canonical(name, self._type)
            if self._type.extension(key) is not None:
                self._run_on_extension(operation.op, key, value)
                continue
            bound = self._path_of_key(key)
            if bound is None:
                continue
            if bound.path.leaf.mutability == "readOnly" and self._profile.ignores_read_only:
                continue
            self._run_on(operation.op, bound, value)

    def _path_of_key(self, key: str) -> BoundPatchPath | None:
        """Return what a key of a value without path names; None for what is to be ignored."""
        self._check_key(key)
        try:
            return resolve_path(parse_path(key), self._type, self._leniency)
        except InvalidPath:
            if self._profile.resources.unknown_attributes:
                return None
            raise

    def _check_key(self, key: str) -> None:
        """Raise InvalidPath for a path where the letter has a plain name.

        A value without path is a set of attributes (RFC 7644 section 3.5.2.1), as in a resource.
        """
        if not self._profile.paths_as_keys and any(sign in key for sign in ".:["):
            raise InvalidPath(f"value: {key[:100]} is a path, where the name of an attribute belongs")

    def _run_on_extension(self, op: str, urn: str, value: Any) -> None:
        extension = self._type.extension(urn)
        assert extension is not None
        name = extension.schema.id
        if op == "remove" or value is None:
            if extension.required:
                raise Mutability(f"{name}: is required")
            self._resource.pop(name, None)
            return
        if not isinstance(value, Mapping):
            raise InvalidValue(f"{name}: must be an object")
        for key, item in value.items():
            if key.lower() == "schemas" and self._leniency.unknown_attributes:
                # Some libraries model an extension as a resource of its own.
                continue
            self._check_key(key)
            path = self._type.path(f"{name}:{key}")
            if path is None:
                if self._profile.resources.unknown_attributes:
                    continue
                raise InvalidPath(f"{name}:{key} is no attribute of {self._type.name}")
            if path.leaf.mutability != "readOnly" or not self._profile.ignores_read_only:
                self._run_on(op, BoundPatchPath(path), item)

    def _is_extension(self, path: AttributePath) -> bool:
        return path.extension is None and self._type.extension(path.attribute.name) is not None

    def _run_on(self, op: str, bound: BoundPatchPath, value: Any) -> None:
        path = bound.path
        if "readOnly" in (path.attribute.mutability, path.leaf.mutability):
            raise Mutability(f"{path.text}: is readOnly")
        if path.text == "schemas":
            # They follow from the extensions that are present.
            if op == "remove":
                raise Mutability("schemas: is required")
        elif path.attribute == self._type.members and path.extension is None:
            self._run_on_members(op, bound, value)
        elif op == "remove" or (op == "replace" and value is None):
            self._remove(bound, value)
        elif bound.filter is not None:
            self._set_in_selected(op, bound, bound.filter, value)
        elif path.sub_attribute is not None:
            self._set_sub_attribute(path, path.sub_attribute, value)
        else:
            self._set_attribute(op, path, value)

    # -- add and replace

    def _set_attribute(self, op: str, path: AttributePath, value: Any) -> None:
        attribute, holder = path.attribute, self._holder(path)
        old = holder.get(attribute.name)
        new: Any
        if attribute.multi_valued:
            new = self._values(path, value)
            if op == "add":
                new = _merged(old or [], new)
        elif attribute.is_complex and old and isinstance(value, Mapping):
            # A complex value replaces sub-attribute by sub-attribute (RFC 7644 section 3.5.2.3).
            new = self._changed_element(attribute, old, value, path.text)
        else:
            new = compile_attribute_validator(attribute, self._leniency)(value, path.text)
            if new is None and op == "add" and not is_emptied(attribute, value, self._leniency):
                return
        self._check_immutable(attribute, path, old, new)
        _assign(holder, attribute.name, new)

    def _values(self, path: AttributePath, value: Any) -> list[Any]:
        """Return the elements that `value` holds; one alone counts as a list of it."""
        listed = value if isinstance(value, list) else [value]
        if isinstance(value, str) and self._leniency.coercion(path.attribute, value) is None:
            return []
        found = compile_attribute_validator(path.attribute, self._leniency)(listed, path.text)
        return list(found or [])

    def _set_sub_attribute(self, path: AttributePath, sub: Attribute, value: Any) -> None:
        holder, name = self._holder(path), path.attribute.name
        new = compile_attribute_validator(sub, self._leniency)(value, path.text)
        if not path.attribute.multi_valued:
            only: dict[str, Any] = dict(holder.get(name) or {})
            self._check_immutable(sub, path, only.get(sub.name), new)
            _assign(only, sub.name, new)
            _assign(holder, name, self._emptied(path, only))
            return
        present: list[dict[str, Any]] = holder.get(name) or [{}]
        elements = [dict(element) for element in present]
        if sub.name == "primary" and new is True and len(elements) > 1:
            raise InvalidValue(f"{path.text}: only one value may be primary")
        for element in elements:
            self._check_immutable(sub, path, element.get(sub.name), new)
            _assign(element, sub.name, new)
        elements = [self._emptied(path, element) for element in elements]
        _assign(holder, name, [element for element in elements if element])

    def _set_in_selected(self, op: str, bound: BoundPatchPath, condition: Node, value: Any) -> None:
        path = bound.path
        attribute, holder = path.attribute, self._holder(path)
        old = holder.get(attribute.name) or []
        elements = [dict(element) for element in (old if isinstance(old, list) else [old])]
        selected = select(condition, elements)
        if not selected:
            template = _template(condition) if op == "add" and self._profile.creates_elements else None
            if template is None:
                raise NoTarget(f"{path.text}: no value matches the filter")
            selected = [len(elements)]
            elements.append(template)
        for position in selected:
            elements[position] = self._new_element(op, path, elements[position], value)
        _keep_one_primary(elements, selected)
        _assign_elements(holder, attribute, elements)

    def _new_element(self, op: str, path: AttributePath, old: dict[str, Any], value: Any) -> dict[str, Any]:
        sub = path.sub_attribute
        if sub is not None:
            new = compile_attribute_validator(sub, self._leniency)(value, path.text)
            self._check_immutable(sub, path, old.get(sub.name), new)
            element: dict[str, Any] = dict(old)
            _assign(element, sub.name, new)
            return self._emptied(path, element)
        if op == "add" and isinstance(value, Mapping):
            return self._changed_element(path.attribute, old, value, path.text)
        whole = value[0] if isinstance(value, list) and len(value) == 1 else value
        return compile_element_validator(path.attribute, self._leniency)(whole, path.text) or {}

    def _changed_element(
        self, attribute: Attribute, old: Mapping[str, Any], value: Mapping[str, Any], place: str
    ) -> dict[str, Any]:
        """Return `old` with the sub-attributes in `value` changed, those that are null taken away."""
        given = compile_element_validator(attribute, self._leniency)(value, place) or {}
        if not given and is_emptied(attribute, value, self._leniency):
            return {}
        gone = {
            sub.name
            for key, item in value.items()
            if item is None and (sub := attribute.sub_attribute(key)) is not None
        }
        return {**{name: item for name, item in old.items() if name not in gone}, **given}

    def _emptied(self, path: AttributePath, element: dict[str, Any]) -> dict[str, Any]:
        """Return an element of which one sub-attribute was set: nothing when that was its `value`, to ""."""
        assert path.sub_attribute is not None
        if path.sub_attribute.name != "value" or element.get("value") != "":
            return element
        # A $ref names what the value was before.
        left = {name: part for name, part in element.items() if name != "$ref"}
        return {} if is_emptied(path.attribute, left, self._leniency) else element

    # -- remove

    def _remove(self, bound: BoundPatchPath, value: Any) -> None:
        path = bound.path
        leaf, holder, name = path.leaf, self._holder(path), path.attribute.name
        if bound.filter is None and leaf.required:
            raise Mutability(f"{path.text}: is required")
        if leaf.returned == "never":
            self.removed_secrets.add(path.text)
        old = holder.get(name)
        if old is None:
            return
        if bound.filter is None and path.sub_attribute is None:
            self._check_immutable(path.attribute, path, old, None)
            kept = None
            if path.attribute.multi_valued and value is not None:
                listed = value if isinstance(value, list) else [value]
                for one in listed:
                    _check_known(path, one)
                kept = _without_values(old, rewritten_values(path.attribute, listed, self._leniency))
            _assign(holder, name, kept)
            return
        elements = [dict(element) for element in (old if isinstance(old, list) else [old])]
        selected = range(len(elements)) if bound.filter is None else select(bound.filter, elements)
        for position in selected:
            if path.sub_attribute is None:
                elements[position] = {}
            else:
                self._check_immutable(leaf, path, elements[position].get(leaf.name), None)
                elements[position].pop(leaf.name, None)
        _assign_elements(holder, path.attribute, elements)

    # -- members

    def _run_on_members(self, op: str, bound: BoundPatchPath, value: Any) -> None:
        path, members = bound.path, self._members
        if path.sub_attribute is not None and not (bound.filter is None and path.leaf.name == "value"):
            raise Mutability(f"{path.text}: is {path.leaf.mutability}")
        if path.sub_attribute is not None:
            # `members.value` names the members by their ids.
            value = [{"value": item} for item in (value if isinstance(value, list) else [value]) if item]
            path = AttributePath(path.attribute)
        if bound.filter is not None:
            self._run_on_selected_members(op, bound.filter, value, path)
        elif op == "remove":
            if value:
                members.remove(self._named_members(path, value))
            else:
                members.clear()
        else:
            if op == "replace":
                members.clear()
            members.add(self._named_members(path, value))

    def _run_on_selected_members(self, op: str, condition: Node, value: Any, path: AttributePath) -> None:
        template = _template(condition)
        if op == "remove" and template is not None and set(template) == {"value"}:
            # The usual case needs no look at the members there are.
            self._members.remove([template["value"]])
            return
        elements = self._members.elements()
        chosen = [elements[position]["value"] for position in select(condition, elements)]
        if op == "remove":
            self._members.remove(chosen)
        elif chosen:
            self._members.remove(chosen)
            self._members.add(self._named_members(path, value))
        elif op == "add" and self._profile.creates_elements and template and "value" in template:
            self._members.add({template["value"]: None})
        else:
            raise NoTarget(f"{path.text}: no value matches the filter")

    def _named_members(self, path: AttributePath, value: Any) -> dict[str, str | None]:
        return {} if value is None else named_members(path.attribute, self._values(path, value))

    # -- small steps

    def _holder(self, path: AttributePath) -> dict[str, Any]:
        if path.extension is None:
            return self._resource
        holder: dict[str, Any] = self._resource.setdefault(path.extension, {})
        return holder

    @staticmethod
    def _check_immutable(attribute: Attribute, path: AttributePath, old: Any, new: Any) -> None:
        if attribute.mutability == "immutable" and old is not None and old != new:
            raise Mutability(f"{path.text}: is immutable and has a value")


def _assign(holder: dict[str, Any], name: str, value: Any) -> None:
    if value is None or value == [] or value == {}:
        holder.pop(name, None)
    else:
        holder[name] = value


def _assign_elements(holder: dict[str, Any], attribute: Attribute, elements: list[Any]) -> None:
    left = [element for element in elements if element]
    if attribute.multi_valued:
        _assign(holder, attribute.name, left)
    else:
        _assign(holder, attribute.name, left[0] if left else None)


def _require(
    attributes: Iterable[Attribute], holder: Mapping[str, Any], prefix: str, apart: Attribute | None = None
) -> None:
    for attribute in attributes:
        if attribute.required and attribute is not apart and attribute.mutability != "readOnly":
            if holder.get(attribute.name, "") == "":
                raise InvalidValue(f"{prefix}{attribute.name}: is required")


def _merged(old: list[Any], new: list[Any]) -> list[Any]:
    """Return `old` with those of `new` that it does not have yet."""
    merged = [dict(element) if isinstance(element, dict) else element for element in old]
    added = [element for element in new if element not in merged]
    positions = range(len(merged), len(merged) + len(added))
    merged += added
    _keep_one_primary(merged, positions)
    return merged


def _keep_one_primary(elements: list[Any], changed: Iterable[int]) -> None:
    """Let a primary value among the `changed` ones be the only one (RFC 7644 section 3.5.2)."""
    primaries = [i for i in changed if isinstance(elements[i], dict) and elements[i].get("primary") is True]
    if not primaries:
        return
    if len(primaries) > 1:
        raise InvalidValue("only one value may be primary")
    for position, element in enumerate(elements):
        if position != primaries[0] and isinstance(element, dict) and element.get("primary") is True:
            element["primary"] = False


def _check_known(path: AttributePath, value: Any) -> None:
    """Raise InvalidValue for an object of unknown sub-attributes alone."""
    given = [key for key, item in value.items() if item is not None] if isinstance(value, Mapping) else []
    if given and not any(map(path.attribute.sub_attribute, given)):
        raise InvalidValue(f"{path.text}: {given[0][:100]} is no sub-attribute, and it has no other")


def _without_values(old: list[Any], wanted: list[Any]) -> list[Any]:
    """Return `old` without the elements that are `wanted`, by id or by each of their parts."""

    def described(element: Any) -> bool:
        for one in wanted:
            if isinstance(one, Mapping) and isinstance(element, Mapping):
                parts = {name: part for name, part in one.items() if part is not None and name != "$ref"}
                if parts and all(element.get(name) == part for name, part in parts.items()):
                    return True
            elif one == (element.get("value") if isinstance(element, Mapping) else element):
                return True
        return False

    return [element for element in old if not described(element)]


def _template(condition: Node) -> dict[str, Any] | None:
    """Return the element that a filter of equalities describes, or None for any other filter."""
    parts = condition.operands if isinstance(condition, And) else (condition,)
    element: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, BoundComparison) or part.operator != "eq":
            return None
        element[part.path.leaf.name] = part.value
    return element
