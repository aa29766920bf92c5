"""A fair queue of writers, among the threads of all processes that use one store.

What writers need is a lock that somebody else gives out: SQLite's own, or that of a folder. Those
who wait for such a lock look for it now and then, and may never find it free while one of them takes
it again and again. Here they draw numbers, and each goes for the lock when its number is up.
"""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from storage.errors import StorageUnavailable

_COUNTER: Final = struct.Struct("<Q")
# struct flock of Linux: type, whence, start, length, process.
_LOCK: Final = struct.Struct("hhqqi0q")
_LAST: Final = 2**62
# How long the next in the queue waits before it looks again, and the last, in seconds.
_FIRST_PAUSE_S: Final = 0.0002
_LONGEST_PAUSE_S: Final = 0.002
_TAKEN: Final = (errno.EACCES, errno.EAGAIN)


class FairQueue:
    """Lets one writer after the other go ahead, in the order in which they came.

    A number is a locked byte of the file at `path`: the kernel gives it back when a process dies.
    The queue is for order alone. Where its file cannot be used, such as on a disk that is full,
    writers go ahead without one. Waiting ends after `timeout_s` with StorageUnavailable.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until it is the caller's turn, which lasts as long as the context."""
        deadline = time.monotonic() + self._timeout_s
        try:
            if not hasattr(fcntl, "F_OFD_SETLK"):
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield
            return
        try:
            # Not every file system has such locks.
            with suppress(OSError):
                self._wait(descriptor, self._drawn(descriptor, deadline), deadline)
            yield
        finally:
            # A child that was forked meanwhile has the descriptor too: closing is not enough.
            with suppress(OSError):
                _change(descriptor, fcntl.F_UNLCK, 0, 0)
            os.close(descriptor)

    def _drawn(self, descriptor: int, deadline: float) -> int:
        """Return a number of one's own. Raises OSError where there are none to be had."""
        while not _change(descriptor, fcntl.F_WRLCK, 0, 1):
            self._pause(deadline, _FIRST_PAUSE_S)
        try:
            last = os.pread(descriptor, _COUNTER.size, 0)
            number = _COUNTER.unpack(last)[0] % _LAST + 1 if len(last) == _COUNTER.size else 1
            os.pwrite(descriptor, _COUNTER.pack(number), 0)
            _change(descriptor, fcntl.F_WRLCK, number, 1)
            return number
        finally:
            _change(descriptor, fcntl.F_UNLCK, 0, 1)

    def _wait(self, descriptor: int, number: int, deadline: float) -> None:
        """Return when nobody has a lower number."""
        while number > 1:
            ahead = _held(descriptor, 1, number - 1)
            if ahead is None:
                return
            # Who is next looks more often than who is not.
            self._pause(deadline, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * (number - ahead)))

    def _pause(self, deadline: float, pause_s: float) -> None:
        if time.monotonic() > deadline:
            raise StorageUnavailable(f"other writers hold the lock of {self._path.parent}")
        time.sleep(pause_s)


def _change(descriptor: int, kind: int, start: int, length: int) -> bool:
    """Lock or unlock bytes for this descriptor alone; return whether that was possible."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as exc:
        if exc.errno in _TAKEN and kind != fcntl.F_UNLCK:
            return False
        raise
    return True


def _held(descriptor: int, start: int, length: int) -> int | None:
    """Return the first byte of these that another descriptor has locked, None if there is none."""
    asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, found, _, _ = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(found)
