"""What an adapter of five methods lacks, done for it once: uniqueness, members, memberships.

Correct for one writer at a time, and slow: every look-up reads the resources of a type. A backend
that can do better declares so and is left alone.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import orjson

from schema.resource_type import ResourceType
from schema.values import format_date_time
from storage.adapter import (
    Found,
    Key,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import ResourceNotFound, UniquenessConflict
from storage.nesting import nested
from storage.uniqueness import unique_values


def complete(adapter: StorageAdapter, resource_types: Sequence[ResourceType]) -> StorageAdapter:
    """Return an adapter with every capability that callers rely on: `adapter` itself, or around it."""
    capabilities = adapter.capabilities
    if capabilities.members and capabilities.native_uniqueness:
        return adapter
    return _Completed(adapter, resource_types)


class _Completed(StorageAdapter):
    """Adds what is missing; members stand in the resource, under the name of the membership attribute."""

    def __init__(self, adapter: StorageAdapter, resource_types: Sequence[ResourceType]) -> None:
        self._adapter = adapter
        self._types = {resource_type.name: resource_type for resource_type in resource_types}
        # Between looking for a value and writing it, nobody else may write.
        self._writing = threading.RLock()
        # Whether members are kept within the resource, here.
        self._within = not adapter.capabilities.members
        added = {"members": True, "versions_members": True} if self._within else {}
        self.capabilities = replace(adapter.capabilities, native_uniqueness=True, **added)

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        self._adapter.prepare(resource_types)

    def check(self) -> None:
        self._adapter.check()

    def check_writable(self) -> None:
        self._adapter.check_writable()

    def close(self) -> None:
        self._adapter.close()

    @property
    def state_database(self) -> Any:
        return self._adapter.state_database

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep other writers of this process out; the adapter's own transaction, if it has one."""
        with self._writing, self._adapter.transaction():
            yield

    def when_committed(self, callback: Callable[[], object]) -> None:
        self._adapter.when_committed(callback)

    @property
    def in_transaction(self) -> bool:
        return self._adapter.in_transaction

    def savepoint(self) -> AbstractContextManager[None]:
        return self._adapter.savepoint()

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._shown(resource_type, self._adapter.get(resource_type, resource_id))

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        with self._writing:
            self._refuse_taken(resource_type, resource.id)
            self._refuse_duplicates(resource_type, resource)
            return self._adapter.create(resource_type, resource)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        with self._writing:
            self._refuse_duplicates(resource_type, resource)
            if self._within:
                now = self._adapter.get(resource_type, resource.id)
                resource = _with_members(resource_type, resource, _kept_members(resource_type, now))
            kept = self._adapter.replace(resource_type, resource, if_version)
            return self._shown(resource_type, kept)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        with self._writing:
            self._adapter.delete(resource_type, resource_id, if_version)

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        for stored in self._adapter.scan(resource_type):
            yield self._shown(resource_type, stored)

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        found, shown = self._adapter.candidates(resource_type, selection), partial(self._shown, resource_type)
        read = found.read
        return replace(
            found,
            resources=map(shown, found.resources),
            read=None if read is None else lambda page: [shown(one) for one in read(page)],
        )

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        if not self._within:
            return self._adapter.members(resource_type, stored, limit)
        return islice(self._members(resource_type, stored), limit)

    def _members(self, resource_type: ResourceType, stored: StoredResource) -> Iterator[Member]:
        kept = stored.source
        if kept is None:
            kept = _kept_members(resource_type, self._adapter.get(resource_type, stored.id))
        found = {member.key: member for member in self.find([element["value"] for element in kept])}
        for element in kept:
            member = found.get((element["type"], element["value"]))
            if member is not None:
                display = element.get("display")
                yield replace(member, display=display) if display else member

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        if not self._within:
            return self._adapter.change_members(resource_type, stored, add, remove)
        with self._writing:
            now = self._adapter.get(resource_type, stored.id)
            before = _kept_members(resource_type, now)
            leaving = {member.key for member in remove}
            after = {(e["type"], e["value"]): e for e in before if (e["type"], e["value"]) not in leaving}
            for member in add:
                after.setdefault(member.key, _element(member))
            if list(after.values()) == before:
                return False
            bare = replace(
                _without_members(resource_type, now), last_modified=format_date_time(datetime.now(UTC))
            )
            self._adapter.replace(resource_type, _with_members(resource_type, bare, list(after.values())))
            return True

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        if not self._within:
            return self._adapter.memberships(resource_type, stored)
        groups: dict[Key, tuple[Member, set[Key]]] = {}
        for holder in self._types.values():
            for group in self._adapter.scan(holder) if holder.members else ():
                kept = {(e["type"], e["value"]) for e in _kept_members(holder, group)}
                member = Member(group.id, holder.name, holder.display(group.document))
                groups[member.key] = member, kept
        found = {one.id: list(_memberships((resource_type.name, one.id), groups)) for one in stored}
        return {resource_id: memberships for resource_id, memberships in found.items() if memberships}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        if not self._within:
            return self._adapter.find(resource_ids)
        found: list[Member] = []
        for resource_id in dict.fromkeys(resource_ids):
            for resource_type in self._types.values():
                with suppress(ResourceNotFound):
                    stored = self._adapter.get(resource_type, resource_id)
                    display = resource_type.display(stored.document)
                    found.append(Member(resource_id, resource_type.name, display))
        return found

    def _shown(self, resource_type: ResourceType, stored: StoredResource) -> StoredResource:
        """Return a resource without its members, which callers give back with it."""
        if not self._within:
            return stored
        kept = _kept_members(resource_type, stored)
        return replace(_without_members(resource_type, stored), source=kept)

    def _refuse_duplicates(self, resource_type: ResourceType, resource: StoredResource) -> None:
        if self._adapter.capabilities.native_uniqueness:
            return
        wanted = {(path.text, key) for path, key in unique_values(resource_type, resource.document)}
        for other in self._adapter.scan(resource_type) if wanted else ():
            for path, key in unique_values(resource_type, other.document):
                if other.id != resource.id and (path.text, key) in wanted:
                    raise UniquenessConflict(path.text)

    def _refuse_taken(self, resource_type: ResourceType, resource_id: str) -> None:
        """Raise UniquenessConflict for the id of a resource of another type."""
        if self._adapter.capabilities.native_uniqueness:
            return
        for other in self._types.values():
            if other is not resource_type and not self._adapter.capabilities.assigns_ids:
                with suppress(ResourceNotFound):
                    self._adapter.get(other, resource_id)
                    raise UniquenessConflict("id")


