"""What one context sees: the storage as far as it is seen, and what is made of that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from app.protocol.context import Context
from app.protocol.profiles import Locations, profile_of
from app.protocol.references import References
from app.protocol.representation import Representation
from app.protocol.search import Searcher, SearchLimits
from schema.registry import Registry
from schema.resource_type import ResourceType
from scim_filter.nodes import Node
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.narrowed import NarrowedStorage
from storage.owners import owned_by

Predicate = Callable[[Context, ResourceType], Node | None]
"""Returns the bound filter that narrows what a context sees of a resource type, None for all of it."""


@dataclass(frozen=True, slots=True)
class View:
    """The reading side of the storage, for one context; `is_whole` says that nothing is hidden from it."""

    storage: StorageAdapter
    representation: Representation
    references: References
    searcher: Searcher
    is_whole: bool

    def seen_among(
        self, resource_type: ResourceType, stored: StoredResource, named: list[Member]
    ) -> list[Member]:
        """Return those of the named members of a resource that are seen, of which only type and id count."""
        if self.is_whole or not named:
            return named
        found = self.storage.among_members(resource_type, stored, [one.resource_id for one in named])
        seen = {member.key for member in found}
        return [one for one in named if one.key in seen]


class Views:
    """Makes views; all contexts of one profile that see everything share one."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        locations: Locations,
        limits: SearchLimits,
        predicate: Predicate | None = None,
    ) -> None:
        self._registry = registry
        self._adapter = adapter
        self._locations = locations
        self._limits = limits
        self._predicate = predicate
        # By profile; there are as many profiles as operators name.
        self.whole = cache(lambda profile: self._made(adapter, profile, is_whole=True))

    def of(self, context: Context) -> View:
        """Return what `context` sees."""
        filters = self._filters(context)
        if not filters:
            return self.whole(context.profile)
        narrowed = NarrowedStorage(self._adapter, self._registry.resource_types, filters)
        return self._made(narrowed, context.profile, is_whole=False)

    def location(self, context: Context, resource_type: str, resource_id: str) -> str:
        """Return the location of a resource as `context` sees it, by the name of its type and its id."""
        return self.whole(context.profile).representation.location(resource_type, resource_id)

    def seen(self, context: Context, stored: StoredResource) -> StoredResource:
        """Return a written resource as `context` sees it: not all memberships that came along."""
        if stored.memberships is None or self.of(context).is_whole:
            return stored
        return replace(stored, memberships=None)

    def _filters(self, context: Context) -> Mapping[str, Node]:
        if (owner := context.principal.owner) is not None:
            own = owned_by(owner)
            return {resource_type.name: own for resource_type in self._registry.resource_types}
        if self._predicate is None:
            return {}
        found = ((r.name, self._predicate(context, r)) for r in self._registry.resource_types)
        return {name: node for name, node in found if node is not None}

    def _made(self, storage: StorageAdapter, profile: str, is_whole: bool) -> View:
        prefix, on_request = self._locations.prefix(profile), profile_of(profile).members_on_request
        representation = Representation(self._registry, storage, prefix, members_on_request=on_request)
        return View(
            storage,
            representation,
            References(self._registry, storage, prefix),
            Searcher(self._registry, storage, representation, self._limits),
            is_whole,
        )
