"""Lost races: how often a change is tried again, with one limit for all layers together.

A change that finds its data changed by another writer is tried again, by the adapter or by the caller
of the adapter. Both count into the limit of the outermost one, so that their tries do not multiply.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from storage.errors import StorageError, VersionMismatch
from telemetry.catalogue import CONFLICTS

# A change is tried this often, and not again when so many seconds have passed since its first loss.
ATTEMPTS: Final = 20
LONGEST_S: Final = 10.0
# Pauses are random, up to a limit that doubles.
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.25

_Result = TypeVar("_Result")


class Changed(VersionMismatch):
    """Another writer came between the reading and the writing of one call: the same may be tried again."""

    def __init__(self) -> None:
        super().__init__("other requests changed the resource at the same time")


class _Limit:
    """What is left for one change."""

    def __init__(self, longest_s: float) -> None:
        self.losses = 0
        self._longest_s = longest_s
        self._end = 0.0

    @property
    def is_reached(self) -> bool:
        return self.losses >= ATTEMPTS or (self.losses > 0 and time.monotonic() >= self._end)

    def count(self) -> None:
        if self.losses == 0:
            self._end = time.monotonic() + self._longest_s
        self.losses += 1

    def pause(self) -> None:
        longest_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self.losses)
        time.sleep(random.uniform(0, longest_s))


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def own_limit(longest_s: float | None = None) -> Iterator[None]:
    """Give a change of another resource, within the one at hand, a limit of its own.

    When that is reached, so is the one around it. `longest_s` is for changes that may take long
    themselves; without it LONGEST_S counts.
    """
    outer, own = _limit.get(), _Limit(LONGEST_S if longest_s is None else longest_s)
    token = _limit.set(own)
    try:
        yield
    except StorageError:
        if outer is not None and own.is_reached:
            outer.losses = ATTEMPTS
        raise
    finally:
        _limit.reset(token)


def repeated(change: Callable[[], _Result], *losses: type[Exception]) -> _Result:
    """Return the result of `change`, tried again after one of `losses` up to the limit.

    Calls within one another share a limit. The last loss is raised.
    """
    limit = _limit.get()
    if limit is None:
        with own_limit():
            return repeated(change, *losses)
    while True:
        try:
            return change()
        except losses:
            if limit.is_reached:
                # An inner call has counted this loss, as another error perhaps.
                raise
            limit.count()
            CONFLICTS.inc("given_up" if limit.is_reached else "retried")
            if limit.is_reached:
                raise
        limit.pause()
