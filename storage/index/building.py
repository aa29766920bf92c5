"""Building index rows of documents that are there already.

Every step is one transaction that notes how far it came, so that it goes on where it was stopped,
and several processes that start together share the work.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from storage.batches import BATCH
from storage.index.database import Database
from storage.index.layout import IndexRow, TypeLayout
from storage.index.rows import ResourceRows, resource_columns, stored

_LOG = logging.getLogger(__name__)

# Seconds between lines of the log that say how far it is.
_REPORT_S = 5.0


class Step(ABC):
    """A part of the work on one type; `once` does a batch and returns its size, None at the end."""

    doing = ""

    def __init__(self, database: Database, layout: TypeLayout, names: Mapping[int, str]) -> None:
        self._database = database
        self._layout = layout
        self._names = names
        self._rows = ResourceRows(database)

    def once(self) -> int | None:
        database = self._database
        if not self._pending():
            return None
        with database.transaction():
            # One at a time: the row says how far the work has come.
            database.row(
                f"SELECT 1 FROM scim_type WHERE number = ?{database.dialect.for_update}",
                (self._layout.number,),
            )
            if not self._pending():
                return None
            return self._batch()

    @abstractmethod
    def _pending(self) -> bool:
        """Return whether the type has anything left to do."""

    @abstractmethod
    def _batch(self) -> int:
        """Do a part of the work and return the number of resources in it."""

    def _note(self, **columns: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._database.run(
            f"UPDATE scim_type SET {assignments} WHERE number = ?", (*columns.values(), self._layout.number)
        )

    def _insert_rows(self, index: Mapping[int, set[IndexRow]], ids: Mapping[int, str]) -> None:
        """Write the index rows of each row key, and claim the unique values in them.

        The log names a resource whose value another one has; the resource keeps its other rows.
        """
        unique = {rid: self._layout.unique_rows(rows) for rid, rows in index.items()}
        claims = sorted((path, value, rid) for rid, rows in unique.items() for path, value in rows)
        for path, _, rid in self._rows.claim(claims):
            _LOG.warning(
                "%s %s: another resource has the same %s",
                self._layout.resource_type.name,
                ids[rid],
                self._layout.unique_path(path),
            )
        self._rows.insert_index_rows((rid, row) for rid, rows in index.items() for row in rows)


class Paths(Step):
    """Paths whose rows are missing, because they are new or follow other rules now."""

    doing = "building index rows"

    def _pending(self) -> bool:
        (unready,) = self._database.row(
            "SELECT COUNT(*) FROM scim_path WHERE type = ? AND ready = 0", (self._layout.number,)
        )
        return bool(unready)

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        (last,) = database.row("SELECT indexed_to FROM scim_type WHERE number = ?", (layout.number,))
        rows = database.rows(
            f"{resource_columns(database.dialect.text)} FROM scim_resource r "
            f"JOIN {layout.table} d ON d.id = r.id WHERE r.type = ? AND r.rid > ? ORDER BY r.rid LIMIT ?",
            (layout.number, last or 0, BATCH),
        )
        if not rows:
            database.run("UPDATE scim_path SET ready = 1 WHERE type = ?", (layout.number,))
            self._note(indexed_to=None)
            return 0
        wanted = {
            number
            for (number,) in database.rows(
                "SELECT number FROM scim_path WHERE type = ? AND ready = 0", (layout.number,)
            )
        }
        resources = [stored(row) for row in rows]
        index = {r.source: {row for row in layout.index_rows(r) if row[0] in wanted} for r in resources}
        self._insert_rows(index, {r.source: r.id for r in resources})
        self._note(indexed_to=rows[-1][0])
        return len(rows)


def build(database: Database, layouts: Sequence[TypeLayout], *steps: type[Step]) -> None:
    """Do steps, each for every type, and make the index rows that are missing at last."""
    names = {layout.number: layout.resource_type.name for layout in layouts}
    done = 0
    kinds: list[type[Step]] = [*steps, Paths]
    for work in kinds:
        for layout in layouts:
            step = work(database, layout, names)
            done += _repeat(step, f"{layout.resource_type.name}: {step.doing}")
    if done and database.dialect.count_values:
        database.run_ddl(database.dialect.count_values)


def _repeat(step: Step, title: str) -> int:
    done, reported = 0, time.monotonic()
    while (count := step.once()) is not None:
        done += count
        if time.monotonic() - reported > _REPORT_S:
            _LOG.warning("%s: %d so far", title, done)
            reported = time.monotonic()
    if done:
        _LOG.warning("%s: %d, done", title, done)
    return done
