"""Finding resources: any of them by id or by membership, and those of one type a page at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure

from scim_filter.compiler import FilterCompiler
from scim_filter.plan import Plan, parts_of
from storage.adapter import Found, Key, Member, Selection, StoredResource
from storage.batches import BATCH, batches
from storage.index_keys import number_at
from storage.known_member import KnownMember
from storage.missing_index import missing_order
from storage.mongo.form import PLACE, WITHOUT_INDEX, stored
from storage.mongo.layout import Layout
from storage.mongo.wire import MEMBERS, Database, Documents, Query, joined
from storage.order import OrderPart, read_page

# The numbers of places and of documents that one command reads where every candidate must be read.
_BLOCK: Final = 50_000
_BATCH: Final = 500

# The server's code for an answer to `distinct` that would not fit into a document.
_DISTINCT_TOO_BIG: Final = 17217
# What is read of a member beside its id.
_SHOWN: Final = {"_scim.display": 1, PLACE: 1}
# The keys of a membership, without its place and display.
_KEYS: Final = {"_id": 0, "group": 1, "groupType": 1, "member": 1, "memberType": 1}


class LookUp:
    """Finds resources of every type; `layouts` has the types by name."""

    def __init__(self, database: Database, layouts: Mapping[str, Layout]) -> None:
        self.layouts = layouts
        self._database = database

    def rows(self, documents: Documents, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
        """Return `display` and `place` of those of the resources that exist; one command reads 500 ids."""
        found: dict[Key, dict[str, Any]] = {}
        # The schemas may no longer have a type.
        for batch in batches(key for key in keys if key[0] in self.layouts):
            by_type: dict[str, list[str]] = {}
            for type_name, resource_id in batch:
                by_type.setdefault(type_name, []).append(resource_id)
            for type_name, rows in self._by_type(documents, by_type).items():
                for row in rows:
                    kept = row.get("_scim")
                    # A document that is not adopted yet has neither.
                    known = kept if isinstance(kept, dict) else {}
                    found[type_name, row["_id"]] = {"place": 0, **known}
        return found

    def _by_type(
        self, documents: Documents, ids: Mapping[str, Sequence[str]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the documents with some ids of each type, without attributes."""
        queries = {name: {"_id": {"$in": list(some)}} for name, some in ids.items()}
        first, *others = queries
        collection = documents[self.layouts[first].collection]
        if not others:
            return {first: list(collection.find(queries[first], _SHOWN))}
        # A facet is one document, even of no documents, to which those of the other types are joined.
        names = {name: f"type{number}" for number, name in enumerate(queries)}
        facet = {"$facet": {names[first]: [{"$project": _SHOWN}]}}
        stages: list[Query] = [{"$match": queries[first]}, facet]
        for name in others:
            other = self.layouts[name].collection
            stages.append(joined(other, queries[name], names[name], {"$project": _SHOWN}))
        row = next(iter(collection.aggregate(stages)), {})
        return {name: row.get(field, []) for name, field in names.items()}

    def find(self, resource_ids: Sequence[str]) -> list[Member]:
        """Return every resource that has one of the ids."""
        found: list[Member] = []
        for batch in batches(dict.fromkeys(resource_ids), max(1, BATCH // len(self.layouts))):
            with self._database.reading() as documents:
                rows = self.rows(documents, [(name, one) for name in self.layouts for one in batch])
            for (name, resource_id), row in rows.items():
                display = row.get("display")
                found.append(KnownMember(resource_id, name, display, display))
        return found

    def beside(self, documents: Documents, type_name: str, resource_id: str) -> tuple[bool, bool]:
        """Return whether a resource that exists has a twin, and whether it has members or memberships.

        A twin is a resource of another type with its id: each collection has its own ids.
        """
        own = {"_id": resource_id}
        limits: list[Query] = [{"$limit": 1}, {"$project": {"_id": 1}}]
        others = [layout.collection for name, layout in self.layouts.items() if name != type_name]
        stages = [joined(other, own, f"type{number}", *limits) for number, other in enumerate(others)]
        links = joined(MEMBERS, links_of(type_name, resource_id), "links", *limits)
        collection = documents[self.layouts[type_name].collection]
        rows = list(collection.aggregate([{"$match": own}, {"$project": {"_id": 1}}, *stages, links]))
        if not rows:
            # Another process has deleted it meanwhile.
            return False, False
        return any(rows[0][f"type{number}"] for number in range(len(others))), bool(rows[0]["links"])

    def twins(self, type_name: str, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that resources of other types have: each collection has its own ids."""
        with self._database.reading() as documents:
            return [
                row["_id"]
                for name, layout in self.layouts.items()
                if name != type_name
                for row in documents[layout.collection].find({"_id": {"$in": list(ids)}}, {"_id": 1})
            ]

    @property
    def nesting(self) -> set[str]:
        """The names of the types that have members."""
        return {name for name, layout in self.layouts.items() if layout.resource_type.members is not None}

    def below(self, group_id: str, limit: int) -> dict[str, set[str]] | None:
        """Return the ids, by type, of the direct and indirect members of the group with that id.

        None when these are more than `limit`.
        """
        found: dict[str, set[str]] = {}
        with self._database.reading() as documents:
            inner = set(self.rows(documents, [(name, group_id) for name in self.nesting]))
        seen = set(inner)
        while inner:
            outer: set[Key] = set()
            for batch in batches(sorted(inner)):
                with self._database.reading() as documents:
                    types, ids = {key[0] for key in batch}, {key[1] for key in batch}
                    query = {"groupType": {"$in": list(types)}, "group": {"$in": list(ids)}}
                    for row in documents[MEMBERS].find(query, _KEYS):
                        if (row["groupType"], row["group"]) not in inner:
                            continue
                        found.setdefault(row["memberType"], set()).add(row["member"])
                        if row["memberType"] in self.nesting:
                            outer.add((row["memberType"], row["member"]))
                        if sum(map(len, found.values())) > limit:
                            return None
            inner = outer - seen
            seen |= outer
        return found

    def holders(self, group_type: str, member_id: str) -> list[str]:
        """Return the ids of the groups of a type that have a resource as a direct member."""
        with self._database.reading() as documents:
            types = list(self.layouts)
            query = {"memberType": {"$in": types}, "member": member_id, "groupType": group_type}
            rows = list(documents[MEMBERS].find(query, {"_id": 0, "group": 1, "memberType": 1}))
            found = self.rows(documents, {(row["memberType"], member_id) for row in rows})
        return sorted({row["group"] for row in rows if (row["memberType"], member_id) in found})

    def linked(self, side: str, resource_type: str, limit: int) -> list[str] | None:
        """Return the ids on one side of all memberships, `group` or `member`; None for more than `limit`."""
        with self._database.reading() as documents:
            try:
                ids = documents[MEMBERS].distinct(side, {f"{side}Type": resource_type})
            except OperationFailure as exc:
                if exc.code != _DISTINCT_TOO_BIG:
                    raise
                return None
        return ids if len(ids) <= limit else None


class Pages:
    """Reads the resources of one type."""

    def __init__(self, database: Database, layout: Layout, compiler: FilterCompiler[Query]) -> None:
        self._database = database
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
        from_start = selection.after is None and selection.before is None
        is_last = from_start and found and (selection.limit is None or len(found) < selection.limit)
        total = selection.offset + len(found) if is_last else self._total(native)
        return Found(found, is_page=True, total=total)

    def _total(self, native: Query | None) -> int:
        with self._database.reading() as documents:
            query = _all_of({PLACE: {"$gt": 0}}, native)
            return documents[self._layout.collection].count_documents(query)

    def _page(self, selection: Selection, native: Query | None) -> list[StoredResource]:
        field = self._layout.sort_field(selection.sort.path) if selection.sort else None

        def query(part: OrderPart) -> Query:
            of_part = {field: {"$gte": ""} if part.has_value else None} if field else None
            return _all_of({PLACE: {"$gt": 0}}, native, of_part)

        def read(part: OrderPart, offset: int, limit: int | None) -> list[StoredResource]:
            fields = (field, PLACE) if field and part.has_value else (PLACE,)
            direction = DESCENDING if part.descending else ASCENDING
            with self._database.reading() as documents:
                collection = documents[self._layout.collection]
                cursor = collection.find(_all_of(query(part), _onward(part, field)), WITHOUT_INDEX)
                cursor = cursor.allow_disk_use(True).sort([(one, direction) for one in fields]).skip(offset)
                return list(map(stored, cursor if limit is None else cursor.limit(limit)))

        def count(part: OrderPart) -> int:
            with self._database.reading() as documents:
                return documents[self._layout.collection].count_documents(query(part))

        return read_page(selection, read, count)


def links_of(type_name: str, resource_id: str) -> Query:
    """Return the query for the memberships that a resource has, and for those that it is the group of."""
    return {
        "$or": [
            {"memberType": type_name, "member": resource_id},
            {"groupType": type_name, "group": resource_id},
        ]
    }


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
