"""Memberships: rows of their own, so that a change costs the same in a group of any size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

from storage.adapter import Member, Membership
from storage.batches import BATCH, batches
from storage.errors import Contention
from storage.index.database import Database, marks
from storage.index.layout import TypeLayout
from storage.index.statements import Row

# The members of a group. SQLite gives the row key of a resource that is gone to another one.
_MEMBERS = (
    "SELECT r.rid, r.id, r.type, COALESCE(m.display, r.display) FROM scim_member m "
    "{joined_to} scim_resource r ON r.rid = m.member_rid WHERE m.group_rid = ? AND m.member_rid > ? "
    "AND EXISTS (SELECT 1 FROM scim_resource g WHERE g.rid = ? AND g.id = ?) "
    "ORDER BY m.member_rid LIMIT ?"
)
_AMONG = (
    "SELECT r.id, r.type, COALESCE(m.display, r.display) FROM scim_resource r{by_id} "
    "{joined_to} scim_member m ON m.member_rid = r.rid AND m.group_rid = ? "
    "WHERE EXISTS (SELECT 1 FROM scim_resource g WHERE g.rid = ? AND g.id = ?) AND r.id IN ({marks})"
)
# The sign is explained at _GROUPS.
_DIRECT = (
    "SELECT g.rid, g.id, g.type, g.display FROM scim_resource o{by_id} "
    "{joined_to} scim_member m ON m.member_rid = o.rid "
    "{joined_to} scim_resource g ON g.rid = m.group_rid WHERE +o.type = ? AND o.id = ? ORDER BY g.rid"
)
# Groups of a resource, and whether those are in groups themselves. The sign keeps SQLite from looking
# through all resources of the type.
_GROUPS = (
    "SELECT o.id, g.id, g.type, g.display, "
    "EXISTS (SELECT 1 FROM scim_member n WHERE n.member_rid = g.rid{one_by_one}) "
    "FROM scim_resource o{by_id} {joined_to} scim_member m ON m.member_rid = o.rid "
    "{joined_to} scim_resource g ON g.rid = m.group_rid "
    "WHERE +o.type = ? AND o.id IN ({marks}) ORDER BY o.id, g.rid"
)
# Groups of a resource, and the groups those are in; UNION ends cycles.
_ALL_GROUPS = (
    "WITH RECURSIVE up(origin, rid, direct) AS ("
    "SELECT o.id, m.group_rid, 1 FROM scim_resource o{by_id} "
    "{joined_to} scim_member m ON m.member_rid = o.rid "
    "WHERE +o.type = ? AND o.id IN ({marks}) "
    "UNION SELECT up.origin, m.group_rid, 0 FROM up {joined_to} scim_member m ON m.member_rid = up.rid) "
    "SELECT up.origin, r.id, r.type, r.display, MAX(up.direct) "
    "FROM up {joined_to} scim_resource r ON r.rid = up.rid "
    "GROUP BY up.origin, r.rid, r.id, r.type, r.display ORDER BY up.origin, r.rid"
)

_by_id = attrgetter("resource_id")
# So many members are looked up and changed by one statement, which grows with them.
_MOST_SELECTED = 20
# The sign is explained at _GROUPS.
_BY_KEY = "FROM scim_resource WHERE id = ? AND +type = ?"


class MemberRows:
    """The rows of scim_member; `names` maps numbers of types to their names.

    Groups and members of a type that only other processes have are left out.
    """

    def __init__(self, database: Database, names: Mapping[int, str]) -> None:
        self._database = database
        self._names = names

    def of(self, rid: int, resource_id: str, limit: int | None = None) -> Iterator[Member]:
        """Yield the members of a group, at most `limit`, a batch at a time."""
        last, left = 0, limit
        while left is None or left > 0:
            size = BATCH if left is None else min(left, BATCH)
            rows = self._database.rows(self._with(_MEMBERS), (rid, last, rid, resource_id, size))
            yield from (Member(row[1], self._names[row[2]], row[3]) for row in rows if row[2] in self._names)
            if len(rows) < size:
                return
            last, left = rows[-1][0], left and left - size

    def among(self, rid: int, resource_id: str, member_ids: Sequence[str]) -> list[Member]:
        """Return the members of a group that have one of the ids."""
        found: list[Member] = []
        for batch in batches(dict.fromkeys(member_ids)):
            rows = self._database.rows(self._with(_AMONG, batch), (rid, rid, resource_id, *batch))
            found += [Member(row[0], self._names[row[1]], row[2]) for row in rows if row[1] in self._names]
        return found

    def change(self, rid: int, add: Iterable[Member], remove: Iterable[Member]) -> bool:
        """Remove members, then add others, and return whether that changed anything.

        Raises Contention for a resource that cannot join because it is gone.
        """
        changed = 0
        for members in batches(sorted(remove, key=_by_id)):
            changed += self._leave(rid, members)
        for members in batches(add):
            changed += self._join(rid, members)
        return changed > 0

    def _leave(self, rid: int, members: Sequence[Member]) -> int:
        delete = "DELETE FROM scim_member WHERE group_rid = ? AND member_rid IN"
        if self._database.dialect.deletes_by_subquery and len(members) <= _MOST_SELECTED:
            keys = self._keys(members)
            rows = " UNION ALL ".join([f"SELECT rid {_BY_KEY}"] * len(keys))
            params = (rid, *chain.from_iterable(keys))
            return int(self._database.run(f"{delete} ({rows})", params).rowcount) if keys else 0
        leaving = [row[0] for row, _ in self._existing(members)]
        if not leaving:
            return 0
        return int(self._database.run(f"{delete} ({marks(leaving)})", (rid, *leaving)).rowcount)

    def _existing(self, members: Iterable[Member], ending: str = "") -> Iterator[tuple[Any, Member]]:
        """Yield row key, display, id and type of each member that exists, with the member."""
        wanted = {member.key: member for member in members}
        ids = list(dict.fromkeys(member_id for _, member_id in wanted))
        statement = f"SELECT rid, display, id, type FROM scim_resource WHERE id IN ({marks(ids)}){ending}"
        for row in self._database.rows(statement, ids):
            # Data of others may have two resources of one id.
            member = wanted.get((self._names.get(row[3], ""), row[2]))
            if member is not None:
                yield row, member

    def _keys(self, members: Iterable[Member]) -> dict[tuple[str, int], Member]:
        """Return the members of types that there are, each by its id and the number of its type."""
        numbers = {name: number for number, name in self._names.items()}
        known = ((numbers.get(member.resource_type), member) for member in members)
        return {(member.resource_id, number): member for number, member in known if number is not None}

    def _join(self, rid: int, wanted: Sequence[Member]) -> int:
        if len(wanted) > _MOST_SELECTED:
            return self._join_many(rid, wanted)
        keys, joined = self._keys(wanted), 0
        if keys:
            select = f"SELECT ?, rid, NULLIF(?, display) {_BY_KEY}"
            # In one order: the foreign key locks each resource.
            insert = self._insert(f"{' UNION ALL '.join([select] * len(keys))} ORDER BY 2")
            cells = [cell for key, member in keys.items() for cell in (rid, member.display, *key)]
            joined = int(self._database.run(insert, cells).rowcount)
        if joined < len(wanted):
            # The others are members, or gone.
            _require(wanted, sum(1 for _ in self._existing(wanted, self._database.dialect.for_share)))
        return joined

    def _join_many(self, rid: int, wanted: Sequence[Member]) -> int:
        rows: list[object] = []
        # Shared locks: a resource that is being removed joins nothing.
        for row, member in self._existing(wanted, f" ORDER BY rid{self._database.dialect.for_share}"):
            rows += (rid, row[0], member.display if member.display != row[1] else None)
        _require(wanted, len(rows) // 3)
        values = ", ".join(["(?, ?, ?)"] * (len(rows) // 3))
        return int(self._database.run(self._insert(f"VALUES {values}"), rows).rowcount)

    def _with(self, statement: str, values: Sequence[object] = ()) -> str:
        """Return one of the statements above for this database, with a mark for each of the values."""
        dialect = self._database.dialect
        return statement.format(
            by_id=dialect.by_id,
            joined_to=dialect.joined_to,
            one_by_one=dialect.one_by_one,
            marks=marks(values),
        )

    def _insert(self, rows: str) -> str:
        columns = "group_rid, member_rid, display"
        return self._database.dialect.insert_ignoring("scim_member", columns, rows)

    def to_direct(self, layout: TypeLayout, resource_id: str) -> tuple[str, Row]:
        """Return the statement that reads the groups that a resource is directly in."""
        return self._with(_DIRECT), (layout.number, resource_id)

    def direct(self, rows: Iterable[Any]) -> dict[int, Membership]:
        """Return the groups in the rows of `to_direct`, by row key and in that order."""
        return {
            rid: Membership(group_id, self._names[number], display, True)
            for rid, group_id, number, display in rows
            if number in self._names
        }

    def above(self, layout: TypeLayout, resource_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups that each resource is in, directly or through groups in between."""
        found: dict[str, list[Membership]] = {}
        for batch in batches(resource_ids):
            params = (layout.number, *batch)
            rows = self._database.rows(self._with(_GROUPS, batch), params)
            if any(nested for *_, nested in rows):
                rows = self._database.rows(self._with(_ALL_GROUPS, batch), params)
            else:
                rows = [(*row, True) for *row, _ in rows]
            for origin, group_id, number, display, direct in rows:
                if number in self._names:
                    membership = Membership(group_id, self._names[number], display, bool(direct))
                    found.setdefault(origin, []).append(membership)
        return found

    def find(self, resource_ids: Sequence[str]) -> list[Member]:
        """Return every resource that has one of the ids, those of one type before those of the next."""
        found: dict[int, list[Member]] = {number: [] for number in self._names}
        for batch in batches(dict.fromkeys(resource_ids)):
            rows = self._database.rows(
                f"SELECT id, type, display FROM scim_resource WHERE id IN ({marks(batch)})", batch
            )
            for resource_id, number, display in rows:
                if number in found:
                    found[number].append(Member(resource_id, self._names[number], display))
        return [member for members in found.values() for member in members]


def _require(wanted: Iterable[Member], found: int) -> None:
    """Raise Contention where fewer resources exist than are wanted."""
    if found < len({member.key for member in wanted}):
        raise Contention("a resource was deleted before it could become a member")
