"""What one context sees: the storage as far as it is seen, and what is made of that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from app.protocol.context import Context
from app.protocol.references import References
from app.protocol.representation import Representation
from app.protocol.search import Searcher, SearchLimits
from schema.registry import Registry
from schema.resource_type import ResourceType
from scim_filter.nodes import Node
from storage.adapter import StorageAdapter, StoredResource
from storage.narrowed import NarrowedStorage

Predicate = Callable[[Context, ResourceType], Node | None]
"""Returns the bound filter that narrows what a context sees of a resource type, None for all of it."""


@dataclass(frozen=True, slots=True)
class View:
    """The reading side of the storage, for one context."""

    storage: StorageAdapter
    representation: Representation
    references: References
    searcher: Searcher


class Views:
    """Makes views; everybody who sees everything shares one."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        prefix: str,
        limits: SearchLimits,
        predicate: Predicate | None = None,
    ) -> None:
        self._registry = registry
        self._adapter = adapter
        self._prefix = prefix
        self._limits = limits
        self._predicate = predicate
        self.whole = self._made(adapter)

    def of(self, context: Context) -> View:
        """Return what `context` sees."""
        filters = self._filters(context) if self._predicate is not None else {}
        if not filters:
            return self.whole
        return self._made(NarrowedStorage(self._adapter, self._registry.resource_types, filters))

    def seen(self, context: Context, stored: StoredResource) -> StoredResource:
        """Return a written resource as `context` sees it: not all memberships that came along."""
        if stored.memberships is None or self.of(context) is self.whole:
            return stored
        return replace(stored, memberships=None)

    def _filters(self, context: Context) -> Mapping[str, Node]:
        assert self._predicate is not None
        found = ((r.name, self._predicate(context, r)) for r in self._registry.resource_types)
        return {name: node for name, node in found if node is not None}

    def _made(self, storage: StorageAdapter) -> View:
        representation = Representation(self._registry, storage, self._prefix)
        return View(
            storage,
            representation,
            References(self._registry, storage, self._prefix),
            Searcher(self._registry, storage, representation, self._limits),
        )
