"""One writer at a time, among all threads and processes that use a folder."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import StorageUnavailable
from storage.queue import FairQueue

QUEUE = ".queue"
_LONGEST_PAUSE_S = 0.01


class FolderLock:
    """A lock on a folder itself: no lock file exists that another program could remove.

    A process that dies releases it. Waiting threads get it in their order where a queue is possible.
    Waiting ends after `timeout_s` with StorageUnavailable.
    """

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._queue = FairQueue(folder / QUEUE, timeout_s)
        self._local = threading.local()

    @property
    def is_held(self) -> bool:
        """Whether this thread has the lock."""
        return getattr(self._local, "holder", 0) == os.getpid()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; a thread that holds it already goes on at once."""
        if self.is_held:
            yield
            return
        deadline = time.monotonic() + self._timeout_s
        with self._queue.turn(), self._opened() as descriptor:
            self._acquire(descriptor, deadline)
            self._local.holder = os.getpid()
            try:
                yield
            finally:
                self._local.holder = 0
                # A child that was forked meanwhile has the descriptor too: closing is not enough.
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            raise StorageUnavailable(f"{self._folder} cannot be used: {exc.strerror}") from exc
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, deadline: float) -> None:
        pause = 0.0005
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise StorageUnavailable(f"another process holds the lock of {self._folder}") from exc
            except OSError as exc:
                raise StorageUnavailable(f"{self._folder} cannot be locked: {exc.strerror}") from exc
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
