"""Memberships: documents of their own, so that a change costs the same in a group of any size."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from storage.adapter import Key, Member, Membership
from storage.batches import BATCH, batches
from storage.errors import ResourceNotFound, after_write
from storage.mongo.form import Places
from storage.mongo.look_up import LookUp
from storage.mongo.wire import Database, Documents, insert_new
from storage.nesting import nested

MEMBERS: Final = "scim_members"

_LONGEST_ID: Final = 500


class Members:
    """The members of all groups of a database."""

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
        """Return those members whose resource exists: one that was deleted an instant ago is none."""
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
            if changed and not self._exists(group.name, group_id):
                with self._database.writing() as documents:
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
            # A resource that was deleted meanwhile has not seen these: it joins nothing.
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

    def _exists(self, type_name: str, resource_id: str) -> bool:
        with self._database.reading() as documents:
            return bool(self._look_up.rows(documents, [(type_name, resource_id)]))

    def find(self, resource_ids: Sequence[str]) -> list[Member]:
        """Return every resource that has one of the ids."""
        found: list[Member] = []
        for batch in batches(dict.fromkeys(resource_ids)):
            with self._database.reading() as documents:
                keys = [(name, one) for name in self._look_up.layouts for one in batch]
                rows = self._look_up.rows(documents, keys)
            found += [Member(one, name, row.get("display")) for (name, one), row in rows.items()]
        return found


def _row_id(group_type: str, group_id: str, member: Key) -> str:
    """Return the key of the document of a membership."""
    key = orjson.dumps([group_type, group_id, *member]).decode()
    return key if len(key) <= _LONGEST_ID else hashlib.sha256(key.encode()).hexdigest()


def _groups_of(documents: Documents, keys: Sequence[Key]) -> dict[Key, set[Key]]:
    """Return the groups that each resource is in by itself."""
    found: dict[Key, set[Key]] = {}
    for batch in batches(sorted(keys)):
        types, ids = {key[0] for key in batch}, {key[1] for key in batch}
        query = {"memberType": {"$in": list(types)}, "member": {"$in": list(ids)}}
        for row in documents[MEMBERS].find(query):
            found.setdefault((row["memberType"], row["member"]), set()).add((row["groupType"], row["group"]))
    # The query finds the id of one in the type of another, too.
    return {key: found[key] for key in keys if key in found}
