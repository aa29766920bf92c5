"""What an adapter of five methods lacks, done for it once: uniqueness, members, memberships.

Slow: every look-up reads the resources of a type. A backend that can do better declares so and is
left alone. Writers take turns: a request looks and writes while no other request does. Among several
processes that takes the capability `exclusive`; a backend without it is for one process.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice

import orjson

from schema.resource_type import ResourceType
from storage.adapter import (
    Found,
    Key,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import ResourceNotFound
from storage.nesting import nested
from storage.one_writer import OneWriter

_Element = Mapping[str, str]


def complete(adapter: StorageAdapter, resource_types: Sequence[ResourceType]) -> StorageAdapter:
    """Return an adapter with every capability that callers rely on: `adapter` itself, or around it."""
    capabilities = adapter.capabilities
    if not capabilities.members:
        return _WithMembers(adapter, resource_types)
    return adapter if capabilities.native_uniqueness else OneWriter(adapter)


def is_for_one_process(adapter: StorageAdapter) -> bool:
    """Return whether a second process would break what `complete` does for an adapter."""
    return isinstance(adapter, OneWriter) and not adapter.capabilities.exclusive


class _WithMembers(OneWriter):
    """Keeps members in the resource that has them, under the name of the membership attribute.

    Each has a `value` and a `type`, and a `display` only where that is not the one of the member. A
    resource and its members change in one write: what `change_members` does waits for `replace`, or
    for the end of the turn. Callers get resources without members, and the whole as their `source`.
    """

    def __init__(self, adapter: StorageAdapter, resource_types: Sequence[ResourceType]) -> None:
        super().__init__(adapter)
        self.capabilities = replace(self.capabilities, members=True)
        self._types = {resource_type.name: resource_type for resource_type in resource_types}
        self._waiting: dict[Key, Sequence[_Element]] = {}

    @contextmanager
    def _gathering(self) -> Iterator[None]:
        # Nothing is written of a turn that failed.
        self._waiting.clear()
        yield
        for type_name, resource_id in list(self._waiting):
            resource_type = self._types[type_name]
            self.replace(resource_type, self.get(resource_type, resource_id))

    # -- resources

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return _shown(resource_type, super().get(resource_type, resource_id))

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return _shown(resource_type, super().create(resource_type, resource))

    def create_with_members(
        self, resource_type: ResourceType, resource: StoredResource, members: Sequence[Member]
    ) -> StoredResource:
        with self.transaction():
            elements = [element for member in members if (element := self._element(member))]
            return self.create(resource_type, _with_members(resource_type, resource, elements))

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        with self.transaction():
            elements = self._waiting.pop((resource_type.name, resource.id), None)
            if elements is None:
                elements = _elements(resource_type, super().get(resource_type, resource.id))
            whole = replace(_with_members(resource_type, resource, elements), source=None)
            return _shown(resource_type, super().replace(resource_type, whole, if_version))

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return map(partial(_shown, resource_type), super().scan(resource_type))

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        found = super().candidates(resource_type, selection)
        return found.seen_as(partial(_shown, resource_type), partial(_whole, resource_type))

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._members(resource_type, stored), limit)

    def _members(self, resource_type: ResourceType, stored: StoredResource) -> Iterator[Member]:
        whole = _whole(resource_type, stored) or self._adapter.get(resource_type, stored.id)
        for element in _elements(resource_type, whole):
            member = self._found(*_key(element))
            if member is not None:
                yield replace(member, display=element.get("display") or member.display)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        with self.transaction():
            key = (resource_type.name, stored.id)
            elements = self._waiting.get(key)
            if elements is None:
                elements = _elements(resource_type, self._adapter.get(resource_type, stored.id))
            before = {_key(element): element for element in elements}
            leaving = {member.key for member in remove}
            after = {one: element for one, element in before.items() if one not in leaving}
            for member in add:
                joining = None if member.key in after else self._element(member)
                if joining is not None:
                    after[member.key] = joining
            if after == before:
                return False
            self._waiting[key] = list(after.values())
            return True

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        groups: dict[Key, tuple[Member, set[Key]]] = {}
        for holder in self._types.values():
            for group in self._adapter.scan(holder) if holder.members else ():
                member = Member(group.id, holder.name, holder.display(group.document))
                groups[member.key] = member, {*map(_key, _elements(holder, group))}
        found = {one.id: list(_memberships((resource_type.name, one.id), groups)) for one in stored}
        return {resource_id: memberships for resource_id, memberships in found.items() if memberships}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        both = ((type_name, one) for one in dict.fromkeys(resource_ids) for type_name in self._types)
        return [member for key in both if (member := self._found(*key))]

    def _found(self, type_name: str, resource_id: str) -> Member | None:
        """Return a resource as a member, None where there is none."""
        resource_type = self._types.get(type_name)
        with suppress(ResourceNotFound):
            if resource_type is not None:
                document = self._adapter.get(resource_type, resource_id).document
                return Member(resource_id, type_name, resource_type.display(document))
        return None

    def _element(self, member: Member) -> _Element | None:
        """Return what is kept of a member, None where it does not exist."""
        found = self._found(*member.key)
        if found is None:
            return None
        element = {"value": member.resource_id, "type": member.resource_type}
        # Its own display may change.
        if member.display and member.display != found.display:
            element["display"] = member.display
        return element


def _memberships(key: Key, groups: Mapping[Key, tuple[Member, set[Key]]]) -> Iterator[Membership]:
    def groups_of(keys: Sequence[Key]) -> dict[Key, list[Key]]:
        return {one: [group for group, (_, members) in groups.items() if one in members] for one in keys}

    steps = nested(groups_of([key]), groups_of)[key]
    for one in sorted(steps, key=lambda group: (steps[group], group)):
        member = groups[one][0]
        yield Membership(member.resource_id, member.resource_type, member.display, steps[one] == 1)


def _elements(resource_type: ResourceType, whole: StoredResource) -> Sequence[_Element]:
    """Return the members that stand in a resource."""
    if resource_type.members is None:
        return []
    return whole.document.get(resource_type.members.name) or []


def _key(element: _Element) -> Key:
    return element["type"], element["value"]


def _with_members(
    resource_type: ResourceType, resource: StoredResource, elements: Sequence[_Element]
) -> StoredResource:
    """Return a resource with these members in it, and no others."""
    if resource_type.members is None or elements == _elements(resource_type, resource):
        return resource
    name = resource_type.members.name
    document = {key: value for key, value in resource.document.items() if key != name}
    if elements:
        document[name] = elements
    return replace(resource, text=orjson.dumps(document).decode())


def _shown(resource_type: ResourceType, whole: StoredResource) -> StoredResource:
    """Return a resource of the adapter as callers get it."""
    if resource_type.members is None:
        return whole
    return replace(_with_members(resource_type, whole, []), source=whole)


def _whole(resource_type: ResourceType, shown: StoredResource) -> StoredResource:
    """Return a resource that a caller got as the adapter returned it."""
    return shown if resource_type.members is None else shown.source
