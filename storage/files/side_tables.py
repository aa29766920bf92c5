"""Tables of the index about its files, and about members that no file describes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from storage.adapter import Key
from storage.batches import batches
from storage.index.database import Database, marks

# The most pairs of type and id in one statement.
_KEYS: Final = 1000

_TABLES = (
    "CREATE TABLE IF NOT EXISTS scim_file (type INTEGER NOT NULL, name TEXT NOT NULL, id TEXT, "
    "signature TEXT NOT NULL, PRIMARY KEY (type, name)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX IF NOT EXISTS scim_file_id ON scim_file (type, id) WHERE id IS NOT NULL",
    # Members that stand in a file and that no file describes; `kind` is the name of their type, or empty
    # if the file has none.
    "CREATE TABLE IF NOT EXISTS scim_absent (member TEXT NOT NULL, type INTEGER NOT NULL, "
    "id TEXT NOT NULL, display TEXT, kind TEXT NOT NULL DEFAULT '', "
    "PRIMARY KEY (member, type, id, kind)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS scim_absent_of ON scim_absent (type, id)",
)
# An index of 0.2.0 has scim_absent without `kind`. Its processes can use the new table.
_WITHOUT_KIND = (
    "ALTER TABLE scim_absent RENAME TO scim_absent_before",
    "DROP INDEX scim_absent_of",
)
_WITH_KIND = (
    "INSERT INTO scim_absent (member, type, id, display) SELECT member, type, id, display "
    "FROM scim_absent_before",
    "DROP TABLE scim_absent_before",
)


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when it was last read; `id` is None when it held no resource."""

    id: str | None
    signature: str


class FileRows:
    """The rows of scim_file and scim_absent; `number` is always that of a resource type."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self) -> None:
        """Make the tables, within a transaction."""
        columns = self._database.rows("SELECT name FROM pragma_table_info('scim_absent')", ())
        is_older = bool(columns) and ("kind",) not in map(tuple, columns)
        for statement in (*_WITHOUT_KIND, *_TABLES, *_WITH_KIND) if is_older else _TABLES:
            self._database.run_ddl(statement)

    def signatures(self, number: int) -> dict[str, str]:
        """Return the signature of every file of a type, by name."""
        rows = self._database.rows("SELECT name, signature FROM scim_file WHERE type = ?", (number,))
        return dict(rows)

    def known(self, number: int, names: Sequence[str]) -> dict[str, KnownFile]:
        """Return the recorded files with these names."""
        found: dict[str, KnownFile] = {}
        for batch in batches(names):
            rows = self._database.rows(
                f"SELECT name, id, signature FROM scim_file WHERE type = ? AND name IN ({marks(batch)})",
                (number, *batch),
            )
            found |= {name: KnownFile(resource_id, signature) for name, resource_id, signature in rows}
        return found

    def name_of(self, number: int, resource_id: str) -> str | None:
        """Return the name of the file that holds a resource."""
        row = self._database.row(
            "SELECT name FROM scim_file WHERE type = ? AND id = ?", (number, resource_id)
        )
        return row[0] if row else None

    def note(self, number: int, name: str, resource_id: str | None, signature: str) -> None:
        """Record the state of a file."""
        self._database.run(
            "INSERT OR REPLACE INTO scim_file (type, name, id, signature) VALUES (?, ?, ?, ?)",
            (number, name, resource_id, signature),
        )

    def forget(self, number: int, name: str) -> None:
        """Remove the record of a file."""
        self._database.run("DELETE FROM scim_file WHERE type = ? AND name = ?", (number, name))

    # -- members that do not exist

    def absent(self, number: int, resource_id: str) -> dict[Key, str | None]:
        """Return the members of a group that are in its file but do not exist, with their display.

        Their type is empty if the file has none.
        """
        rows = self._database.rows(
            "SELECT kind, member, display FROM scim_absent WHERE type = ? AND id = ? ORDER BY member, kind",
            (number, resource_id),
        )
        return {(kind, member): display for kind, member, display in rows}

    def keep_absent(self, number: int, resource_id: str, members: Mapping[Key, str | None]) -> None:
        """Record the members of a group that do not exist, with their displays, instead of earlier ones."""
        self._database.run("DELETE FROM scim_absent WHERE type = ? AND id = ?", (number, resource_id))
        for member, display in members.items():
            self.add_absent(number, resource_id, member, display)

    def add_absent(self, number: int, resource_id: str, member: Key, display: str | None) -> None:
        """Record one more such member."""
        self._database.run(
            "INSERT OR REPLACE INTO scim_absent (kind, member, type, id, display) VALUES (?, ?, ?, ?, ?)",
            (*member, number, resource_id, display),
        )

    def drop_absent(self, number: int, resource_id: str, members: Sequence[Key]) -> int:
        """Remove such members of a group, also those without a type; return their number."""
        dropped, untyped = 0, [("", member_id) for _, member_id in members]
        for batch in batches(dict.fromkeys((*members, *untyped)), _KEYS):
            values = ", ".join(["(?, ?)"] * len(batch))
            dropped += self._database.run(
                "DELETE FROM scim_absent WHERE type = ? AND id = ? "
                f"AND (kind, member) IN (VALUES {values})",
                (number, resource_id, *chain.from_iterable(batch)),
            ).rowcount
        return dropped

    def awaited(self, type_name: str, members: Sequence[str]) -> list[tuple[int, str, str, str | None]]:
        """Return and remove the records of `members`: type and id of the group, member, display."""
        found: list[tuple[int, str, str, str | None]] = []
        for batch in batches(members):
            where = f"WHERE kind IN ('', ?) AND member IN ({marks(batch)})"
            params = (type_name, *batch)
            rows = self._database.rows(f"SELECT type, id, member, display FROM scim_absent {where}", params)
            if rows:
                self._database.run(f"DELETE FROM scim_absent {where}", params)
            found += [tuple(row) for row in rows]
        return found

    # -- rows of the index

    def own_members(self, rid: int) -> list[tuple[str, int, str | None]]:
        """Return the members of a group: id, number of the type, and display if not their own."""
        return self._database.rows(
            "SELECT r.id, r.type, m.display FROM scim_member m JOIN scim_resource r "
            "ON r.rid = m.member_rid WHERE m.group_rid = ? ORDER BY m.member_rid",
            (rid,),
        )

    def groups_of(self, rid: int) -> list[tuple[int, str, str | None]]:
        """Return the groups a resource is a direct member of: type, id, and its display there."""
        rows = self._database.rows(
            "SELECT r.type, r.id, m.display FROM scim_member m JOIN scim_resource r "
            "ON r.rid = m.group_rid WHERE m.member_rid = ?",
            (rid,),
        )
        return [tuple(row) for row in rows]
