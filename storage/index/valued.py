"""Unique attributes that every resource of a type has a value of, such as userName.

A descending order begins with the resources without a value: to find out that there is none takes a count of
all values. So scim_path.ready is `VALUED` for a path that no resource lacks.

1. A store without resources begins so.
2. A write of a resource without a value sets 1 in its transaction, whatever has been there.
3. In a store that had resources before, `Mending` counts once in each process, while no write is under way.
   It sets required attributes alone: processes of releases up to 0.2.0 do not know `VALUED`, but refuse
   resources without a required attribute.
"""

from collections.abc import Collection
from typing import Final

from storage.index.database import Database, marks
from storage.index.generation import require_current
from storage.index.layout import TypeLayout, naming_paths

VALUED: Final = 2
"""in scim_path.ready, what 1 is, and that no resource of the type is without a value"""


def is_valued(database: Database, path: int) -> bool:
    """Return whether every resource of the type of a path has a value of it."""
    return database.row("SELECT 1 FROM scim_path WHERE number = ? AND ready = ?", (path, VALUED)) is not None


def note_unnamed(database: Database, paths: Collection[int]) -> None:
    """Note in the transaction that writes it that a resource has no value of these paths."""
    if paths:
        numbers = sorted(paths)
        database.run_soon(
            f"UPDATE scim_path SET ready = 1 WHERE number IN ({marks(numbers)}) AND ready = ?",
            (*numbers, VALUED),
        )


def find_valued(database: Database, layout: TypeLayout) -> None:
    """Find out which required attributes no resource is without. Raises SettingsSuperseded, Contention."""
    for path in naming_paths(layout.resource_type):
        number = layout.numbers[path.text]
        if not path.leaf.required or is_valued(database, number) or _is_lacking(database, layout, number):
            continue
        with database.transaction():
            # Waits for the writes under way; those that follow wait for the count.
            (generation,) = database.row(f"SELECT number FROM scim_generation{database.dialect.for_update}")
            require_current(database, layout, generation)
            if not _is_lacking(database, layout, number):
                params = (VALUED, number)
                database.run("UPDATE scim_path SET ready = ? WHERE number = ? AND ready = 1", params)


def _is_lacking(database: Database, layout: TypeLayout, path: int) -> bool:
    (lacking,) = database.row(
        "SELECT (SELECT COUNT(*) FROM scim_resource WHERE type = ?) - "
        "(SELECT COUNT(*) FROM scim_attribute WHERE path = ? AND element = 0)",
        (layout.number, path),
    )
    return bool(lacking)
