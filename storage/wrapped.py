"""An adapter around another one, to which it hands on each call that a child does not change."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from schema.resource_type import ResourceType
from storage.adapter import (
    Adoptable,
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)


class WrappedAdapter(StorageAdapter):
    """Behaves as `adapter`. `among_members` and `create_with_members` use the methods of the child."""

    def __init__(self, adapter: StorageAdapter) -> None:
        self._adapter = adapter
        self.capabilities = adapter.capabilities

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        self._adapter.prepare(resource_types)

    def to_adopt(self, resource_types: Sequence[ResourceType]) -> Iterable[Adoptable]:
        return self._adapter.to_adopt(resource_types)

    def check(self) -> None:
        self._adapter.check()

    def check_writable(self) -> None:
        self._adapter.check_writable()

    def mend(self) -> int:
        return self._adapter.mend()

    def count_hidden(self, resource_type: ResourceType) -> int | None:
        return self._adapter.count_hidden(resource_type)

    def close(self) -> None:
        self._adapter.close()

    @property
    def state_database(self) -> Any:
        return self._adapter.state_database

    def transaction(self) -> AbstractContextManager[None]:
        return self._adapter.transaction()

    def when_committed(self, callback: Callable[[], object]) -> None:
        self._adapter.when_committed(callback)

    @property
    def in_transaction(self) -> bool:
        return self._adapter.in_transaction

    def savepoint(self) -> AbstractContextManager[None]:
        return self._adapter.savepoint()

    def pipelined(self) -> AbstractContextManager[None]:
        return self._adapter.pipelined()

    # -- resources

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._adapter.get(resource_type, resource_id)

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return self._adapter.create(resource_type, resource)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        return self._adapter.replace(resource_type, resource, if_version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._adapter.delete(resource_type, resource_id, if_version)

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._adapter.scan(resource_type)

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._adapter.candidates(resource_type, selection)

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return self._adapter.members(resource_type, stored, limit)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        return self._adapter.change_members(resource_type, stored, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._adapter.memberships(resource_type, stored)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._adapter.find(resource_ids)
