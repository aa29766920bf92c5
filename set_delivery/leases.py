"""Leases: what only one may do at a time, across processes, for as long as it lives."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase

_LOG = logging.getLogger(__name__)


@contextmanager
def lease(database: StateDatabase, name: str, owner: str, seconds: float) -> Iterator["Lease"]:
    """Yield a lease that is kept until the end of the context, if it can be had.

    Whoever dies holding it is waited for no longer than `seconds`.
    """
    held = Lease(database, name, owner, seconds)
    if not held.holds():
        yield held
        return
    thread = threading.Thread(target=held.keep, name=f"scim lease {name}", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.over.set()
        with database.transaction():
            database.run("DELETE FROM scim_lease WHERE name = ? AND owner = ?", (name, owner))


class Lease:
    """What only one may do at a time, and who may."""

    def __init__(self, database: StateDatabase, name: str, owner: str, seconds: float) -> None:
        self._database = database
        self._name = name
        self._owner = owner
        self._seconds = seconds
        self.over = threading.Event()
        until = time.monotonic() + seconds
        self._until = until if take_lease(database, name, owner, seconds) else 0.0

    def holds(self) -> bool:
        """Return whether nobody else can have it now."""
        return time.monotonic() < self._until

    def keep(self) -> None:
        """Make it last until it is over."""
        while not self.over.wait(self._seconds / 4):
            try:
                self._renew()
            except Exception:
                # It ends by itself if this goes on; `holds` says so.
                _LOG.warning("the lease %s cannot be renewed", self._name, exc_info=True)
        self._database.close()

    def _renew(self) -> None:
        """Make it last longer, unless somebody else has it."""
        until = time.monotonic() + self._seconds
        with self._database.transaction():
            renewed = self._database.run(
                "UPDATE scim_lease SET until = ? WHERE name = ? AND owner = ?",
                (now_ms() + int(self._seconds * 1000), self._name, self._owner),
            )
        self._until = until if renewed.rowcount else 0.0


def is_leased(database: StateDatabase, name: str) -> bool:
    """Return whether anybody holds a lease now."""
    statement = "SELECT 1 FROM scim_lease WHERE name = ? AND until >= ?"
    return database.row(statement, (name, now_ms())) is not None


def take_lease(database: StateDatabase, name: str, owner: str, seconds: float) -> bool:
    """Take a lease, or make one that is held longer, and return whether that worked."""
    now = now_ms()
    until = now + int(seconds * 1000)
    with database.transaction():
        updated = database.run(
            "UPDATE scim_lease SET owner = ?, until = ? WHERE name = ? AND (owner = ? OR until < ?)",
            (owner, until, name, owner, now),
        )
        if updated.rowcount:
            return True
        statement = database.dialect.insert_ignoring("scim_lease", "name, owner, until", "VALUES (?, ?, ?)")
        return bool(database.run(statement, (name, owner, until)).rowcount)
