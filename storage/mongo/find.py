"""Finding resources of any type, by id or by membership."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pymongo.errors import OperationFailure

from storage.adapter import Key, Member
from storage.batches import BATCH, batches
from storage.known_member import KnownMember
from storage.mongo.form import PLACE
from storage.mongo.layout import Layout
from storage.mongo.wire import MEMBERS, Database, Documents, Query, joined

# The server's code for an answer to `distinct` that would not fit into a document.
_DISTINCT_TOO_BIG: Final = 17217
SHOWN: Final = {"_scim.display": 1, PLACE: 1}
"""What is read of a member or a group beside its id."""

# The field in which resources of a type are read along with another resource; the number of the type follows.
_ALONG: Final = "_scim_type"
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
                found |= {(type_name, row["_id"]): shown(row) for row in rows}
        return found

    def _by_type(
        self, documents: Documents, ids: Mapping[str, Sequence[str]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the documents with some ids of each type, without attributes."""
        queries = {name: {"_id": {"$in": list(some)}} for name, some in ids.items()}
        first, *others = queries
        collection = documents[self.layouts[first].collection]
        if not others:
            return {first: list(collection.find(queries[first], SHOWN))}
        # A facet is one document, even of no documents, to which those of the other types are joined.
        names = {name: f"type{number}" for number, name in enumerate(queries)}
        facet = {"$facet": {names[first]: [{"$project": SHOWN}]}}
        stages: list[Query] = [{"$match": queries[first]}, facet]
        for name in others:
            other = self.layouts[name].collection
            stages.append(joined(other, queries[name], names[name], {"$project": SHOWN}))
        row = next(iter(collection.aggregate(stages)), {})
        return {name: row.get(field, []) for name, field in names.items()}

    def find(self, resource_ids: Sequence[str]) -> list[Member]:
        """Return every resource that has one of the ids."""
        found: list[Member] = []
        for batch in batches(dict.fromkeys(resource_ids), max(1, BATCH // len(self.layouts))):
            with self._database.reading() as documents:
                rows = self.rows(documents, [(name, one) for name in self.layouts for one in batch])
            found += _members(rows)
        return found

    def along(self, resource_ids: Sequence[str]) -> list[Query]:
        """Return the stages that add to a document what `taken_along` takes from it."""
        query, fields = {"_id": {"$in": list(resource_ids)}}, {"$project": SHOWN}
        collections = [layout.collection for layout in self.layouts.values()]
        return [joined(one, query, f"{_ALONG}{number}", fields) for number, one in enumerate(collections)]

    def taken_along(self, document: dict[str, Any]) -> list[Member]:
        """Return every resource that has one of the ids, as `find` does."""
        rows = {
            (name, row["_id"]): shown(row)
            for number, name in enumerate(self.layouts)
            for row in document.pop(f"{_ALONG}{number}")
        }
        return _members(rows)

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


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `place` and `display` of a document; one that is not adopted yet has neither."""
    kept = row.get("_scim")
    return {"place": 0, **(kept if isinstance(kept, dict) else {})}


def _members(rows: Mapping[Key, Mapping[str, Any]]) -> list[Member]:
    found = ((key, row.get("display")) for key, row in rows.items())
    return [KnownMember(resource_id, name, display, display) for (name, resource_id), display in found]


def links_of(type_name: str, resource_id: str) -> Query:
    """Return the query for the memberships that a resource has, and for those that it is the group of."""
    return {
        "$or": [
            {"memberType": type_name, "member": resource_id},
            {"groupType": type_name, "group": resource_id},
        ]
    }
