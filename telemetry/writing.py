"""Figures on their way into metrics: noted at once, written together a moment later.

A request notes several figures. To write each of them by itself, with its lock and its file, takes as long
as a third of a read. So a thread of the process adds them up, four times a second.
"""

import atexit
import contextlib
import os
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from typing import Any, Final

_DELAY_S: Final = 0.25
# In a process without threads, the request that finds so many figures writes them.
_MOST: Final = 2000

_noted: deque[tuple[Any, float]] = deque()


class _Writer:
    """The thread that writes, of this process."""

    def __init__(self) -> None:
        self.is_woken = False
        self.writing = threading.Lock()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        self.is_woken = True
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="scim metrics", daemon=True)
                # A process that ends starts no threads: it writes at its end.
                with contextlib.suppress(RuntimeError):
                    self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(_DELAY_S)
            # Before it writes: what is noted meanwhile wakes it again.
            self.is_woken = False
            write()


_writer = _Writer()


def note(cell: Any, value: float) -> None:
    """Add to a counter of prometheus-client, or observe a value for a histogram, in a moment."""
    _noted.append((cell, value))
    if not _writer.is_woken:
        _writer.wake()
    elif len(_noted) > _MOST:
        write()


def write() -> None:
    """Write what is noted."""
    with _writer.writing:
        found = defaultdict[Any, list[float]](list)
        for _ in range(len(_noted)):
            cell, value = _noted.popleft()
            found[cell].append(value)
        for cell, values in found.items():
            if hasattr(cell, "observe"):
                _observe(cell, values)
            else:
                cell.inc(sum(values))


def _observe(cell: Any, values: list[float]) -> None:
    """Do what `observe` of a histogram does with each value, but write each bucket once."""
    cell._sum.inc(sum(values))
    for number, count in Counter(bisect_left(cell._upper_bounds, one) for one in values).items():
        cell._buckets[number].inc(count)


def _begin_in_child() -> None:
    # What is noted belongs to the parent, and its thread does not survive the fork.
    global _writer
    _noted.clear()
    _writer = _Writer()


os.register_at_fork(after_in_child=_begin_in_child)
atexit.register(write)
