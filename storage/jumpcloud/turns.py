"""Turns: of the threads of a process that want to change the same thing, one at a time does."""

import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

_LOCKS: Final = 64


class Turns:
    """Locks by name; several names may share one."""

    def __init__(self) -> None:
        self._locks = [threading.RLock() for _ in range(_LOCKS)]

    @contextmanager
    def of(self, names: Iterable[str]) -> Iterator[None]:
        """Wait until nobody else of this process has any of the names, and keep them meanwhile."""
        # In one order everywhere, or two would wait for each other.
        numbers = sorted({zlib.crc32(name.encode("utf-8", "replace")) % _LOCKS for name in names})
        with ExitStack() as stack:
            for number in numbers:
                stack.enter_context(self._locks[number])
            yield
