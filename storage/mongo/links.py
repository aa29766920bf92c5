"""Memberships: documents of their own, so that a change costs the same in a group of any size."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from storage.adapter import Key, Member, Membership
from storage.batches import BATCH, batches
from storage.errors import ResourceNotFound, after_write
from storage.mongo.find import LookUp
from storage.mongo.form import Places
from storage.mongo.wire import DELETED, LEASE_S, MEMBERS, Database, Documents, insert_new
from storage.nesting import nested

_LONGEST_ID: Final = 500


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
        names, ids = self._look_up.layouts, dict.fromkeys(member_ids)
        keys = ((name, member_id) for member_id in ids for name in names)
        for batch in batches(_row_id(group.name, group_id, key) for key in keys):
            with self._database.reading() as documents:
                rows = documents[MEMBERS].find({"_id": {"$in": batch}})
                found += [Member(row["member"], row["memberType"], row.get("display")) for row in rows]
        return found

    def change(
        self, group: ResourceType, group_id: str, add: Iterable[Member], remove: Iterable[Member]
    ) -> bool:
        """Remove members, then add others, and return whether that changed anything.

        Raises ResourceNotFound when the group was deleted meanwhile.
        """
        changed: list[str] = []
        with after_write(changed):
            for batch in batches(sorted(_row_id(group.name, group_id, member.key) for member in remove)):
                with self._database.writing() as documents:
                    if documents[MEMBERS].delete_many({"_id": {"$in": batch}}).deleted_count:
                        changed += batch
            for members in batches(add):
                self._join(group.name, group_id, members, changed)
            if changed:
                with self._database.writing() as documents:
                    if not self._look_up.rows(documents, [(group.name, group_id)]):
                        documents[MEMBERS].delete_many({"groupType": group.name, "group": group_id})
                        raise ResourceNotFound(group.name, group_id)
        return bool(changed)

    def _join(
        self, group_type: str, group_id: str, members: Sequence[Member], changed: list[str]
    ) -> None:
        keys = [member.key for member in members]
        with self._database.writing() as documents:
            found = self._look_up.rows(documents, keys)
            rows = {
                key: self._row(group_type, group_id, member, found[key].get("display"))
                for key, member in zip(keys, members, strict=True)
                if key in found
            }
            new = list(rows.values())
            joined = len(new) - len(insert_new(documents[MEMBERS], new))
            changed += [group_id] * joined
            # The deletion of a resource meanwhile may have missed its new memberships: they go again.
            gone = rows.keys() - self._look_up.rows(documents, list(rows)).keys()
            for key in gone:
                row = rows[key]
                query = {"_id": row["_id"], "place": row["place"]}
                if documents[MEMBERS].delete_one(query).deleted_count:
                    changed.pop()

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
        """Return the groups that each resource is in, directly or through groups in between."""
        found: dict[str, list[Membership]] = {}
        for batch in batches(resource_ids):
            with self._database.reading() as documents:
                groups_of = partial(_groups_of, documents)
                above = nested(groups_of([(member_type, one) for one in batch]), groups_of)
                shown = self._look_up.rows(documents, {group for steps in above.values() for group in steps})
            for (_, resource_id), steps in above.items():
                known = sorted((key for key in steps if key in shown), key=lambda k: shown[k]["place"])
                memberships = [
                    Membership(key[1], key[0], shown[key].get("display"), steps[key] == 1) for key in known
                ]
                if memberships:
                    found[resource_id] = memberships
        return found

    # -- the end of a resource

    def announce(self, resource_type: str, resource_id: str) -> bool:
        """Record that a resource will be deleted and return True, if it has members or memberships."""
        with self._database.writing() as documents:
            links = _links(resource_type, resource_id)
            if all(documents[MEMBERS].find_one(query, {"_id": 1}) is None for query in links):
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
            for query in _links(resource_type, resource_id):
                documents[MEMBERS].delete_many({**query, **older})

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


def _links(resource_type: str, resource_id: str) -> tuple[dict[str, str], dict[str, str]]:
    return (
        {"memberType": resource_type, "member": resource_id},
        {"groupType": resource_type, "group": resource_id},
    )


def _row_id(group_type: str, group_id: str, member: Key) -> str:
    """Return the key of the document of a membership."""
    key = orjson.dumps([group_type, group_id, *member]).decode()
    return key if len(key) <= _LONGEST_ID else hashlib.sha256(key.encode()).hexdigest()


def _groups_of(documents: Documents, keys: Sequence[Key]) -> dict[Key, set[Key]]:
    """Return the groups that each resource is a direct member of."""
    found: dict[Key, set[Key]] = {}
    for batch in batches(sorted(keys)):
        types, ids = {key[0] for key in batch}, {key[1] for key in batch}
        query = {"memberType": {"$in": list(types)}, "member": {"$in": list(ids)}}
        for row in documents[MEMBERS].find(query):
            found.setdefault((row["memberType"], row["member"]), set()).add((row["groupType"], row["group"]))
    # The query also combines the id of one key with the type of another.
    return {key: found[key] for key in keys if key in found}
