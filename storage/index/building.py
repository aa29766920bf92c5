"""Building index rows of documents that are there already.

Every batch is one transaction that notes how far it came, so that the work goes on where it was stopped.
Of several processes that start together, one works and the others wait; when it ends, another goes on.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.adapter import StoredResource
from storage.attempts import ATTEMPTS, repeated
from storage.batches import BATCH
from storage.errors import Contention, SettingsSuperseded
from storage.index.columns import resource_columns, stored
from storage.index.database import Database, DuplicateKey
from storage.index.generation import locked_number, require_current
from storage.index.lacking import note_lacking
from storage.index.layout import TypeLayout
from storage.index.rows import ResourceRows
from storage.progress import Progress

_LOG = logging.getLogger(__name__)

# Seconds until a process looks again whether another one has done the work.
_WAIT_S: Final = 0.2


class Step(ABC):
    """A part of the work on the resources of one type; `doing` names it for people."""

    doing = ""

    def __init__(self, database: Database, layout: TypeLayout, names: Mapping[int, str]) -> None:
        self._database = database
        self._layout = layout
        self._names = names
        self._rows = ResourceRows(database)

    def finish(self) -> int:
        """Do the work, unless others do, and return how many resources this process has worked on."""
        mine = losses = 0
        progress: Progress | None = None
        while self._pending():
            progress = progress or self._progress()
            try:
                count = self._once()
            except (Contention, DuplicateKey) as exc:
                # The same work was done at another node of a cluster, or somebody writes without end.
                losses += 1
                if losses == ATTEMPTS:
                    raise Contention(str(exc)) from exc
                count = None
            if count is None:
                time.sleep(_WAIT_S)
                if progress.is_due:
                    done = self._done()
                    losses = losses if done == progress.done else 0
                    progress.at(done)
            else:
                mine, losses = mine + count, 0
                progress.at(progress.done + count)
        if mine:
            _LOG.warning("%s, done", progress)
        return mine

    def _progress(self) -> Progress:
        endpoint = self._layout.resource_type.endpoint.strip("/")
        return Progress(f"{self.doing} {endpoint}", self._total(), self._done())

    def _once(self) -> int | None:
        """Do a batch and return its size, None where another process does one."""
        database = self._database
        with database.transaction():
            # The row says how far the work has come.
            row = database.row(
                f"SELECT {locked_number(database)} FROM scim_type "
                f"WHERE number = ?{database.dialect.for_update_if_free}",
                (self._layout.number,),
            )
            if row is None:
                return None
            require_current(database, self._layout, row[0])
            return self._batch() if self._pending() else 0

    @abstractmethod
    def _total(self) -> int:
        """Return the number of resources that the whole work is on."""

    @abstractmethod
    def _done(self) -> int:
        """Return how many of them are done, by whichever process."""

    @abstractmethod
    def _pending(self) -> bool:
        """Return whether the type has anything left to do."""

    @abstractmethod
    def _batch(self) -> int:
        """Do a part of the work and return the number of resources in it."""

    def _count(self, statement: str, *params: Any) -> int:
        return int(self._database.row(statement, params)[0])

    def _note(self, **columns: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._database.run(
            f"UPDATE scim_type SET {assignments} WHERE number = ?", (*columns.values(), self._layout.number)
        )

    def _insert_rows(self, resources: Mapping[int, StoredResource], ready: bool) -> None:
        """Write the index rows of resources, given by row key, of the paths that are ready or that are not.

        The log names a resource whose value another one has; the resource keeps its other rows.
        """
        found = self._database.rows(
            f"SELECT number FROM scim_path WHERE type = ? AND ready {'>' if ready else '='} 0",
            (self._layout.number,),
        )
        wanted = {number for (number,) in found}
        index = {
            rid: {row for row in self._layout.index_rows(one) if row[0] in wanted}
            for rid, one in resources.items()
        }
        unique = {rid: self._layout.unique_rows(rows, resources[rid].owner) for rid, rows in index.items()}
        claims = sorted((*row, rid) for rid, rows in unique.items() for row in rows)
        for path, *_, rid in self._rows.claim(claims):
            _LOG.warning(
                "%s %s: another resource has the same %s",
                self._layout.resource_type.name,
                resources[rid].id,
                self._layout.unique_path(path),
            )
        self._rows.insert_index_rows((rid, row) for rid, rows in index.items() for row in rows)
        if ready:
            lacking = {rid: self._layout.lacking(rows) for rid, rows in index.items()}
            note_lacking(self._database, self._layout, lacking)


class Paths(Step):
    """Paths whose rows are missing, because they are new or follow other rules now."""

    doing = "building index rows of"

    def _total(self) -> int:
        return self._count("SELECT COUNT(*) FROM scim_resource WHERE type = ?", self._layout.number)

    def _done(self) -> int:
        return self._count(
            "SELECT COUNT(*) FROM scim_resource r JOIN scim_type t ON t.number = r.type "
            "WHERE r.type = ? AND r.rid <= t.indexed_to",
            self._layout.number,
        )

    def _pending(self) -> bool:
        (unready,) = self._database.row(
            "SELECT COUNT(*) FROM scim_path WHERE type = ? AND ready = 0", (self._layout.number,)
        )
        return bool(unready)

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        (last,) = database.row("SELECT indexed_to FROM scim_type WHERE number = ?", (layout.number,))
        rows = database.rows(
            f"{resource_columns(database.dialect)} FROM scim_resource r "
            f"JOIN {layout.table} d ON d.id = r.id WHERE r.type = ? AND r.rid > ? "
            # Writes of earlier releases are indexed later (`storage.index.mending`).
            f"AND r.indexed_version = r.version ORDER BY r.rid LIMIT ?{database.dialect.for_update}",
            (layout.number, last or 0, BATCH),
        )
        if not rows:
            database.run("UPDATE scim_path SET ready = 1 WHERE type = ? AND ready = 0", (layout.number,))
            self._note(indexed_to=None)
            return 0
        resources = map(stored, rows)
        self._insert_rows({one.source: one for one in resources}, ready=False)
        self._note(indexed_to=rows[-1][0])
        return len(rows)


def build(database: Database, layouts: Sequence[TypeLayout], *steps: type[Step]) -> None:
    """Do steps, each for every type, and make the index rows that are missing at last.

    Nothing more is done once another process has begun to index by other settings.
    """
    names = {layout.number: layout.resource_type.name for layout in layouts}
    kinds: list[type[Step]] = [*steps, Paths]
    done = 0
    try:
        done = sum(kind(database, layout, names).finish() for kind in kinds for layout in layouts)
    except SettingsSuperseded as exc:
        _LOG.warning("%s", exc)
    if done and (statement := database.dialect.count_values):
        repeated(lambda: database.run_ddl(statement), Contention)
