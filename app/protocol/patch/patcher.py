"""The operations of a PATCH on one resource, one after the other (RFC 7644 section 3.5.2)."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.protocol.patch.document import Document
from app.protocol.patch.elements import Elements
from app.protocol.patch.members import MemberPatcher, RequestedMembers
from app.protocol.patch.meter import Meter
from app.protocol.patch.plan import PatchRules, PlannedOperation
from app.protocol.patch.removal import described, removal_items
from app.protocol.patch.selection import NothingSelected, element_to_make
from app.protocol.patch.values import (
    Change,
    assignment,
    check_immutable,
    check_immutable_parts,
    element_change,
    merge,
    part_change,
    removal,
)
from schema.errors import InvalidPath, InvalidValue, Mutability, NoTarget
from schema.resource_type import AttributePath, SchemaExtension
from schema.validation import check_schemas, is_emptied
from scim_filter.nodes import BoundPatchPath, Node


class Patcher:
    """Changes `resource`, which is its own, and `members`."""

    def __init__(
        self, rules: PatchRules, resource: dict[str, Any], members: RequestedMembers, operations: int = 1
    ) -> None:
        self._rules = rules
        self._type = rules.resource_type
        self._profile = rules.profile
        self._meter = Meter(operations)
        self._document = Document(rules.resource_type, resource, self._meter)
        self._members = members
        self.removed_secrets: set[str] = set()

    def run(self, planned: PlannedOperation) -> None:
        """Carry out one operation."""
        operation, bound = planned.operation, planned.target
        if bound is None:
            self._run_without_path(operation.op, operation.value)
        elif extension := self._type.extension(bound.path.attribute.name):
            self._run_on_extension(operation.op, extension, operation.value)
        else:
            self._run_on(operation.op, bound, operation.value)

    def finish(self) -> dict[str, Any]:
        """Return the resource after all operations. Raises InvalidValue when it lacks what is required."""
        return self._document.finish()

    # -- where an operation leads

    def _run_without_path(self, op: str, value: Any) -> None:
        if op == "remove":
            raise NoTarget("path: is required with remove")
        if not isinstance(value, Mapping):
            raise InvalidValue("value: must be an object in an operation without path")
        for name, item in value.items():
            key = self._profile.patch.canonical(name, self._type)
            if extension := self._type.extension(key):
                self._run_on_extension(op, extension, item)
                continue
            bound = self._target_of_key(key)
            if bound is None:
                continue
            if not self._profile.passes_over(bound.path.leaf):
                self._run_on(op, bound, item)

    def _target_of_key(self, key: str) -> BoundPatchPath | None:
        """Return what a key of a value without path names; None for what is to be ignored."""
        self._check_key(key)
        try:
            target = self._rules.target(key)
        except InvalidPath:
            # A key with a filter is a path, whose faults are not those of a name.
            if "[" not in key and self._profile.passes_over_unknown():
                return None
            raise
        if isinstance(target, BoundPatchPath):
            return target
        if self._profile.passes_over_unknown():
            return None
        raise InvalidPath(target.problem)

    def _check_key(self, key: str) -> None:
        """Raise InvalidPath for a path where the letter has a plain name.

        A value without path is a set of attributes (RFC 7644 section 3.5.2.1), as in a resource.
        """
        if any(sign in key for sign in ".:[") and not self._profile.takes_path_as_key():
            raise InvalidPath(f"value: {key[:100]} is a path; it must be the name of an attribute")

    def _run_on_extension(self, op: str, extension: SchemaExtension, value: Any) -> None:
        if op == "add" and value is None:
            return
        name = extension.schema.id
        given = None if op == "remove" else self._rules.extension_value(extension.attribute, value)
        if given is None:
            if extension.required:
                raise Mutability(f"{name}: is required")
            check_immutable_parts(extension.attribute, name, self._document.extension(name), {}, ":")
            self._document.remove_extension(name)
            return
        for key, item in given.items():
            if key.lower() == "schemas":
                # Some libraries model an extension as a resource of its own.
                continue
            self._check_key(key)
            path = self._type.path(f"{name}:{key}")
            if path is None:
                if self._profile.passes_over_unknown():
                    continue
                raise InvalidPath(f"{name}:{key} is not an attribute of {self._type.name}")
            if not self._profile.passes_over(path.leaf):
                self._run_on(op, BoundPatchPath(path), item)

    def _run_on(self, op: str, bound: BoundPatchPath, value: Any) -> None:
        path = bound.path
        if "readOnly" in (path.attribute.mutability, path.leaf.mutability):
            raise Mutability(f"{path.text}: is readOnly")
        if op == "add" and value is None:
            # Null is no value (RFC 7643 section 2.5): nothing is added, and what is there stays.
            return
        if path.text == "schemas":
            # They follow from the extensions that are present.
            if op == "remove":
                raise Mutability("schemas: is required")
            urns = self._rules.elements(path.attribute, value, path.text)
            present = [self._type.schema.id] if op == "add" else []
            check_schemas([*present, *urns] or None, self._type, self._profile.resources)
        elif path.attribute == self._type.members and path.extension is None:
            MemberPatcher(self._rules, self._members, self._meter).run(op, bound, value)
        elif op == "remove" or (op == "replace" and value is None):
            self._remove(bound, value)
        elif bound.filter is not None:
            self._set_in_selected(op, bound, bound.filter, value)
        elif path.sub_attribute is not None:
            self._set_sub_attribute(op, path, value)
        elif path.attribute.multi_valued:
            self._set_values(op, path, value)
        else:
            self._set_attribute(op, path, value)

    # -- add and replace

    def _set_attribute(self, op: str, path: AttributePath, value: Any) -> None:
        attribute, old = path.attribute, self._document.get(path)
        parts = self._rules.object_in(attribute, value) if attribute.is_complex else None
        new: Any
        if isinstance(parts, Mapping):
            # A complex value replaces sub-attribute by sub-attribute (RFC 7644 section 3.5.2.3).
            new = merge(self._rules, op, attribute, parts, path.text)(old or {})
            self._document.check_later(path, ())
        else:
            new = self._rules.value_reader(attribute)(value, path.text)
            if new is None and op == "add" and not is_emptied(attribute, value, self._profile.patch):
                return
        check_immutable(attribute, path, old, new)
        if attribute.is_complex:
            check_immutable_parts(attribute, path.text, old or {}, new or {})
        self._document.put(path, new)

    def _set_values(self, op: str, path: AttributePath, value: Any) -> None:
        attribute, elements = path.attribute, self._document.elements(path)
        new = self._rules.elements(attribute, value, path.text)
        immutable = attribute.mutability == "immutable" and len(elements) > 0
        if op == "add":
            added = elements.add_missing(new)
            elements.keep_one_primary(added)
            changed = bool(added)
        else:
            changed = immutable and list(elements) != new
            elements.replace_all(new)
        if immutable and changed:
            raise Mutability(f"{path.text}: is immutable and has a value")

    def _set_sub_attribute(self, op: str, path: AttributePath, value: Any) -> None:
        part = assignment(self._rules, op, path, value)
        change = part_change(self._rules, path, part)
        if not path.attribute.multi_valued:
            old = self._document.get(path)
            self._document.put(path, change(old or {}))
            if not old:
                self._document.check_later(path, ())
            return
        elements = self._document.elements(path)
        numbers = elements.numbers()
        if path.leaf.name == "primary" and part(None) is True and len(numbers) > 1:
            raise InvalidValue(f"{path.text}: only one value may be primary")
        if not numbers:
            numbers = [elements.append({})]
            self._document.check_later(path, numbers)
        _change_each(elements, numbers, change)
        elements.remove_repeated(numbers)

    def _set_in_selected(self, op: str, bound: BoundPatchPath, condition: Node, value: Any) -> None:
        path = bound.path
        elements = self._document.elements(path)
        check_immutable(path.attribute, path, len(elements) or None, None)
        selected = elements.select(condition)
        in_parts = path.sub_attribute is None
        if not selected:
            in_parts = True
            template = element_to_make(op, bound) if self._profile.creates_elements else None
            if template is None or (len(elements) and not path.attribute.multi_valued):
                raise NothingSelected(f"{path.text}: no value matches the filter")
            selected = [elements.append(template)]
        _change_each(elements, selected, element_change(self._rules, op, path, value))
        if in_parts:
            self._document.check_later(path, selected)
        elements.remove_repeated(selected)
        elements.keep_one_primary(selected)
        self._document.put_back(path, elements)

    # -- remove

    def _remove(self, bound: BoundPatchPath, value: Any) -> None:
        path, leaf = bound.path, bound.path.leaf
        if leaf.required and (bound.filter is None or path.sub_attribute is not None):
            raise Mutability(f"{path.text}: is required")
        items = removal_items(leaf if leaf.multi_valued else path.attribute, value)
        if items == []:
            return
        if leaf.returned == "never":
            self.removed_secrets.add(path.text)
        if path.attribute.multi_valued or bound.filter is not None:
            self._remove_from_elements(bound, items)
            return
        old = self._document.get(path)
        if old is None:
            return
        if path.sub_attribute is None:
            check_immutable(path.attribute, path, old, None)
            check_immutable_parts(path.attribute, path.text, old, {})
            self._document.put(path, None)
        else:
            self._document.put(path, part_change(self._rules, path, removal(self._rules, path, items))(old))

    def _remove_from_elements(self, bound: BoundPatchPath, items: list[Any] | None) -> None:
        path, elements = bound.path, self._document.elements(bound.path)
        if bound.filter is not None:
            selected = elements.select(bound.filter)
        elif items is not None and (path.sub_attribute is None or not path.leaf.multi_valued):
            selected = described(self._rules, path, elements, items)
        else:
            selected = elements.numbers()
        if path.sub_attribute is not None:
            part = removal(self._rules, path, items)
            _change_each(elements, selected, part_change(self._rules, path, part))
            elements.remove_repeated(selected)
        else:
            check_immutable(path.attribute, path, selected or None, None)
            for number in selected:
                elements.remove(number)
        self._document.put_back(path, elements)


def _change_each(elements: Elements, numbers: Iterable[int], change: Change) -> None:
    for number in numbers:
        if elements.can_change(number):
            elements.change(number, change(elements[number]))
