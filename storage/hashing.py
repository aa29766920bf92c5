"""argon2id hashes of secrets, a bounded number at a time in each process (RFC 9106)."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storage.shared_options import Hashing


class Hasher:
    """Makes and verifies hashes as the settings say.

    Not more than `argon2_at_once` threads hash at the same time. The others take turns in the order in
    which they came, so that a thread with many secrets does not keep one with a single secret waiting.
    """

    def __init__(self, settings: Hashing) -> None:
        self._argon2 = PasswordHasher(
            time_cost=settings.argon2_time,
            memory_cost=settings.argon2_memory * 1024,
            parallelism=settings.argon2_parallelism,
        )
        self._free = settings.argon2_at_once
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def hash(self, secret: str) -> str:
        """Return a hash with a new salt; it takes tens of milliseconds of CPU time."""
        with self._turn():
            return self._argon2.hash(secret)

    def fits(self, known: str | None, secret: str) -> bool:
        """Return whether `known` is a hash of `secret`, with any parameters; it takes as long as `hash`."""
        if known is None:
            return False
        with self._turn():
            try:
                return self._argon2.verify(known, secret)
            except (VerificationError, InvalidHashError):
                return False

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            gate = None if self._free else threading.Lock()
            if gate is None:
                self._free -= 1
            else:
                gate.acquire()
                self._waiting.append(gate)
        if gate is not None:
            gate.acquire()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    # The turn passes on: this thread could otherwise take it again first.
                    self._waiting.popleft().release()
                else:
                    self._free += 1
