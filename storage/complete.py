"""What an adapter of five methods lacks, done for it once: uniqueness, members, memberships.

Correct for one writer at a time, and slow: every look-up reads the resources of a type. A backend
that can do better declares so and is left alone.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import orjson

from schema.resource_type import ResourceType
from storage.adapter import (
    Member,
    Membership,
    Page,
    Represent,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import ResourceNotFound, UniquenessConflict
from storage.uniqueness import unique_values


def complete(adapter: StorageAdapter, resource_types: Sequence[ResourceType]) -> StorageAdapter:
    """Return an adapter with every capability that callers rely on: `adapter` itself, or around it."""
    capabilities = adapter.capabilities
    if capabilities.members and capabilities.native_uniqueness:
        return adapter
    return _Completed(adapter, resource_types)


class _Completed(StorageAdapter):
    """Keeps members within the resource, under the name of the membership attribute."""

    def __init__(self, adapter: StorageAdapter, resource_types: Sequence[ResourceType]) -> None:
        self._adapter = adapter
        self._types = {resource_type.name: resource_type for resource_type in resource_types}
        # Between looking for a value and writing it, nobody else may write.
        self._writing = threading.RLock()
        self.capabilities = replace(adapter.capabilities, members=True, native_uniqueness=True)

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
        return _without_members(resource_type, self._adapter.get(resource_type, resource_id))

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
            members = list(self.members(resource_type, resource.id))
            whole = _with_members(resource_type, resource, members)
            kept = self._adapter.replace(resource_type, whole, if_version)
            return _without_members(resource_type, kept)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        with self._writing:
            self._adapter.delete(resource_type, resource_id, if_version)

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        for stored in self._adapter.scan(resource_type):
            yield _without_members(resource_type, stored)

    def search(self, resource_type: ResourceType, selection: Selection, represent: Represent) -> Page:
        return self._adapter.search(resource_type, selection, represent)

    def members(self, resource_type: ResourceType, resource_id: str) -> Iterator[Member]:
        stored = self._adapter.get(resource_type, resource_id)
        kept = _kept_members(resource_type, stored)
        found = self.find([element["value"] for element in kept])
        for element in kept:
            member = found.get(element["value"])
            if member is not None:
                display = element.get("display")
                yield replace(member, display=display) if display else member

    def change_members(
        self,
        resource_type: ResourceType,
        resource_id: str,
        add: Iterable[Member],
        remove: Iterable[str],
    ) -> bool:
        with self._writing:
            stored = self._adapter.get(resource_type, resource_id)
            before = list(self.members(resource_type, resource_id))
            leaving = set(remove)
            after = {m.resource_id: m for m in before if m.resource_id not in leaving}
            for member in add:
                after.setdefault(member.resource_id, member)
            if list(after.values()) == before:
                return False
            bare = _without_members(resource_type, stored)
            self._adapter.replace(resource_type, _with_members(resource_type, bare, list(after.values())))
            return True

    def memberships(
        self, resource_type: ResourceType, resource_ids: Sequence[str]
    ) -> Mapping[str, Sequence[Membership]]:
        groups: dict[str, tuple[Member, set[str]]] = {}
        for holder in self._types.values():
            for stored in self._adapter.scan(holder) if holder.members else ():
                group = Member(stored.id, holder.name, holder.display(stored.document))
                groups[stored.id] = group, {e["value"] for e in _kept_members(holder, stored)}
        found = {resource_id: list(_memberships(resource_id, groups)) for resource_id in resource_ids}
        return {resource_id: memberships for resource_id, memberships in found.items() if memberships}

    def find(self, resource_ids: Sequence[str]) -> Mapping[str, Member]:
        found: dict[str, Member] = {}
        for resource_id in resource_ids:
            for resource_type in self._types.values():
                try:
                    stored = self._adapter.get(resource_type, resource_id)
                except ResourceNotFound:
                    continue
                display = resource_type.display(stored.document)
                found[resource_id] = Member(resource_id, resource_type.name, display)
                break
        return found

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
        for other in self._types.values():
            if other is not resource_type and not self._adapter.capabilities.assigns_ids:
                with suppress(ResourceNotFound):
                    self._adapter.get(other, resource_id)
                    raise UniquenessConflict("id")


def _memberships(resource_id: str, groups: Mapping[str, tuple[Member, set[str]]]) -> Iterator[Membership]:
    seen: set[str] = set()
    inner, direct = {resource_id}, True
    while inner:
        outer = {g for g, (_, ids) in groups.items() if ids & inner and g not in seen}
        for group_id in sorted(outer):
            group = groups[group_id][0]
            yield Membership(group_id, group.resource_type, group.display, direct)
        seen |= outer
        inner, direct = outer, False


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


def _with_members(
    resource_type: ResourceType, resource: StoredResource, members: Sequence[Member]
) -> StoredResource:
    if resource_type.members is None or not members:
        return resource
    kept = [
        {"value": m.resource_id, "type": m.resource_type, **({"display": m.display} if m.display else {})}
        for m in members
    ]
    document = {**resource.document, resource_type.members.name: kept}
    return replace(resource, text=orjson.dumps(document).decode())
