"""Mending index rows that processes without a generation write (`storage.index.generation`).

Releases up to 0.2.0 go on writing after a process with other definitions or INDEXED_ATTRIBUTES has indexed
everything. They leave scim_resource.indexed_version as it is, or 0, so that it differs from the version of
each resource that they write. Their deletions can leave rows without a resource.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final

from storage.adapter import StoredResource
from storage.attempts import repeated
from storage.batches import BATCH, batches
from storage.errors import Contention, SettingsSuperseded, StorageReadOnly
from storage.index.columns import resource_columns, stored
from storage.index.database import Database, marks
from storage.index.generation import generation_of, locked_number, require_current
from storage.index.lacking import begin_lists, note_lacking
from storage.index.layout import TypeLayout
from storage.index.numbering import RETIRED
from storage.index.rows import ResourceRows

_LOG = logging.getLogger(__name__)

# In no order: PostgreSQL takes such rows for common, and would read the table by an index.
WRITTEN: Final = "SELECT 1 FROM scim_resource WHERE indexed_version <> version LIMIT 1"
# How many keys one statement has.
_KEYS: Final = 50
# How many resources or values one search for rows without a resource looks at, and how many rows of a path
# that is indexed no more one transaction removes.
_PART: Final = 1000
# How many such transactions there are in a run.
_PARTS: Final = 5
# The columns of the keys behind path and value.
_KEYED_BY: Final = {"scim_attribute": "rid", "scim_unique": "owner"}
_WITHOUT_RESOURCE: Final = "NOT EXISTS (SELECT 1 FROM scim_resource r WHERE r.rid = {table}.rid)"


class Mending:
    """Finds resources that other releases wrote, and makes their index rows again."""

    def __init__(self, database: Database, layouts: Sequence[TypeLayout]) -> None:
        self._database = database
        self._layouts = layouts
        self._rows = ResourceRows(database)
        self._orphans = Orphans(database, layouts)
        self._retired = Retired(database)
        self._unlisted = list(layouts)

    def run(self) -> int:
        """Mend what there is to mend, and return how many resources that were.

        A process whose settings are superseded mends nothing, nor does one that may only read.
        """
        done = self.mend_written()
        with suppress(SettingsSuperseded, StorageReadOnly):
            self._orphans.run()
            self._retired.run()
            self._begin_lists()
        return done

    def _begin_lists(self) -> None:
        """List the resources without a value, once, wherever they are few."""
        while self._unlisted:
            repeated(partial(begin_lists, self._database, self._unlisted[-1], self._layouts), Contention)
            self._unlisted.pop()

    def mend_written(self) -> int:
        """Make the index rows of resources again, without a search for rows whose resource is gone."""
        done = 0
        with suppress(SettingsSuperseded, StorageReadOnly):
            if self._database.row(WRITTEN) is not None:
                for layout in self._layouts:
                    done += self._mend(layout)
        return done

    def _mend(self, layout: TypeLayout) -> int:
        last, done = 0, 0
        while True:
            rows = self._database.rows(
                "SELECT rid FROM scim_resource WHERE type = ? AND indexed_version <> version AND rid > ? "
                "ORDER BY rid LIMIT ?",
                (layout.number, last, BATCH),
            )
            for (last,) in rows:
                done += repeated(partial(self._mend_one, layout, last), Contention)
            if len(rows) < BATCH:
                break
        if done:
            name = layout.resource_type.name
            _LOG.warning("%s: index rows of %d, written by an earlier release, were made again", name, done)
        return done

    def _mend_one(self, layout: TypeLayout, rid: int) -> int:
        database = self._database
        with database.transaction():
            row = database.row(
                f"{resource_columns(database.dialect)}, {locked_number(database)} FROM scim_resource r "
                f"JOIN {layout.table} d ON d.id = r.id WHERE r.rid = ? AND r.type = ? "
                f"AND r.indexed_version <> r.version{database.dialect.for_update}",
                (rid, layout.number),
            )
            if row is None:
                return 0
            require_current(database, layout, row[-1])
            resource = stored(row[:-1])
            for path in self._index_again(layout, resource):
                _LOG.warning(
                    "%s %s: another resource has the same %s", layout.resource_type.name, resource.id, path
                )
        return 1

    def _index_again(self, layout: TypeLayout, resource: StoredResource) -> list[str]:
        """Make the index rows of a resource what they should be; return the paths of values of others."""
        run, rid, index = self._database.run, resource.source, layout.index_rows(resource)
        unique = layout.unique_rows(index, resource.owner)
        found = self._database.rows("SELECT path, value FROM scim_attribute WHERE rid = ?", (rid,))
        # By the rules of the writer, each of them may be a unique value too.
        for batch in batches(sorted(set(map(tuple, found)) - {row[:2] for row in unique}), _KEYS):
            keys = " OR ".join(["(path = ? AND value = ?)"] * len(batch))
            run(f"DELETE FROM scim_unique WHERE rid = ? AND ({keys})", [rid, *chain.from_iterable(batch)])
        run("DELETE FROM scim_attribute WHERE rid = ?", (rid,))
        taken = self._rows.claim(sorted((*row, rid) for row in unique))
        self._rows.insert_index_rows((rid, row) for row in index)
        run("DELETE FROM scim_lacking WHERE rid = ?", (rid,))
        note_lacking(self._database, layout, {rid: layout.lacking(index)})
        run(
            "UPDATE scim_resource SET indexed_version = version, display = ? WHERE rid = ?",
            (layout.resource_type.display(resource.document), rid),
        )
        return [layout.unique_path(path) for path, *_ in taken]


class Retired:
    """Removes the rows of paths that are indexed no more, a part of them in a run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self) -> None:
        """Remove `_PARTS` times `_PART` rows, unless another process does."""
        for _ in range(_PARTS):
            if not repeated(self._remove_part, Contention):
                break

    def _remove_part(self) -> bool:
        """Remove some rows; return whether there may be more."""
        database = self._database
        if database.row("SELECT 1 FROM scim_path WHERE type = ?", (RETIRED,)) is None:
            return False
        with database.transaction():
            row = database.row(
                "SELECT number FROM scim_path WHERE type = ? ORDER BY number "
                f"LIMIT 1{database.dialect.for_update_if_free}",
                (RETIRED,),
            )
            if row is None:
                return False
            # Each a range of the key, however many resources have one value.
            parts = [self._remove(table, order, row[0]) for table, order in _KEYED_BY.items()]
            if not any(parts):
                database.run("DELETE FROM scim_path WHERE number = ?", row)
        return True

    def _remove(self, table: str, order: str, path: int) -> bool:
        """Remove the first rows of a path from a table; return whether there are more."""
        run, key = self._database.run, f"{table} WHERE path = ?"
        edge = self._database.row(
            f"SELECT value, {order} FROM {key} ORDER BY value, {order} LIMIT 1 OFFSET ?", (path, _PART - 1)
        )
        if edge is None:
            run(f"DELETE FROM {key}", (path,))
            return False
        value, last = edge
        run(f"DELETE FROM {key} AND value < ?", (path, value))
        run(f"DELETE FROM {key} AND value = ? AND {order} <= ?", (path, value, last))
        return True


