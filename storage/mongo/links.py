"""Memberships: documents of their own, so that a change costs the same in a group of any size."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from storage.adapter import Key, Member, Membership, ReadAlong, StoredResource
from storage.batches import BATCH, batches
from storage.errors import ResourceNotFound, after_write
from storage.known_member import KnownMember
from storage.mongo.find import LookUp, links_of
from storage.mongo.form import Places, stored
from storage.mongo.levels import Levels
from storage.mongo.wire import DELETED, LEASE_S, MEMBERS, Database, Documents, Query, insert_new, joined
from storage.nesting import nested

_LONGEST_ID: Final = 500
# The field in which the memberships of a resource are read along with it, and how many at most.
_ALONG: Final = "_scim_links"
_MOST_ALONG: Final = 50
# The field in which memberships of a group are read along with it, those of at most so many named members.
_NAMED: Final = "_scim_named"
_MOST_NAMED: Final = 100


class Links:
    """The memberships of a database. A deletion that a crash interrupted is completed at the next start."""

    def __init__(self, database: Database, look_up: LookUp, places: Places) -> None:
        self._database = database
        self._look_up = look_up
        self._places = places

    def of(self, group: ResourceType, group_id: str, limit: int | None = None) -> Iterator[Member]:
        """Yield the members of a group, at most `limit`, in the order in which they joined."""
        last, left = 0, limit
        while left is None or left > 0:
            size = BATCH if left is None else min(left, BATCH)
            query = {"groupType": group.name, "group": group_id, "place": {"$gt": last}}
            with self._database.reading() as documents:
                rows = list(documents[MEMBERS].find(query).sort("place", 1).limit(size))
                members = self._shown(documents, rows)
            yield from members
            if len(rows) < size:
                return
            last, left = rows[-1]["place"], left and left - len(members)

    def _shown(self, documents: Documents, rows: Sequence[dict[str, Any]]) -> list[Member]:
        """Return the members whose resource exists; some may have been deleted an instant ago."""
        found = self._look_up.rows(documents, [(row["memberType"], row["member"]) for row in rows])
        members = []
        for row in rows:
            known = found.get((row["memberType"], row["member"]))
            if known is not None:
                display = row.get("display") or known.get("display")
                members.append(Member(row["member"], row["memberType"], display))
        return members

    def among(self, group: ResourceType, group_id: str, member_ids: Sequence[str]) -> list[Member]:
        """Return the members of a group that have one of the ids."""
        found: list[Member] = []
        for batch in batches(self._row_ids(group, group_id, member_ids)):
            with self._database.reading() as documents:
                found += map(_member, documents[MEMBERS].find({"_id": {"$in": batch}}))
        return found

    def _row_ids(self, group: ResourceType, group_id: str, member_ids: Sequence[str]) -> list[str]:
        names, ids = self._look_up.layouts, dict.fromkeys(member_ids)
        return [_row_id(group.name, group_id, (name, one)) for one in ids for name in names]

    def naming(self, group: ResourceType, group_id: str, member_ids: Sequence[str]) -> list[Query]:
        """Return the stages that add to the document of a group what `taken_named` takes from it.

        These are none for more than 100 ids: what is read together has to fit into one document.
        """
        if not 0 < len(member_ids) <= _MOST_NAMED:
            return []
        rows = joined(MEMBERS, {"_id": {"$in": self._row_ids(group, group_id, member_ids)}}, _NAMED)
        return [*self._look_up.along(member_ids), rows]

    def taken_named(self, document: dict[str, Any], member_ids: Sequence[str]) -> ReadAlong | None:
        """Return what was read about named members; None where that takes another look."""
        rows = document.pop(_NAMED, None)
        if rows is None:
            return None
        existing = self._look_up.taken_along(document)
        return ReadAlong(frozenset(member_ids), existing, list(map(_member, rows)))

    def change(
        self, group: ResourceType, group_id: str, add: Iterable[Member], remove: Iterable[Member]
    ) -> bool:
        """Remove members, then add others, and return whether that changed anything.

        Raises ResourceNotFound when members joined a group that was deleted meanwhile.
        """
        changed: list[str] = []
        with after_write(changed):
            for batch in batches(sorted(_row_id(group.name, group_id, member.key) for member in remove)):
                with self._database.writing() as documents:
                    if documents[MEMBERS].delete_many({"_id": {"$in": batch}}).deleted_count:
                        changed += batch
            for members in batches(add):
                self._join(group.name, group_id, members, changed)
        return bool(changed)

    def _join(
        self, group_type: str, group_id: str, members: Sequence[Member], changed: list[str]
    ) -> None:
        own_key = (group_type, group_id)
        with self._database.writing() as documents:
            displays = self._own_displays(documents, members)
            rows = {
                member.key: self._row(group_type, group_id, member, displays[member.key])
                for member in members
                if member.key in displays
            }
            new = list(rows.values())
            number = len(new) - len(insert_new(documents[MEMBERS], new))
            changed += [group_id] * number
            if not number:
                return
            # The deletion of a resource meanwhile may have missed its new memberships: they go again.
            existing = self._look_up.rows(documents, [own_key, *rows])
            if own_key not in existing:
                documents[MEMBERS].delete_many({"groupType": group_type, "group": group_id})
                raise ResourceNotFound(group_type, group_id)
            for key in rows.keys() - existing.keys():
                row = rows[key]
                query = {"_id": row["_id"], "place": row["place"]}
                if documents[MEMBERS].delete_one(query).deleted_count:
                    changed.pop()

    def _own_displays(self, documents: Documents, members: Sequence[Member]) -> dict[Key, str | None]:
        """Return the displays of those of the members that exist: they may be known from `LookUp.find`."""
        found: dict[Key, str | None] = {one.key: one.own for one in members if isinstance(one, KnownMember)}
        others = [member.key for member in members if member.key not in found]
        rows = self._look_up.rows(documents, others) if others else {}
        return found | {key: row.get("display") for key, row in rows.items()}

    def _row(self, group_type: str, group_id: str, member: Member, display: str | None) -> dict[str, Any]:
        row = {
            "_id": _row_id(group_type, group_id, member.key),
            "group": group_id,
            "groupType": group_type,
            "member": member.resource_id,
            "memberType": member.resource_type,
            "place": self._places.next(),
        }
        if member.display and member.display != display:
            row["display"] = member.display
        return row

    def above(self, member_type: str, resource_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups that each resource is in, directly or through groups in between.

        One command reads a level: the groups of 500 resources, and which of these groups are in others.
        """
        found: dict[str, list[Membership]] = {}
        for batch in batches(resource_ids):
            levels = Levels(self._database, self._look_up)
            above = nested(levels.groups_of([(member_type, one) for one in batch]), levels.groups_of)
            for (_, resource_id), steps in above.items():
                if memberships := levels.memberships(steps):
                    found[resource_id] = memberships
        return found

    def along(self, member_type: str, resource_id: str | None = None) -> Query:
        """Return the stage that adds to the document of a resource the memberships that `resource` takes.

        Without the id of a resource, it adds to each document its own.
        """
        own: Query = {"member": resource_id}
        if resource_id is None:
            own = {"$expr": {"$eq": ["$member", "$$resource"]}}
        query, let = {"memberType": member_type, **own}, {"resource": "$_id"}
        stages = Levels(self._database, self._look_up).stages()
        return joined(MEMBERS, query, _ALONG, {"$limit": _MOST_ALONG}, *stages, let=let)

    def resource(self, document: dict[str, Any]) -> StoredResource:
        """Return the resource in a document, with its memberships if they were read along."""
        memberships = self._taken_along(document)
        joined = None if memberships is None else bool(memberships)
        return replace(stored(document), joined=joined, memberships=memberships or None)

    def _taken_along(self, document: dict[str, Any]) -> list[Membership] | None:
        """Return the groups that a resource is in; None if that takes another look.

        It does for 50 groups and for groups in groups, and where the document was not read with `along`.
        """
        rows = document.pop(_ALONG, None)
        if rows is None or any(row["above"] for row in rows):
            return None
        if sum(len(row["members"]) for row in rows) >= _MOST_ALONG:
            return None
        levels = Levels(self._database, self._look_up)
        return levels.memberships({levels.note(row): 1 for row in rows})

    # -- the end of a resource

    def announce(self, resource_type: str, resource_id: str) -> bool:
        """Record that a resource will be deleted and return True, if it has members or memberships."""
        with self._database.writing() as documents:
            if documents[MEMBERS].find_one(links_of(resource_type, resource_id), {"_id": 1}) is None:
                return False
            documents[DELETED].replace_one(
                {"_id": f"{resource_type}/{resource_id}"},
                {"type": resource_type, "id": resource_id, "at": time.time()},
                upsert=True,
            )
            return True

    def forget(self, resource_type: str, resource_id: str, before: int | None = None) -> None:
        """Remove a deleted resource from all groups, and its members; with `before`, only older links."""
        older = {"place": {"$lt": before}} if before is not None else {}
        with self._database.writing() as documents:
            documents[MEMBERS].delete_many({**links_of(resource_type, resource_id), **older})

    def conclude(self, resource_type: str, resource_id: str) -> None:
        """Record that the deletion of a resource is complete, or did not take place."""
        with self._database.writing() as documents:
            documents[DELETED].delete_one({"_id": f"{resource_type}/{resource_id}"})

    def finish_deletions(self) -> None:
        """Complete the deletions of processes that died."""
        with self._database.reading() as documents:
            rows = list(documents[DELETED].find({"at": {"$lt": time.time() - LEASE_S}}))
            existing = self._look_up.rows(documents, [(row["type"], row["id"]) for row in rows])
        for row in rows:
            if row["type"] in self._look_up.layouts and (row["type"], row["id"]) not in existing:
                self.forget(row["type"], row["id"])
            self.conclude(row["type"], row["id"])


def _member(row: Mapping[str, Any]) -> Member:
    return Member(row["member"], row["memberType"], row.get("display"))


def _row_id(group_type: str, group_id: str, member: Key) -> str:
    """Return the key of the document of a membership."""
    key = orjson.dumps([group_type, group_id, *member]).decode()
    return key if len(key) <= _LONGEST_ID else hashlib.sha256(key.encode()).hexdigest()
