"""The driver of a web process and of `scim worker`: a thread for each piece of the work."""

import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from app.work.registry import Driver, Piece, Work
from app.work.wakeups import TOPICS
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

# Pauses after a failure: the storage is not available, or the program is wrong.
_OUTAGE_S: Final = 1.0
_DEFECT_S: Final = 5.0
# Seconds after which a server that has loaded the application has forked its processes.
_SETTLED_S: Final = 3.0
# All threads together have so many seconds to end.
_LAST_S: Final = 10.0


class Threads(Driver):
    """Does the pieces of `work` in threads of this process: no piece delays another one."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._process = 0
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._forked = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, unless this process has them: threads do not survive a fork."""
        if self._process == os.getpid():
            return
        with self._starting:
            if self._process != os.getpid():
                self._start()
                self._process = os.getpid()

    def start_when_settled(self) -> None:
        """Start the threads in a few seconds, in each process that forks no other process meanwhile.

        A process that forks others serves no requests; and its threads would leave locked locks to
        the children.
        """
        self._await_fork()
        # Not bound here: a child has an event of its own.
        os.register_at_fork(after_in_parent=lambda: self._forked.set(), after_in_child=self._await_fork)

    def stop(self) -> None:
        """End the threads, and wait for what they are doing, at most ten seconds."""
        deadline = time.monotonic() + _LAST_S
        self._stopping.set()
        self._work.wakeups.wake(*TOPICS)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._process = 0

    def started_by(self, application: Any) -> Any:
        """Return a WSGI application that starts the threads in each process that serves requests."""

        def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            self.start()
            result: Iterable[bytes] = application(environ, start_response)
            return result

        return serve

    def _await_fork(self) -> None:
        self._starting, self._forked = threading.Lock(), threading.Event()
        forked = self._forked

        def start() -> None:
            if not forked.wait(_SETTLED_S):
                self.start()

        threading.Thread(target=start, name="scim start", daemon=True).start()

    def _start(self) -> None:
        stopping = self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._repeat,
                args=(piece, stopping),
                name=f"scim {self._work.title(piece.name)}",
                daemon=True,
            )
            for piece in self._work.pieces.values()
        ]
        for thread in self._threads:
            thread.start()

    def _repeat(self, piece: Piece, stopping: threading.Event) -> None:
        wakeups = self._work.wakeups
        while not stopping.is_set():
            # Before the work: a wake-up during the work counts for the next time.
            count = wakeups.count(piece.topic)
            try:
                piece.run(stopping.is_set)
            except StorageError as exc:
                _LOG.warning("%s: %s", threading.current_thread().name, exc)
                stopping.wait(_OUTAGE_S)
            except Exception:
                # The next time may succeed; without its thread, the piece is never done again.
                _LOG.exception("%s failed", threading.current_thread().name)
                stopping.wait(_DEFECT_S)
            stopping.wait(piece.rest_s)
            wakeups.wait(piece.topic, count, piece.every_s)
        self._work.close()
