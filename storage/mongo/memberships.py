"""Which resources a filter on members or memberships is about: their ids, looked up beforehand."""

from typing import Final

from pymongo.errors import OperationFailure

from storage.adapter import Key
from storage.batches import batches
from storage.mongo.look_up import LookUp
from storage.mongo.members import MEMBERS
from storage.mongo.wire import Database

# What the server says when the answer to `distinct` would not fit into a document.
_DISTINCT_TOO_BIG: Final = 17217

# The keys of a membership, without its place and display.
_KEYS: Final = {"_id": 0, "group": 1, "groupType": 1, "member": 1, "memberType": 1}


class Links:
    """Looks up groups by members and members by groups."""

    def __init__(self, database: Database, look_up: LookUp) -> None:
        self._database = database
        self._look_up = look_up

    @property
    def _nesting(self) -> set[str]:
        layouts = self._look_up.layouts
        return {name for name, layout in layouts.items() if layout.resource_type.members is not None}

    def below(self, group_id: str, limit: int) -> dict[str, set[str]] | None:
        """Return the ids, by type, of what is in the group with that id, directly or not.

        None when these are more than `limit`.
        """
        found: dict[str, set[str]] = {}
        with self._database.reading() as documents:
            groups = [(name, group_id) for name in self._nesting]
            inner = set(self._look_up.rows(documents, groups))
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
                        if row["memberType"] in self._nesting:
                            outer.add((row["memberType"], row["member"]))
                        if sum(map(len, found.values())) > limit:
                            return None
            inner = outer - seen
            seen |= outer
        return found

    def holders(self, group_type: str, member_id: str) -> list[str]:
        """Return the ids of the groups of a type that have a resource as a member themselves."""
        with self._database.reading() as documents:
            types = list(self._look_up.layouts)
            query = {"memberType": {"$in": types}, "member": member_id, "groupType": group_type}
            rows = list(documents[MEMBERS].find(query, {"_id": 0, "group": 1, "memberType": 1}))
            found = self._look_up.rows(documents, {(row["memberType"], member_id) for row in rows})
        return sorted({row["group"] for row in rows if (row["memberType"], member_id) in found})

    def linked(self, side: str, resource_type: str, limit: int) -> list[str] | None:
        """Return the ids of all that is on one side, `group` or `member`; None when there are too many."""
        with self._database.reading() as documents:
            try:
                ids = documents[MEMBERS].distinct(side, {f"{side}Type": resource_type})
            except OperationFailure as exc:
                if exc.code != _DISTINCT_TOO_BIG:
                    raise
                return None
        return ids if len(ids) <= limit else None
