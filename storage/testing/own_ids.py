"""For backends that choose ids themselves: the ids of the tests in front of those of the backend."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import orjson

from schema.resource_type import AttributePath, ResourceType
from schema.values import comparison_key
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Node,
    Not,
    Or,
    filter_paths,
)
from storage.adapter import (
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import UniquenessConflict
from storage.wrapped import WrappedAdapter

_Link = TypeVar("_Link", Member, Membership)


class OwnIds(WrappedAdapter):
    """Behaves as `adapter`, but calls each resource by the id that it was created with here."""

    def __init__(self, adapter: StorageAdapter) -> None:
        super().__init__(adapter)
        self._real: dict[str, str] = {}
        self._own: dict[str, str] = {}

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._shown(self._adapter.get(resource_type, self._id(resource_id)))

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        if resource.id in self._real:
            raise UniquenessConflict("id")
        created = self._adapter.create(resource_type, resource)
        self._real[resource.id], self._own[created.id] = created.id, resource.id
        return self._shown(created)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        renamed = _renamed(resource, self._id(resource.id))
        return self._shown(self._adapter.replace(resource_type, renamed, if_version))

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._adapter.delete(resource_type, self._id(resource_id), if_version)

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return map(self._shown, self._adapter.scan(resource_type))

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        node, sort = selection.filter, selection.sort
        if sort is not None and _is_id(sort.path):
            return Found(self.scan(resource_type), node)
        if node is not None and any(map(_is_id, filter_paths(node))):
            if not _only_equal(node):
                return Found(self.scan(resource_type), node)
            # Judged by the backend's own ids, as what it is asked for is said in those.
            selection = replace(selection, filter=self._translated(node))
        found = self._adapter.candidates(resource_type, selection).seen_as(self._shown, self._given)
        return replace(found, residual=None if found.residual is None else node)

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return map(self._link, self._adapter.members(resource_type, self._given(stored), limit))

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        real = [self._id(member_id) for member_id in member_ids]
        found = self._adapter.among_members(resource_type, self._given(stored), real)
        return list(map(self._link, found))

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        joining, leaving = (
            [replace(member, resource_id=self._id(member.resource_id)) for member in members]
            for members in (add, remove)
        )
        return self._adapter.change_members(resource_type, self._given(stored), joining, leaving)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        found = self._adapter.memberships(resource_type, list(map(self._given, stored)))
        return {self._name(key): list(map(self._link, links)) for key, links in found.items()}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        found = self._adapter.find([self._id(resource_id) for resource_id in resource_ids])
        return list(map(self._link, found))

    def _id(self, own: str) -> str:
        return self._real.get(own, own)

    def _name(self, real: str) -> str:
        return self._own.get(real, real)

    def _link(self, link: _Link) -> _Link:
        return replace(link, resource_id=self._name(link.resource_id))

    def _given(self, stored: StoredResource) -> StoredResource:
        return _renamed(stored, self._id(stored.id))

    def _shown(self, stored: StoredResource) -> StoredResource:
        shown = _renamed(stored, self._name(stored.id))
        if stored.memberships is not None:
            shown = replace(shown, memberships=list(map(self._link, stored.memberships)))
        return shown

    def _translated(self, node: Node) -> Node:
        match node:
            case BoundComparison(path=path, value=str(value)) if _is_id(path):
                return replace(node, value=self._id(value), key=comparison_key(path.leaf, self._id(value)))
            case And(operands=operands):
                return And(tuple(map(self._translated, operands)))
            case Or(operands=operands):
                return Or(tuple(map(self._translated, operands)))
            case Not(operand=operand):
                return Not(self._translated(operand))
            case BoundValuePath(filter=inner):
                return replace(node, filter=self._translated(inner))
        return node


def _is_id(path: AttributePath) -> bool:
    """Return whether a path names ids of resources: `id`, or what members and memberships are by."""
    linked = path.attribute.multi_valued and path.attribute.sub_attribute("$ref") is not None
    return path.attribute.name == "id" or (linked and path.leaf.name == "value")


def _only_equal(node: Node) -> bool:
    match node:
        case BoundComparison(path=path, operator=operator):
            return not _is_id(path) or operator == "eq"
        case BoundPresence():
            return True
        case And(operands=operands) | Or(operands=operands):
            return all(map(_only_equal, operands))
        case Not(operand=inner) | BoundValuePath(filter=inner):
            return _only_equal(inner)
    return False


def _renamed(stored: StoredResource, resource_id: str) -> StoredResource:
    document = {**stored.document, "id": resource_id}
    return replace(stored, id=resource_id, text=orjson.dumps(document).decode())