def _memberships(key: Key, groups: Mapping[Key, tuple[Member, set[Key]]]) -> Iterator[Membership]:
    def groups_of(keys: Sequence[Key]) -> dict[Key, list[Key]]:
        return {one: [group for group, (_, members) in groups.items() if one in members] for one in keys}

    steps = nested(groups_of([key]), groups_of)[key]
    for one in sorted(steps, key=lambda group: (steps[group], group)):
        member = groups[one][0]
        yield Membership(member.resource_id, member.resource_type, member.display, steps[one] == 1)


def _kept_members(resource_type: ResourceType, stored: StoredResource) -> list[dict[str, str]]:
    if resource_type.members is None:
        return []
    kept: list[dict[str, str]] = stored.document.get(resource_type.members.name) or []
    return kept


def _without_members(resource_type: ResourceType, stored: StoredResource) -> StoredResource:
    name = resource_type.members.name if resource_type.members else ""
    if name not in stored.document:
        return stored
    document = {key: value for key, value in stored.document.items() if key != name}
    return replace(stored, text=orjson.dumps(document).decode())


def _element(member: Member) -> dict[str, str]:
    element = {"value": member.resource_id, "type": member.resource_type}
    return {**element, "display": member.display} if member.display else element


def _with_members(
    resource_type: ResourceType, resource: StoredResource, kept: Sequence[Mapping[str, str]]
) -> StoredResource:
    if resource_type.members is None or not kept:
        return resource
    document = {**resource.document, resource_type.members.name: kept}
    return replace(resource, text=orjson.dumps(document).decode())
