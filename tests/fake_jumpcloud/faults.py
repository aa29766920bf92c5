"""What the fake does wrong when a test wants it to."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Fault:
    """Spoils the next `times` requests that fit `method` and, as an expression, `path`, after `skip` others.

    `status` with `headers` and `body` is answered in place of the right answer; after the request has
    been carried out if `done`. `how` is for what is no answer at all: `silence` for `seconds`, `drop`
    of the connection, `half` of the right answer, `drip` and `drip head` a byte at a time for `seconds`.
    """

    status: int = 0
    how: str = ""
    times: int = 1
    method: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"message": "it does not work"}'
    done: bool = False
    seconds: float = 60.0
    skip: int = 0


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: list[Fault] = []
        # Ends silences when the test is over.
        self.over = threading.Event()

    def add(self, fault: Fault) -> None:
        """Make something go wrong from now on."""
        self.over.clear()
        with self._lock:
            self._coming.append(fault)

    def clear(self) -> None:
        """Let everything go right again, at once."""
        self.over.set()
        with self._lock:
            self._coming.clear()

    def next_for(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with this request, if anything."""
        with self._lock:
            for fault in self._coming:
                if fault.times and fault.method in ("", method) and re.search(fault.path, path):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None
