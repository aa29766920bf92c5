"""How many resources each client removed or deactivated in a window of time, and whose guard has closed.

    scim_guard(principal, resource_type, since, removed, total, closed_at)

`since` is the begin of the window, and `total` the number of resources then. A start with
DEPROVISION_LIMIT makes the table, whichever version the other tables have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase

_TABLES: Final = {
    "scim_guard": "principal {id} NOT NULL, resource_type {id} NOT NULL, since BIGINT NOT NULL, "
    "removed BIGINT NOT NULL, total BIGINT NOT NULL, closed_at BIGINT, PRIMARY KEY (principal, resource_type)"
}
_COLUMNS: Final = "principal, resource_type, since, removed, total, closed_at"


@dataclass(frozen=True)
class Window:
    """A window of a client and a resource type; times are in milliseconds since 1970."""

    principal: str
    resource_type: str
    since: int
    removed: int
    total: int
    closed_at: int | None


class DeprovisionTable:
    """Reads and changes the windows."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database
        self._is_there = False

    def make(self) -> None:
        """Make the table, unless it is there."""
        if not self.is_there():
            dialect = self._database.dialect
            self._database.prepare(lambda: dialect.create_tables(self._database, _TABLES))

    def is_there(self) -> bool:
        """Return whether there is a table."""
        self._is_there = self._is_there or self._database.has_table("scim_guard")
        return self._is_there

    def window(self, principal: str, resource_type: str) -> Window | None:
        """Return the window of a client, None before its first one."""
        statement = f"SELECT {_COLUMNS} FROM scim_guard WHERE principal = ? AND resource_type = ?"
        row = self._database.row(statement, (principal, resource_type))
        return None if row is None else Window(*row)

    def begin(self, principal: str, resource_type: str, total: int) -> None:
        """Begin a window of a client."""
        with self._database.transaction():
            run, cells = self._database.run, (now_ms(), total, principal, resource_type)
            found = run(
                "UPDATE scim_guard SET since = ?, removed = 0, total = ?, closed_at = NULL "
                "WHERE principal = ? AND resource_type = ?",
                cells,
            )
            if found.rowcount == 0:
                values = "VALUES (?, ?, ?, 0, ?, NULL)"
                statement = self._database.dialect.insert_ignoring("scim_guard", _COLUMNS, values)
                run(statement, (principal, resource_type, cells[0], total))

    def count(self, principal: str, resource_type: str) -> None:
        """Count a removal or deactivation."""
        statement = "UPDATE scim_guard SET removed = removed + 1 WHERE principal = ? AND resource_type = ?"
        with self._database.transaction():
            self._database.run(statement, (principal, resource_type))

    def close(self, principal: str, resource_type: str) -> bool:
        """Close the guard of a client, and return whether it was open."""
        statement = (
            "UPDATE scim_guard SET closed_at = ? "
            "WHERE principal = ? AND resource_type = ? AND closed_at IS NULL"
        )
        with self._database.transaction():
            return bool(self._database.run(statement, (now_ms(), principal, resource_type)).rowcount)

    def windows(self) -> Sequence[Window]:
        """Return every window, by client and type."""
        if not self.is_there():
            return []
        statement = f"SELECT {_COLUMNS} FROM scim_guard ORDER BY principal, resource_type"
        return [Window(*row) for row in self._database.rows(statement)]

    def release(self, principal: str) -> int:
        """End the windows of a client, and return how many of them were closed."""
        if not self.is_there():
            return 0
        closed = [one for one in self.windows() if one.principal == principal and one.closed_at is not None]
        with self._database.transaction():
            self._database.run("DELETE FROM scim_guard WHERE principal = ?", (principal,))
        return len(closed)
