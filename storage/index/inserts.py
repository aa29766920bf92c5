"""The statements that make the rows of one resource, for the dialects to put together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storage.index.layout import IndexRow

if TYPE_CHECKING:
    from storage.index.database import Database

RESOURCE = "type, id, version, created, last_modified, display, secrets, twin"
ATTRIBUTE = "path, value, rid, element, long_value"

# How many rows go into one statement.
_ROWS = 500


def claim_unique(database: "Database", rid: int, rows: Sequence[tuple[int, str]]) -> set[int]:
    """Write rows of scim_unique and return the paths of those that were free.

    `rows` come in the order of the key: two transactions that want the same values wait for each
    other, but not in a circle.
    """
    if not rows:
        return set()
    values = ", ".join(["(?, ?, ?)"] * len(rows))
    statement = database.dialect.insert_ignoring("scim_unique", "path, value, rid", f"VALUES {values}")
    claimed = database.run(statement, [cell for path, value in rows for cell in (path, value, rid)]).rowcount
    if claimed == len(rows):
        return {path for path, _ in rows}
    keys = " OR ".join(["(path = ? AND value = ?)"] * len(rows))
    owned = database.rows(
        f"SELECT path FROM scim_unique WHERE rid = ? AND ({keys})",
        (rid, *(cell for row in rows for cell in row)),
    )
    return {path for (path,) in owned}


def insert_index(database: "Database", rid: int, rows: Sequence[IndexRow]) -> None:
    """Write rows of scim_attribute."""
    for start in range(0, len(rows), _ROWS):
        batch = rows[start : start + _ROWS]
        values = ", ".join(["(?, ?, ?, ?, ?)"] * len(batch))
        cells = [cell for path, value, element, long in batch for cell in (path, value, rid, element, long)]
        database.run(f"INSERT INTO scim_attribute ({ATTRIBUTE}) VALUES {values}", cells)