class Orphans:
    """Removes index rows whose resource is gone; a run looks at a part of them, and the next run goes on."""

    def __init__(self, database: Database, layouts: Sequence[TypeLayout]) -> None:
        self._database = database
        self._layouts = layouts
        self._last_rid = 0
        # The path and the value where the next run begins; without a value, at the first one.
        self._edge: tuple[int, str | None] = (0, None)

    def run(self) -> None:
        """Look at `_PART` resources and `_PART` unique values, and begin again behind the last ones."""
        self._remove("scim_attribute", self._next_rids())
        self._remove("scim_unique", self._next_unique())

    def _next_rids(self) -> set[int]:
        rows = self._database.rows(
            "SELECT DISTINCT rid FROM scim_attribute WHERE rid > ? ORDER BY rid LIMIT ?",
            (self._last_rid, _PART),
        )
        self._last_rid = rows[-1][0] if len(rows) == _PART else 0
        return {rid for (rid,) in rows}

    def _next_unique(self) -> set[int]:
        found: set[int] = set()
        path, value = self._edge
        while len(found) < _PART:
            rest, after = ("", ()) if value is None else (" AND value >= ?", (value,))
            rows = self._database.rows(
                f"SELECT rid, value FROM scim_unique WHERE path = ?{rest} ORDER BY value LIMIT ?",
                (path, *after, _PART),
            )
            found |= {rid for rid, _ in rows}
            if len(rows) == _PART and rows[-1][1] != value:
                value = rows[-1][1]
                continue
            (following,) = self._database.row("SELECT MIN(path) FROM scim_unique WHERE path > ?", (path,))
            path, value = following or 0, None
            if not following:
                break
        self._edge = path, value
        return found

    def _remove(self, table: str, rids: set[int]) -> None:
        """Remove the rows of those resources that are gone."""
        database = self._database
        gone = set(rids)
        for batch in batches(sorted(rids)):
            found = database.rows(f"SELECT rid FROM scim_resource WHERE rid IN ({marks(batch)})", batch)
            gone -= {rid for (rid,) in found}
        removed = 0
        for rid in sorted(gone):
            with database.transaction():
                number = generation_of(database)
                for layout in self._layouts:
                    require_current(database, layout, number)
                statement = f"DELETE FROM {table} WHERE rid = ? AND {_WITHOUT_RESOURCE.format(table=table)}"
                removed += int(database.run(statement, (rid,)).rowcount)
        if removed:
            _LOG.warning("%s: %d rows of resources that are gone were removed", table, removed)
