"""Export of the change log to a collector: each row at least once, in the order of positions.

    scim_export(name, position, hash, attempts, due_at, problem)     how far a collector is

The table is made by the first process with a collector, whichever version the other tables have. A batch is
marked as exported after the collector has taken it: a process that dies in between sends it again.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from uuid import uuid4

from set_delivery.answers import pause_after
from set_delivery.change_line import json_line
from set_delivery.change_log import START, ChangeLog, LoggedChange
from set_delivery.clock import now_ms
from set_delivery.collectors import Collector, CollectorFailed
from set_delivery.database import StateDatabase
from set_delivery.leases import Lease, is_leased, lease

_LOG = logging.getLogger(__name__)

_TABLES: Final = {
    "scim_export": "name {id} NOT NULL PRIMARY KEY, position BIGINT NOT NULL, hash VARCHAR(64) NOT NULL, "
    "attempts INTEGER NOT NULL, due_at BIGINT NOT NULL, problem {long}",
}
# There is one collector.
_NAME: Final = "audit"
_LEASE: Final = "audit export"
# A process that died is waited for so many seconds.
_LEASE_S: Final = 10.0
# Rows and bytes of one batch; a single row may be larger. So many rows are read at once.
_ROWS: Final = 200
_BYTES: Final = 1_000_000
_READ: Final = 50


class _Progress(NamedTuple):
    """How far the collector is: the last position that it has taken, and its hash."""

    position: int
    hash: str
    attempts: int
    due_at: int


class ExportState(NamedTuple):
    """The age in seconds of the oldest row that the collector lacks, and its failures in a row."""

    lag_s: float
    attempts: int


class AuditExport:
    """Sends rows of the log to a collector; one process at a time does."""

    def __init__(
        self,
        database: StateDatabase,
        log: ChangeLog,
        collector: Collector,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._log = log
        self._collector = collector
        self._clock = clock

    def prepare(self) -> None:
        """Make what is missing in the state database."""
        if not self._database.has_table("scim_export"):
            self._database.prepare(
                lambda: self._database.dialect.create_tables(self._database, _TABLES)
            )

    def position(self) -> int:
        """Return the last position that the collector has taken, 0 for none."""
        return self._progress().position

    def backlog(self) -> ExportState:
        """Return how far behind the collector is."""
        progress = self._progress()
        row = self._database.row(
            "SELECT at FROM scim_change WHERE seq = (SELECT seq FROM scim_order WHERE position > ? "
            "ORDER BY position LIMIT 1)",
            (progress.position,),
        )
        lag_s = 0.0 if row is None else max(0, self._clock() - row[0]) / 1000
        return ExportState(lag_s, progress.attempts)

    def is_due(self) -> bool:
        """Return whether there are rows to send now that nobody is sending."""
        progress = self._progress()
        if progress.due_at > self._clock() or is_leased(self._database, _LEASE):
            return False
        (last,) = self._database.row("SELECT MAX(position) FROM scim_order")
        return last is not None and (last > progress.position or self._start(progress) == 0)

    def run(self, until: Callable[[], bool] = lambda: False) -> int:
        """Send what is due and return how many rows the collector took; end at the first failure."""
        if not self.is_due():
            return 0
        sent = 0
        owner = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        with lease(self._database, _LEASE, owner, _LEASE_S) as held:
            count = 1
            while count and held.holds() and not until():
                count = self._send_batch(held)
                sent += count
        return sent

    def _send_batch(self, held: Lease) -> int:
        progress = self._progress()
        start = self._start(progress)
        changes = self._batch(start)
        if not changes:
            return 0
        first, last = changes[0].position or 0, changes[-1]
        if first > start + 1 and start == progress.position and start:
            _LOG.error("audit export: positions %d to %d were deleted before", start + 1, first - 1)
        try:
            self._collector.send(changes)
        except CollectorFailed as failure:
            self._postpone(progress, failure)
            return 0
        # Another process that has taken over sends the same again, and marks it.
        if held.holds():
            self._mark(_Progress(last.position or 0, last.hash or "", 0, 0), None)
        return len(changes)

    def _batch(self, start: int) -> Sequence[LoggedChange]:
        """Return the next rows, as many as go at once."""
        batch: list[LoggedChange] = []
        size = 0
        while len(batch) < _ROWS and (some := self._log.after(start, _READ)):
            for change in some:
                size += len(json_line(change))
                if batch and size > _BYTES:
                    return batch
                batch.append(change)
            start = some[-1].position or 0
        return batch

    def _start(self, progress: _Progress) -> int:
        """Return the position that the next rows are behind: 0 where the log is another one.

        The log of a restored backup has other rows at positions that were exported before.
        """
        position = progress.position
        for table in ("scim_order", "scim_checkpoint"):
            row = self._database.row(f"SELECT hash FROM {table} WHERE position = ?", (position,))
            if row is not None:
                return self._again(position) if row[0] != progress.hash else position
        (first,) = self._database.row("SELECT MIN(position) FROM scim_order")
        is_behind = position == 0 or first is not None and first > position
        return position if is_behind else self._again(position)

    def _again(self, position: int) -> int:
        _LOG.warning("audit export: position %d is not what was exported: the export begins again", position)
        return 0

    # -- what is written down

    def _progress(self) -> _Progress:
        row = self._database.row(
            "SELECT position, hash, attempts, due_at FROM scim_export WHERE name = ?", (_NAME,)
        )
        return _Progress(*row) if row is not None else _Progress(0, START, 0, 0)

    def _postpone(self, progress: _Progress, failure: CollectorFailed) -> None:
        attempts = progress.attempts + 1
        pause_s = pause_after(attempts, failure.retry_after_s)
        _LOG.warning(
            "audit export: attempt %d failed (%s), next attempt in %.0f s", attempts, failure, pause_s
        )
        due_at = self._clock() + int(pause_s * 1000)
        self._mark(progress._replace(attempts=attempts, due_at=due_at), str(failure))

    def _mark(self, progress: _Progress, problem: str | None) -> None:
        cells = (*progress, problem)
        with self._database.transaction():
            updated = self._database.run(
                "UPDATE scim_export SET position = ?, hash = ?, attempts = ?, due_at = ?, problem = ? "
                "WHERE name = ?",
                (*cells, _NAME),
            )
            if not updated.rowcount:
                statement = self._database.dialect.insert_ignoring(
                    "scim_export",
                    "position, hash, attempts, due_at, problem, name",
                    "VALUES (?, ?, ?, ?, ?, ?)",
                )
                self._database.run(statement, (*cells, _NAME))
