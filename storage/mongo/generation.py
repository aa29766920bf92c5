"""Which definitions and INDEXED_ATTRIBUTES index entries are made by: those of the process started last.

Each document names the rules that made its entries. So a write by other rules is seen, even one that a
process of an earlier release makes, or that began before the last start: `mend` makes its entries again.
"""

import logging
from collections.abc import Iterable

from schema.resource_type import ResourceType
from storage.errors import SettingsSuperseded
from storage.mongo.layout import Layout
from storage.mongo.wire import GENERATION, Database, insert_new

_LOG = logging.getLogger(__name__)


class Generation:
    """The rules that hold now, as far as this process knows: it looks when told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._others: frozenset[str] = frozenset()
        self._incomplete: frozenset[str] = frozenset()

    def begin(self, layouts: Iterable[Layout]) -> None:
        """Make the rules of this process those that hold; entries by other rules may remain."""
        with self._database.writing() as documents:
            for layout in layouts:
                name = layout.resource_type.name
                rules = {"layout": layout.signature, "complete": False}
                if insert_new(documents[GENERATION], [{"_id": name, **rules}]):
                    others = {"_id": name, "layout": {"$ne": layout.signature}}
                    documents[GENERATION].update_one(others, {"$set": rules})
        self._others = frozenset()

    def complete(self, layout: Layout) -> None:
        """Say that all entries of a type are made by the rules of this process, unless others hold by now."""
        name = layout.resource_type.name
        with self._database.writing() as documents:
            own = {"_id": name, "layout": layout.signature}
            documents[GENERATION].update_one(own, {"$set": {"complete": True}})
        self._incomplete -= {name}

    def look(self, layouts: Iterable[Layout]) -> None:
        """See whether other rules hold by now."""
        own = {layout.resource_type.name: layout.signature for layout in layouts}
        with self._database.reading() as documents:
            found = {one["_id"]: one for one in documents[GENERATION].find({"_id": {"$in": list(own)}})}
        others = frozenset(name for name, one in found.items() if one["layout"] != own[name])
        self._incomplete = frozenset(name for name, one in found.items() if not one["complete"])
        if others - self._others:
            _LOG.error("%s", SettingsSuperseded.of(", ".join(sorted(others))))
        self._others = others

    def is_own(self, resource_type: ResourceType) -> bool:
        """Return whether the rules of this process hold for a type: it may write."""
        return resource_type.name not in self._others

    def is_complete(self, resource_type: ResourceType) -> bool:
        """Return whether all entries of a type are made by the rules of this process: it may search them."""
        return resource_type.name not in self._others | self._incomplete

    def require_own(self, resource_type: ResourceType) -> None:
        """Return if `is_own`. Raises SettingsSuperseded."""
        if not self.is_own(resource_type):
            raise SettingsSuperseded.of(resource_type.name)

    def require_all(self) -> None:
        """Return if the entries of all types are those of this process. Raises SettingsSuperseded."""
        if self._others:
            raise SettingsSuperseded.of(", ".join(sorted(self._others)))
