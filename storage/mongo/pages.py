"""Reading many resources: the pages of a search, found by index wherever that is possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pymongo import ASCENDING, DESCENDING

from storage.adapter import Found, Position, Selection, StoredResource
from storage.batches import batches
from storage.index_keys import number_at
from storage.mongo.database import Database
from storage.mongo.documents import WITHOUT_INDEX, stored
from storage.mongo.filter import MongoFilterCompiler, Query
from storage.mongo.layout import Layout
from storage.mongo.links import Links

PLACE = "_scim.place"

# How many places are looked up at a time where every candidate must be read, and documents.
_BLOCK = 50_000
_BATCH = 500


class Pages:
    """Searches one type."""

    def __init__(self, database: Database, layout: Layout, links: Links) -> None:
        self._database = database
        self._layout = layout
        self._compiler = MongoFilterCompiler(layout, links)

    def every(self, native: Query | None = None) -> Iterator[StoredResource]:
        """Yield what matches `native`, or everything, in order of creation, a batch at a time."""
        last = 0
        while True:
            query = _all_of({PLACE: {"$gt": last}}, native)
            with self._database.reading() as documents:
                found = documents[self._layout.collection].find(query, {PLACE: 1})
                rows = list(found.sort(PLACE, ASCENDING).limit(_BLOCK))
            for batch in batches((row["_id"] for row in rows), _BATCH):
                yield from self._load(batch)
            if len(rows) < _BLOCK:
                return
            last = rows[-1]["_scim"]["place"]

    def _load(self, ids: Sequence[str]) -> list[StoredResource]:
        with self._database.reading() as documents:
            rows = documents[self._layout.collection].find({"_id": {"$in": list(ids)}}, WITHOUT_INDEX)
            found = {row["_id"]: stored(row) for row in rows if "_scim" in row}
        return [found[resource_id] for resource_id in ids if resource_id in found]

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`)."""
        native, residual = None, None
        if selection.filter is not None:
            native, residual = self._compiler.split(selection.filter)
        sort = selection.sort
        if residual is not None or (sort and self._layout.sort_field(sort.path) is None):
            return Found(self.every(native), residual)
        found = self._page(selection, native) if selection.limit != 0 else []
        from_start = selection.after is None and selection.before is None
        is_last = from_start and found and (selection.limit is None or len(found) < selection.limit)
        total = selection.offset + len(found) if is_last else self.total(native)
        return Found(found, is_page=True, total=total)

    def total(self, native: Query | None = None) -> int:
        """Return how many resources match `native`, or how many there are."""
        with self._database.reading() as documents:
            query = _all_of({PLACE: {"$gt": 0}}, native)
            return documents[self._layout.collection].count_documents(query)

    def _page(self, selection: Selection, native: Query | None) -> list[StoredResource]:
        """Return a page; one that ends at a position is read backwards."""
        backwards = selection.before is not None
        descending = backwards != (selection.sort is not None and selection.sort.descending)
        direction = DESCENDING if descending else ASCENDING
        offset, limit = selection.offset, selection.limit
        found: list[StoredResource] = []
        for part in self._parts(selection, descending):
            query = _all_of({PLACE: {"$gt": 0}}, native, part.condition, part.beyond)
            with self._database.reading() as documents:
                collection = documents[self._layout.collection]
                cursor = collection.find(query, WITHOUT_INDEX).allow_disk_use(True)
                cursor = cursor.sort([(field, direction) for field in part.order]).skip(offset)
                rows = list(cursor.limit(limit - len(found)) if limit is not None else cursor)
                if not rows and offset:
                    offset -= collection.count_documents(_all_of({PLACE: {"$gt": 0}}, native, part.condition))
                else:
                    offset = 0
            found += [stored(row) for row in rows]
            if len(found) == limit:
                break
        return found[::-1] if backwards else found

    def _parts(self, selection: Selection, descending: bool) -> "list[_Part]":
        """Return the parts of an order; resources without a value are one of their own.

        Ascending they come last, descending first, so that one order is the other reversed.
        """
        position = selection.after or selection.before
        beyond = "$lt" if descending else "$gt"
        if selection.sort is None:
            return [_Part({}, (PLACE,), {PLACE: {beyond: number_at(position.place)}} if position else {})]
        field = self._layout.sort_field(selection.sort.path)
        assert field is not None
        valued, missing = _Part({field: {"$gte": ""}}, (field, PLACE)), _Part({field: None}, (PLACE,))
        if position is None:
            return [missing, valued] if descending else [valued, missing]
        if position.key is None:
            missing = replace(missing, beyond={PLACE: {beyond: number_at(position.place)}})
            return [missing, valued] if descending else [missing]
        valued = replace(valued, beyond=_beyond(field, position, beyond))
        return [valued] if descending else [valued, missing]


@dataclass(frozen=True)
class _Part:
    """A part of an order, and what of it is beyond the position to go on from."""

    condition: Query
    order: tuple[str, ...]
    beyond: Query | None = None


def _beyond(field: str, position: Position, beyond: str) -> Query:
    # The first condition lets the index find the place; the second goes on from there.
    further = [{field: {beyond: position.key}}, {PLACE: {beyond: number_at(position.place)}}]
    return {field: {f"{beyond}e": position.key}, "$or": further}


def _all_of(*queries: Query | None) -> Query:
    """Return what matches all of the queries that say anything."""
    parts = [query for query in queries if query]
    return parts[0] if len(parts) == 1 else {"$and": parts}
