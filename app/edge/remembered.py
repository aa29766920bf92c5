"""A check that costs something, with its outcome remembered for a while."""

import threading
import time
from collections.abc import Callable
from typing import Final

from storage.errors import StorageError

REMEMBERED_S: Final = 1.0
"""How long the outcome of a check holds, in seconds."""


class RememberedCheck:
    """Calls `check` once in REMEMBERED_S at the most, and repeats its outcome in between.

    Anybody may ask for the health of a server, and a check may write to the disk. Only one thread
    at a time checks; the others get the outcome before.
    """

    def __init__(
        self, check: Callable[[], object], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._check = check
        self._clock_s = clock_s
        self._checking = threading.Lock()
        self._checked_at: float | None = None
        # What failed and how it was put. The exception itself would hold on to connections.
        self._problem: tuple[type[StorageError], str] | None = None

    def __call__(self) -> None:
        """Return if the check does. Raises a StorageError of the kind that it raises."""
        if self._checking.acquire(blocking=self._checked_at is None):
            try:
                self._check_if_due()
            finally:
                self._checking.release()
        if self._problem is not None:
            kind, text = self._problem
            raise kind(text)

    def _check_if_due(self) -> None:
        if self._checked_at is not None and self._clock_s() < self._checked_at + REMEMBERED_S:
            return
        problem = None
        try:
            self._check()
        except StorageError as exc:
            problem = type(exc), str(exc)
        self._problem, self._checked_at = problem, self._clock_s()
