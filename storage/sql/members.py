"""Memberships: rows of their own, so that a change costs the same in a group of any size."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from storage.adapter import Member, Membership
from storage.sql.database import Database, marks
from storage.sql.layout import TypeLayout
from storage.sql.rows import BATCH, batches

# Groups of a resource, and whether those are in groups themselves.
_GROUPS = (
    "SELECT o.id, g.id, g.type, g.display, "
    "EXISTS (SELECT 1 FROM scim_member n WHERE n.member_rid = g.rid) "
    "FROM scim_resource o JOIN scim_member m ON m.member_rid = o.rid "
    "JOIN scim_resource g ON g.rid = m.group_rid "
    "WHERE o.type = ? AND o.id IN ({marks}) ORDER BY o.id, g.rid"
)
# Groups of a resource, and the groups those are in; UNION ends cycles.
_ALL_GROUPS = (
    "WITH RECURSIVE up(origin, rid, direct) AS ("
    "SELECT o.id, m.group_rid, 1 FROM scim_resource o JOIN scim_member m ON m.member_rid = o.rid "
    "WHERE o.type = ? AND o.id IN ({marks}) "
    "UNION SELECT up.origin, m.group_rid, 0 FROM up JOIN scim_member m ON m.member_rid = up.rid) "
    "SELECT up.origin, r.id, r.type, r.display, MAX(up.direct) "
    "FROM up JOIN scim_resource r ON r.rid = up.rid "
    "GROUP BY up.origin, r.rid, r.id, r.type, r.display ORDER BY up.origin, r.rid"
)


class MemberRows:
    """The rows of scim_member; `names` maps numbers of types to their names."""

    def __init__(self, database: Database, names: Mapping[int, str]) -> None:
        self._database = database
        self._names = names

    def of(self, rid: int) -> Iterator[Member]:
        """Yield the members of a group, a batch at a time."""
        last = 0
        while True:
            rows = self._database.rows(
                "SELECT r.rid, r.id, r.type, COALESCE(m.display, r.display) FROM scim_member m "
                "JOIN scim_resource r ON r.rid = m.member_rid "
                "WHERE m.group_rid = ? AND m.member_rid > ? ORDER BY m.member_rid LIMIT ?",
                (rid, last, BATCH),
            )
            yield from (Member(row[1], self._names[row[2]], row[3]) for row in rows)
            if len(rows) < BATCH:
                return
            last = rows[-1][0]

    def among(self, rid: int, member_ids: Sequence[str]) -> frozenset[str]:
        """Return which of the ids are members of a group."""
        found: set[str] = set()
        for batch in batches(member_ids):
            rows = self._database.rows(
                "SELECT r.id FROM scim_resource r JOIN scim_member m ON m.member_rid = r.rid "
                f"AND m.group_rid = ? WHERE r.id IN ({marks(batch)})",
                (rid, *batch),
            )
            found.update(member_id for (member_id,) in rows)
        return frozenset(found)

    def change(self, rid: int, add: Iterable[Member], remove: Iterable[str]) -> bool:
        """Remove members, then add others, and return whether that changed anything."""
        changed = 0
        for batch in batches(sorted(remove)):
            # In two steps: MariaDB would walk through the whole group to delete by a subquery.
            statement = f"SELECT rid FROM scim_resource WHERE id IN ({marks(batch)})"
            leaving = [found for (found,) in self._database.rows(statement, batch)]
            if leaving:
                changed += self._database.run(
                    f"DELETE FROM scim_member WHERE group_rid = ? AND member_rid IN ({marks(leaving)})",
                    (rid, *leaving),
                ).rowcount
        for members in batches(add):
            changed += self._join(rid, {member.resource_id: member for member in members})
        return changed > 0

    def _join(self, rid: int, members: Mapping[str, Member]) -> int:
        # Shared locks: a resource that is being removed joins nothing.
        found = self._database.rows(
            f"SELECT rid, id, type, display FROM scim_resource WHERE id IN ({marks(list(members))}) "
            f"ORDER BY rid{self._database.dialect.for_share}",
            list(members),
        )
        rows: list[object] = []
        for member_rid, member_id, number, display in found:
            member = members[member_id]
            if self._names[number] == member.resource_type:
                rows += (rid, member_rid, member.display if member.display != display else None)
        if not rows:
            return 0
        values = ", ".join(["(?, ?, ?)"] * (len(rows) // 3))
        statement = self._database.dialect.insert_ignoring(
            "scim_member", "group_rid, member_rid, display", f"VALUES {values}"
        )
        return int(self._database.run(statement, rows).rowcount)

    def above(self, layout: TypeLayout, resource_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups that each resource is in, directly or through groups in between."""
        found: dict[str, list[Membership]] = {}
        for batch in batches(resource_ids):
            params = (layout.number, *batch)
            rows = self._database.rows(_GROUPS.format(marks=marks(batch)), params)
            if any(nested for *_, nested in rows):
                rows = self._database.rows(_ALL_GROUPS.format(marks=marks(batch)), params)
            else:
                rows = [(*row, True) for *row, _ in rows]
            for origin, group_id, number, display, direct in rows:
                membership = Membership(group_id, self._names[number], display, bool(direct))
                found.setdefault(origin, []).append(membership)
        return found

    def find(self, resource_ids: Sequence[str]) -> dict[str, Member]:
        """Return which of the ids exist in any type."""
        found: dict[str, Member] = {}
        for batch in batches(resource_ids):
            rows = self._database.rows(
                f"SELECT id, type, display FROM scim_resource WHERE id IN ({marks(batch)}) "
                # Of two that others gave one id, the first one is meant.
                "ORDER BY twin DESC",
                batch,
            )
            found |= {row[0]: Member(row[0], self._names[row[1]], row[2]) for row in rows}
        return found
