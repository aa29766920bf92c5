"""The least an adapter can be: five methods over a dict, for one process."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from schema.resource_type import ResourceType
from storage.adapter import Capabilities, Key, Member, Membership, StorageAdapter, StoredResource
from storage.errors import ResourceNotFound, UniquenessConflict, VersionMismatch
from storage.index_keys import place_of


class MemoryAdapter(StorageAdapter):
    """Keeps resources while the process lives. Writers take turns: `storage.complete` sees to that."""

    def __init__(self) -> None:
        self._resources: dict[Key, StoredResource] = {}
        self._writes = 0

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        try:
            return self._resources[resource_type.name, resource_id]
        except KeyError:
            raise ResourceNotFound(resource_type.name, resource_id) from None

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        if (resource_type.name, resource.id) in self._resources:
            raise UniquenessConflict("id")
        return self._kept(resource_type, replace(resource, place=place_of(self._writes)))

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        before = self._at(resource_type, resource.id, if_version)
        return self._kept(resource_type, replace(resource, place=before.place))

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._at(resource_type, resource_id, if_version)
        del self._resources[resource_type.name, resource_id]

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        # Others may write meanwhile.
        found = [one for (name, _), one in list(self._resources.items()) if name == resource_type.name]
        return iter(sorted(found, key=lambda stored: stored.place))

    def _at(self, resource_type: ResourceType, resource_id: str, if_version: str | None) -> StoredResource:
        before = self.get(resource_type, resource_id)
        if if_version not in (None, before.version):
            raise VersionMismatch(f"{resource_id} is at {before.version}")
        return before

    def _kept(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        self._writes += 1
        kept = replace(resource, version=str(self._writes))
        self._resources[resource_type.name, resource.id] = kept
        return kept


class MemoryWithMembers(MemoryAdapter):
    """Keeps members apart from resources: a change of members leaves the version of the resource alone."""

    capabilities = Capabilities(members=True)

    def __init__(self) -> None:
        super().__init__()
        self._members: dict[Key, dict[Key, Member]] = {}

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return iter(list(self._members.get((resource_type.name, stored.id), {}).values())[:limit])

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        kept = self._members.setdefault((resource_type.name, stored.id), {})
        before = dict(kept)
        for member in remove:
            kept.pop(member.key, None)
        for member in add:
            kept.setdefault(member.key, member)
        return kept != before

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        found: dict[str, list[Membership]] = {}
        for (holder, holder_id), kept in self._members.items():
            for one in stored:
                if (resource_type.name, one.id) in kept:
                    found.setdefault(one.id, []).append(Membership(holder_id, holder, None, True))
        return found

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return [Member(one, name) for name, one in self._resources if one in resource_ids]
