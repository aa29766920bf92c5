"""A storage of which only some resources are seen; the others do not exist for the one who asks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeVar

from schema.resource_type import ResourceType
from schema.values import comparison_key
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import And, BoundComparison, Node, Or
from storage.adapter import (
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.batches import batches
from storage.errors import ResourceNotFound, UnsupportedByBackend
from storage.owners import with_owner
from storage.search import mentions_links, search

# How many ids one search asks for.
_BATCH: Final = 100

_Link = TypeVar("_Link", Member, Membership)


class NarrowedStorage(StorageAdapter):
    """Reads `adapter` under a bound filter for each resource type by name.

    The filters are about what `StoredResource.text` holds and about its owner: not about `meta`, members,
    memberships. A resource that is not seen is no member of anything, and counts in no total. Changes are not
    made through here.
    """

    def __init__(
        self, adapter: StorageAdapter, types: Sequence[ResourceType], filters: Mapping[str, Node]
    ) -> None:
        self.capabilities = adapter.capabilities
        self._adapter = adapter
        self._types = {resource_type.name: resource_type for resource_type in types}
        self._filters = filters
        self._sees: dict[str, Callable[[Mapping[str, Any]], bool]] = {
            name: compile_predicate(node) for name, node in filters.items()
        }

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        stored = self._adapter.get(resource_type, resource_id)
        if not self._is_seen(resource_type, stored):
            raise ResourceNotFound(resource_type.name, resource_id)
        return self._bare(stored)

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        node = self._filters.get(resource_type.name)
        if node is None:
            yield from map(self._bare, self._adapter.scan(resource_type))
            return
        # Candidates may have to be judged; they come in the order of a scan.
        for stored in self._adapter.candidates(resource_type, Selection(node)).resources:
            if self._is_seen(resource_type, stored):
                yield self._bare(stored)

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        if mentions_links(resource_type, selection):
            # The backend would find a group by a member that is not seen.
            return Found(self.scan(resource_type), selection.filter)
        node = self._filters.get(resource_type.name)
        if node is None:
            return self._adapter.candidates(resource_type, selection).seen_as(self._bare)
        both = node if selection.filter is None else _both(node, selection.filter)
        found = self._adapter.candidates(resource_type, replace(selection, filter=both))
        if found.residual is not None:
            # The caller cannot judge by the owner.
            seen = (one for one in found.resources if self._is_seen(resource_type, one))
            found = replace(found, resources=seen, residual=selection.filter)
        return found.seen_as(self._bare)

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._seen_members(resource_type, stored), limit)

    def _seen_members(self, resource_type: ResourceType, stored: StoredResource) -> Iterator[Member]:
        members = self._adapter.members(resource_type, stored)
        for batch in batches(members, _BATCH):
            yield from self._seen(batch)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._seen(self._adapter.among_members(resource_type, stored, member_ids))

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        found = self._adapter.memberships(resource_type, stored)
        seen = {resource_id: self._seen(links) for resource_id, links in found.items()}
        return {resource_id: links for resource_id, links in seen.items() if links}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._seen(self._adapter.find(resource_ids))

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        raise UnsupportedByBackend("a narrowed storage is only read")

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        raise UnsupportedByBackend("a narrowed storage is only read")

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        raise UnsupportedByBackend("a narrowed storage is only read")

    def _is_seen(self, resource_type: ResourceType, stored: StoredResource) -> bool:
        sees = self._sees.get(resource_type.name)
        return sees is None or sees(with_owner(stored.document, stored.owner))

    @staticmethod
    def _bare(stored: StoredResource) -> StoredResource:
        """Return a resource without the memberships that came along: not all of them may be seen."""
        return stored if stored.memberships is None else replace(stored, memberships=None)

    def _seen(self, links: Sequence[_Link]) -> list[_Link]:
        """Return the links to resources that are seen, in their order."""
        hidden: set[tuple[str, str]] = set()
        for name in {link.resource_type for link in links} & self._filters.keys():
            ids = [link.resource_id for link in links if link.resource_type == name]
            seen = self._seen_ids(self._types[name], ids)
            hidden.update((name, one) for one in ids if one not in seen)
        return [link for link in links if (link.resource_type, link.resource_id) not in hidden]

    def _seen_ids(self, resource_type: ResourceType, ids: Sequence[str]) -> set[str]:
        path = resource_type.path("id")
        assert path is not None
        seen: set[str] = set()
        for batch in batches(ids, _BATCH):
            wanted = tuple(
                BoundComparison(path, "eq", one, comparison_key(path.leaf, one)) for one in batch
            )
            node = wanted[0] if len(wanted) == 1 else Or(wanted)
            selection = Selection(_both(self._filters[resource_type.name], node))
            page = search(
                self._adapter,
                resource_type,
                selection,
                lambda stored, links: with_owner(stored.document, stored.owner),
            )
            seen.update(stored.id for stored in page.resources)
        return seen


def _both(one: Node, other: Node) -> Node:
    operands: list[Node] = []
    for node in (one, other):
        operands += node.operands if isinstance(node, And) else (node,)
    return And(tuple(operands))
