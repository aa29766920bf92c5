"""Writers take turns around an adapter: between a look at the backend and a write, nobody else writes."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

from schema.resource_type import ResourceType
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import UniquenessConflict
from storage.uniqueness import unique_values
from storage.wrapped import WrappedAdapter


class OneWriter(WrappedAdapter):
    """Gives an adapter `native_uniqueness`, which it need not have: all is looked at before each write.

    A transaction is a turn. With the capability `exclusive`, one process at a time has it.
    """

    def __init__(self, adapter: StorageAdapter) -> None:
        super().__init__(adapter)
        self.capabilities = replace(adapter.capabilities, native_uniqueness=True)
        self._turn = threading.RLock()
        self._is_taken = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep other writers out; with the capability `transactions`, all calls take effect together too."""
        with self._turn:
            if self._is_taken:
                yield
                return
            self._is_taken = True
            try:
                with self._adapter.exclusive(), self._adapter.transaction(), self._gathering():
                    yield
            finally:
                self._is_taken = False

    def _gathering(self) -> AbstractContextManager[None]:
        """Return a context, around the calls of a turn, that writes what they have left to be written."""
        return nullcontext()

    # -- resources

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        with self.transaction():
            self._refuse_taken(resource_type, [resource])
            return self._adapter.create(resource_type, resource)

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        with self.transaction():
            self._refuse_taken(resource_type, resources)
            self._adapter.create_many(resource_type, resources)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        with self.transaction():
            self._refuse_duplicates(resource_type, [resource])
            return self._adapter.replace(resource_type, resource, if_version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        with self.transaction():
            self._adapter.delete(resource_type, resource_id, if_version)

    # -- members

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        with self.transaction():
            return self._adapter.change_members(resource_type, stored, add, remove)

    # -- uniqueness

    def _refuse_taken(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        """Raise UniquenessConflict for new resources with an id, or a unique value, that is taken."""
        capabilities = self._adapter.capabilities
        if not capabilities.native_uniqueness and not capabilities.assigns_ids:
            ids = [resource.id for resource in resources]
            if len(set(ids)) < len(ids) or self.find(ids):
                raise UniquenessConflict("id")
        self._refuse_duplicates(resource_type, resources)

    def _refuse_duplicates(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        """Raise UniquenessConflict for a unique value that another resource has, be it among these."""
        if self._adapter.capabilities.native_uniqueness:
            return
        holders: dict[tuple[str, str], str] = {}
        for resource in resources:
            for path, value in unique_values(resource_type, resource.document):
                if holders.setdefault((path.text, value), resource.id) != resource.id:
                    raise UniquenessConflict(path.text)
        for other in self._adapter.scan(resource_type) if holders else ():
            for path, value in unique_values(resource_type, other.document):
                if holders.get((path.text, value), other.id) != other.id:
                    raise UniquenessConflict(path.text)
