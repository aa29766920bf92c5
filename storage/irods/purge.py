"""Removed metadata: iRODS shows it to every user of the zone until unused metadata is purged."""

import atexit
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from storage.errors import StorageError
from storage.forks import in_child

_LOG = logging.getLogger(__name__)
# One purge serves all changes of this time. It reads all metadata of the zone, so it is not made more often.
PURGE_AFTER_S: Final = 60.0


class Purge:
    """Calls `purge` PURGE_AFTER_S after the first change that removed metadata, or when the process ends."""

    def __init__(self, purge: Callable[[], None]) -> None:
        self._purge = purge
        self._forget()
        in_child(self._forget)

    def _forget(self) -> None:
        # A thread does not survive a fork: the parent purges for the changes that it made.
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @contextmanager
    def afterwards(self) -> Iterator[None]:
        """Note that a change in this context removed metadata, in whatever way it ends."""
        try:
            yield
        finally:
            # Not before the change: a purge that begins during the change may miss its metadata.
            self._ask()

    def _ask(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(PURGE_AFTER_S, self.run)
                self._timer.daemon = True
                self._timer.start()
                atexit.register(self.run)

    def run(self) -> None:
        """Purge now if that is due at any time."""
        with self._lock:
            timer, self._timer = self._timer, None
            if timer is None:
                return
            atexit.unregister(self.run)
        timer.cancel()
        try:
            self._purge()
        except StorageError as exc:
            _LOG.warning("iRODS did not purge removed metadata, which other users can read: %s", exc)
