"""Lists of the resources without a value to sort by: a descending order begins with them.

RFC 7644 section 3.4.2.3 has it so, and to find a few such resources takes a walk through all. So scim_lacking
lists them for each path of which scim_path.ready is `LISTED`.

1. A store without resources begins with a list for each path that resources can be sorted by.
2. A write changes the lists in its transaction. A deleted resource leaves them by a foreign key.
3. A list that gets too long ends: many are found soon without it. Nobody reads what is left of it, or what a
   process adds that does not know yet.
4. `Mending` begins short lists, once in each process. The generation then grows, so that each writer knows.

Processes of releases up to 0.2.0 change no list: the lists are right once `Mending` has seen what they wrote.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Final

from schema.resource_type import AttributePath
from storage.batches import batches
from storage.index.database import Database
from storage.index.generation import generation_of, require_current
from storage.index.layout import LISTED, IndexRow, TypeLayout

# A list that grew by so many in one process may have become too long.
_NOTED: Final = 100
# The longest list, and the shortest one that is too long.
_MOST: Final = 10_000
_FEW: Final = 100
# Of how many resources one may be in a list.
_PART: Final = 20


def is_sortable(path: AttributePath) -> bool:
    """Return whether a resource has one place in the order of a path: an element may have several rows."""
    return path.sub_attribute is None or not path.sub_attribute.multi_valued


def can_lack(path: AttributePath) -> bool:
    """Return whether an order by this path may begin with resources that have no value of it."""
    return is_sortable(path) and not path.leaf.is_complex and path.attribute.name not in ("id", "meta")


def listed_paths(database: Database, layout: TypeLayout) -> set[int]:
    """Return the paths of a type for which scim_lacking has every resource without a value."""
    rows = database.rows("SELECT number FROM scim_path WHERE type = ? AND ready = ?", (layout.number, LISTED))
    return {number for (number,) in rows}


def is_listed(database: Database, path: int) -> bool:
    """Return whether scim_lacking has every resource without a value of a path."""
    return database.row("SELECT 1 FROM scim_path WHERE number = ? AND ready = ?", (path, LISTED)) is not None


def note_lacking(database: Database, layout: TypeLayout, lacking: Mapping[int, Collection[int]]) -> None:
    """List, in the transaction that writes them, that resources have no value of paths; keys are row keys."""
    rows = sorted((path, rid) for rid, paths in lacking.items() for path in paths)
    for batch in batches(rows):
        values = f"VALUES {', '.join(['(?, ?)'] * len(batch))}"
        statement = database.dialect.insert_ignoring("scim_lacking", "path, rid", values)
        database.run_soon(statement, list(chain.from_iterable(batch)))
    _noted(database, layout, [path for path, _ in rows])


def note_lacking_of(
    database: Database, layout: TypeLayout, rid: int | None, resource_id: str, index: Iterable[IndexRow]
) -> None:
    """List what a new resource with these rows has no value of; its row key may not be known yet."""
    numbers = sorted(layout.lacking(index))
    if not numbers:
        return
    if rid is not None:
        note_lacking(database, layout, {rid: numbers})
        return
    # The sign keeps a database from looking through all resources of the type.
    select = "SELECT ?, rid FROM scim_resource WHERE id = ? AND +type = ?"
    rows = " UNION ALL ".join([select] * len(numbers))
    cells = [cell for number in numbers for cell in (number, resource_id, layout.number)]
    database.run_soon(database.dialect.insert_ignoring("scim_lacking", "path, rid", rows), cells)
    _noted(database, layout, numbers)


def note_changed(
    database: Database, layout: TypeLayout, rid: int, old: Iterable[IndexRow], new: Iterable[IndexRow]
) -> None:
    """Change the lists as the rows of a resource are changed, from `old` to `new`."""
    had, has = ({path for path, _, element, _ in rows if element == 0} for rows in (old, new))
    for path in sorted(layout.listed & (has - had)):
        database.run_soon("DELETE FROM scim_lacking WHERE path = ? AND rid = ?", (path, rid))
    note_lacking(database, layout, {rid: layout.listed & (had - has)})


def _noted(database: Database, layout: TypeLayout, paths: Iterable[int]) -> None:
    """Count what was added to lists, and end those that are too long."""
    grown, added = layout.grown, Counter(paths)
    for path in sorted(added):
        # Other threads count here too: a few that are lost do not matter.
        grown[path] = grown.get(path, 0) + added[path]
        if grown[path] < _NOTED:
            continue
        grown[path] = 0
        most = _most(database, layout)
        statement = "SELECT COUNT(*) FROM (SELECT 1 FROM scim_lacking WHERE path = ? LIMIT ?) a"
        if database.row(statement, (path, most + 1))[0] <= most:
            continue
        database.run("UPDATE scim_path SET ready = 1 WHERE number = ? AND ready = ?", (path, LISTED))
        database.run("DELETE FROM scim_lacking WHERE path = ?", (path,))
        # Not before: the list goes on if the transaction is undone.
        database.when_committed(partial(layout.listed.discard, path))


def _most(database: Database, layout: TypeLayout) -> int:
    """Return the length of a list of a type that is not too long."""
    counted, params = database.counted(layout.number)
    (total,) = database.row(f"SELECT {counted}", params)
    return max(_FEW, min(_MOST, int(total) // _PART))


def begin_lists(database: Database, layout: TypeLayout, layouts: Iterable[TypeLayout]) -> None:
    """Begin each list of a type that would be short; `layouts` are those of all types of this process.

    Raises SettingsSuperseded, Contention.
    """
    for text, number in layout.numbers.items():
        path = layout.resource_type.path(text)
        if path is None or not can_lack(path) or _to_list(database, layout, number) is None:
            continue
        with database.transaction():
            # Waits for the writes under way; those that follow wait for the list, and for the generation.
            (generation,) = database.row(f"SELECT number FROM scim_generation{database.dialect.for_update}")
            require_current(database, layout, generation)
            lacking = _to_list(database, layout, number)
            if lacking is None:
                continue
            _begin(database, layout, number, lacking)
        for one in layouts:
            # No write of this process need be refused for it.
            require_current(database, one, generation_of(database))


def _to_list(database: Database, layout: TypeLayout, path: int) -> int | None:
    """Return how many resources a list that is to begin would have, None where none is to begin."""
    if database.row("SELECT 1 FROM scim_path WHERE number = ? AND ready = 1", (path,)) is None:
        return None
    (lacking,) = database.row(
        "SELECT (SELECT COUNT(*) FROM scim_resource WHERE type = ?) - "
        "(SELECT COUNT(*) FROM scim_attribute WHERE path = ? AND element = 0)",
        (layout.number, path),
    )
    # Half of what would end it: it shall not come and go.
    return int(lacking) if lacking <= _most(database, layout) // 2 else None


def _begin(database: Database, layout: TypeLayout, path: int, lacking: int) -> None:
    run, dialect = database.run, database.dialect
    run("DELETE FROM scim_lacking WHERE path = ?", (path,))
    if lacking:
        run(
            f"INSERT INTO scim_lacking (path, rid) SELECT ?, r.rid FROM scim_resource r{dialect.by_type} "
            f"WHERE r.type = ? AND NOT EXISTS (SELECT 1 FROM scim_attribute s{dialect.by_resource} "
            "WHERE s.rid = r.rid AND s.path = ? AND s.element = 0)",
            (path, layout.number, path),
        )
    run("UPDATE scim_path SET ready = ? WHERE number = ?", (LISTED, path))
    run("UPDATE scim_generation SET number = number + 1")
