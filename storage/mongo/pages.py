"""The resources of one type, a page at a time or all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from pymongo import ASCENDING, DESCENDING

from scim_filter.compiler import FilterCompiler
from scim_filter.nodes import And, BoundComparison
from scim_filter.plan import Plan, parts_of
from storage.adapter import Found, Selection, StoredResource
from storage.batches import batches
from storage.index_keys import number_at
from storage.missing_index import missing_order
from storage.mongo.form import PLACE, WITHOUT_INDEX, stored
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.wire import Database, Query
from storage.order import OrderPart, read_page

# The numbers of places and of documents that one command reads where every candidate must be read.
_BLOCK: Final = 50_000
_BATCH: Final = 500


class Pages:
    """Reads the resources of one type."""

    def __init__(
        self, database: Database, layout: Layout, compiler: FilterCompiler[Query], links: Links
    ) -> None:
        self._database = database
        self._links = links
        self._layout = layout
        self._compiler = compiler

    def every(self, native: Query | None = None) -> Iterator[StoredResource]:
        """Yield the resources that match `native`, or all, in order of creation, a batch at a time."""
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
        """Return the resources that may be selected (`StorageAdapter.candidates`)."""
        return replace(self._candidates(selection), explain=partial(self._explain, selection))

    def _explain(self, selection: Selection) -> Plan:
        layout = self._layout
        order = missing_order(layout.resource_type, selection.sort, {"id", *layout.paths})
        return Plan(parts_of(self._compiler, selection.filter), order)

    def _candidates(self, selection: Selection) -> Found:
        native, residual = None, None
        if selection.filter is not None:
            native, residual = self._compiler.split(selection.filter)
        sort = selection.sort
        if residual is not None or (sort and self._layout.sort_field(sort.path) is None):
            return Found(self.every(native), residual, is_narrowed=native is not None)
        found = self._page(selection, native) if selection.limit != 0 else []
        from_start = selection.after is None and selection.before is None and (found or not selection.offset)
        is_last = from_start and (selection.limit is None or len(found) < selection.limit)
        total = selection.offset + len(found) if is_last else self._count(_every(native))
        return Found(found, is_page=True, total=total)

    def _count(self, query: Query) -> int:
        with self._database.reading() as documents:
            return documents[self._layout.collection].count_documents(query)

    def _page(self, selection: Selection, native: Query | None) -> list[StoredResource]:
        field = self._layout.sort_field(selection.sort.path) if selection.sort else None
        # One resource is read with its groups; those of several resources take one look for all.
        along = [self._links.along(self._layout.resource_type.name)] if self._is_one(selection) else []

        def query(part: OrderPart) -> Query:
            of_part = {field: {"$gte": ""} if part.has_value else None} if field else None
            return _all_of(_every(native), of_part)

        def read(part: OrderPart, offset: int, limit: int | None) -> list[StoredResource]:
            fields = (field, PLACE) if field and part.has_value else (PLACE,)
            direction = DESCENDING if part.descending else ASCENDING
            stages: list[Query] = [{"$sort": dict.fromkeys(fields, direction)}]
            stages += [{"$skip": offset}] if offset else []
            stages += [] if limit is None else [{"$limit": limit}]
            stages += [{"$project": WITHOUT_INDEX}, *along]
            matching = {"$match": _all_of(query(part), _onward(part, field))}
            with self._database.reading() as documents:
                collection = documents[self._layout.collection]
                rows = collection.aggregate([matching, *stages], allowDiskUse=True)
                return list(map(self._links.resource, rows))

        return read_page(selection, read, lambda part: self._count(query(part)))

    def _is_one(self, selection: Selection) -> bool:
        """Return whether a filter asks for a unique value: then it matches one resource as a rule."""
        node = selection.filter
        unique = {"id", *(path.text for path in self._layout.resource_type.unique_paths)}
        return any(
            isinstance(part, BoundComparison) and part.operator == "eq" and part.path.text in unique
            for part in (node.operands if isinstance(node, And) else (node,))
        )


def _every(native: Query | None) -> Query:
    """Return the query for the resources that match `native`, or for all."""
    return _all_of({PLACE: {"$gt": 0}}, native)


def _onward(part: OrderPart, field: str | None) -> Query | None:
    """Return the condition that a resource is beyond the position to go on from."""
    if part.beyond is None:
        return None
    beyond = "$lt" if part.descending else "$gt"
    place = {PLACE: {beyond: number_at(part.beyond.place)}}
    if field is None or not part.has_value:
        return place
    # The first condition lets the index find the place; the second goes on from there.
    return {field: {f"{beyond}e": part.beyond.key}, "$or": [{field: {beyond: part.beyond.key}}, place]}


def _all_of(*queries: Query | None) -> Query:
    """Return the query that joins all queries but empty ones."""
    parts = [query for query in queries if query]
    return parts[0] if len(parts) == 1 else {"$and": parts}
