"""The least an adapter can be: five methods over a dict. It shows that those are enough."""

import threading
from collections.abc import Iterator
from dataclasses import replace

from schema.resource_type import ResourceType
from storage.adapter import StorageAdapter, StoredResource
from storage.errors import ResourceNotFound, UniquenessConflict, VersionMismatch


class MemoryAdapter(StorageAdapter):
    """Keeps resources while the process lives."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str], StoredResource] = {}
        self._places = 0
        self._lock = threading.RLock()

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        try:
            return self._resources[resource_type.name, resource_id]
        except KeyError:
            raise ResourceNotFound(resource_type.name, resource_id) from None

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        with self._lock:
            if (resource_type.name, resource.id) in self._resources:
                raise UniquenessConflict("id")
            self._places += 1
            kept = replace(resource, version="1", place=self._places)
            self._resources[resource_type.name, resource.id] = kept
            return kept

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        with self._lock:
            before = self._at(resource_type, resource.id, if_version)
            kept = replace(resource, version=str(int(before.version) + 1), place=before.place)
            self._resources[resource_type.name, resource.id] = kept
            return kept

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        with self._lock:
            self._at(resource_type, resource_id, if_version)
            del self._resources[resource_type.name, resource_id]

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        found = [stored for (name, _), stored in self._resources.items() if name == resource_type.name]
        return iter(sorted(found, key=lambda stored: stored.place))

    def _at(self, resource_type: ResourceType, resource_id: str, if_version: str | None) -> StoredResource:
        before = self.get(resource_type, resource_id)
        if if_version not in (None, before.version):
            raise VersionMismatch(f"{resource_id} is at {before.version}")
        return before
