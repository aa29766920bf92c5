"""When tokens were used last, written in batches and beside the requests."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

WRITE_S: Final = 10.0
"""How long after a use it is written, in seconds; the uses of the last seconds of a process are lost."""


class Uses:
    """Collects the last use of each secret, and has `write` store them WRITE_S seconds later.

    `close` closes the connections of the thread that wrote.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, int]], object],
        close: Callable[[], object],
        write_s: float = WRITE_S,
    ) -> None:
        self._write = write
        self._close = close
        self._write_s = write_s
        self._noted: dict[str, int] = {}
        self._writing: threading.Timer | None = None
        self._starting = threading.Lock()

    def note(self, digest: str, at: int) -> None:
        """Note that a secret was used at a time in milliseconds since 1970."""
        self._noted[digest] = at
        if self._writing is None:
            self._start()

    def write(self) -> None:
        """Write what is noted, in this thread."""
        # A thread may still hold the batch that ends here: its use comes too late.
        ended, self._noted = self._noted, {}
        noted = dict(ended)
        try:
            if noted:
                self._write(noted)
        except StorageError as problem:
            _LOG.warning("the last use of tokens cannot be written: %s", problem)

    def _start(self) -> None:
        with self._starting:
            if self._writing is None:
                self._writing = threading.Timer(self._write_s, self._run)
                self._writing.daemon = True
                self._writing.start()

    def _run(self) -> None:
        self._writing = None
        try:
            self.write()
        finally:
            self._close()
