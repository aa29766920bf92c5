"""How far long work at the start is, for the log and for programs that wait for the server."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_LOG = logging.getLogger(__name__)

# Seconds between reports, and between lines of the log.
_TOLD_S: Final = 1.0
_LOGGED_S: Final = 5.0

_follower: ContextVar[Callable[[str], object] | None] = ContextVar("follower", default=None)


@contextmanager
def followed(tell: Callable[[str], object]) -> Iterator[None]:
    """Call `tell` with a text for people while long work is done in this context, at most once a second.

    Work that ends within a second is not told.
    """
    token = _follower.set(tell)
    try:
        yield
    finally:
        _follower.reset(token)


class Progress:
    """The progress of work on `total` things, `done` of which are done already.

    `doing` begins the text, such as "adopting Users: 120000 of 300000".
    """

    def __init__(self, doing: str, total: int, done: int = 0) -> None:
        self.done = done
        self._doing = doing
        self._total = total
        self._told_at = self._logged_at = time.monotonic()

    def __str__(self) -> str:
        # Others may add to the work while it is done.
        return f"{self._doing}: {self.done} of {max(self._total, self.done)}"

    @property
    def is_due(self) -> bool:
        """Whether the next `at` is reported."""
        return time.monotonic() >= self._told_at + _TOLD_S

    def at(self, done: int) -> None:
        """Report that `done` things are done."""
        self.done = done
        if not self.is_due:
            return
        self._told_at = time.monotonic()
        tell = _follower.get()
        if tell is not None:
            tell(str(self))
        if self._told_at >= self._logged_at + _LOGGED_S:
            _LOG.warning("%s", self)
            self._logged_at = self._told_at
