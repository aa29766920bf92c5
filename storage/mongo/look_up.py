"""Which resources exist, whatever their type, and how others show them."""

from collections.abc import Iterable, Mapping
from typing import Any

from storage.adapter import Key
from storage.batches import batches
from storage.mongo.layout import Layout
from storage.mongo.wire import Documents


class LookUp:
    """Finds resources in the collections of `layouts`, which are by name of resource type."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self.layouts = layouts

    def rows(self, documents: Documents, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
        """Return `display` and `place` of those of the resources that exist."""
        by_type: dict[str, list[str]] = {}
        for type_name, resource_id in keys:
            by_type.setdefault(type_name, []).append(resource_id)
        found: dict[Key, dict[str, Any]] = {}
        for type_name, ids in by_type.items():
            layout = self.layouts.get(type_name)
            if layout is None:
                # Of a type that the schemas do not have any more.
                continue
            for batch in batches(ids):
                query = {"_id": {"$in": batch}}
                shown = {"_scim.display": 1, "_scim.place": 1}
                for row in documents[layout.collection].find(query, shown):
                    kept = row.get("_scim")
                    # One that is not taken over yet has none.
                    known = kept if isinstance(kept, dict) else {}
                    found[type_name, row["_id"]] = {"place": 0, **known}
        return found
