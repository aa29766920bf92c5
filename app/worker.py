"""The work that follows requests: delivering events, in threads of a web process or of `scim worker`."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from app.delivery import Delivery
from app.protocol.asynchronous import AsyncRequests
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

Until = Callable[[], bool]

# How often to look for work that nobody rang for: another process's, or what is due again.
_LOOK_S: Final = 1.0
# Changes are not looked at more often than that, nor receivers: each time takes from those who serve
# requests, and where something is to be done, more of it comes together. Somebody waits for requests.
_REST_S: Final = 0.05
# How often to look for what processes left behind, and for what is kept too long.
_SWEEP_S: Final = 5.0
_RETENTION_S: Final = 60.0
# How long after it has loaded the application a server forks the processes that serve requests.
_SETTLED_S: Final = 3.0
# How many asynchronous requests one process carries out at a time.
_AT_A_TIME: Final = 2


class Worker:
    """Does the work of one delivery: a thread for each piece of it, so that none holds up another.

    `pieces` maps the name of each piece to what does all of it that is due, or less when the function
    it is given says that it is time to end, and returns how much that was. A piece may be done in
    several processes at the same time.
    """

    def __init__(self, delivery: Delivery, requests: AsyncRequests | None = None) -> None:
        self._delivery = delivery
        self._process = 0
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._forked = threading.Event()
        self._bells: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._next_sweep = self._next_retention = 0.0
        self.pieces: dict[str, Callable[[Until], int]] = {}
        self._checks: dict[str, Callable[[], bool]] = {}
        if delivery.notes is not None or requests is not None:
            self.pieces["events"] = self._look
        if requests is not None:
            for number in range(1, _AT_A_TIME + 1):
                self._add(f"requests {number}", requests.run, delivery.jobs.is_due)
        if delivery.publishing.is_on:
            for receiver in delivery.publishing.receivers:
                pusher = delivery.pusher()
                name = f"push {receiver.name}"
                self._add(name, partial(pusher.run, receiver), partial(pusher.is_due, receiver))

    def _add(self, name: str, work: Callable[[Until], int], is_due: Callable[[], bool]) -> None:
        self.pieces[name] = work
        self._checks[name] = is_due

    def due(self) -> list[str]:
        """Return the pieces, "events" aside, of which something is due that nobody is doing."""
        return [name for name, is_due in self._checks.items() if is_due()]

    def run_once(self) -> None:
        """Do all that is due now, here; for tests and for commands."""
        for work in self.pieces.values():
            work(lambda: False)

    def ensure_started(self) -> None:
        """Start the threads in this process, unless they run: threads do not survive a fork."""
        if self._process == os.getpid():
            return
        with self._starting:
            if self._process != os.getpid():
                self._start()
                self._process = os.getpid()

    def start_soon(self) -> None:
        """Start the threads in a moment, in each process that forks no other meanwhile.

        One that forks others does not serve requests itself; and what its threads are doing at that
        moment would leave locks to the others that nobody gives back.
        """
        self._await_fork()
        # Later asked for: a child has an event of its own.
        os.register_at_fork(after_in_parent=lambda: self._forked.set(), after_in_child=self._await_fork)

    def _await_fork(self) -> None:
        self._starting, self._forked = threading.Lock(), threading.Event()
        forked = self._forked

        def start() -> None:
            if not forked.wait(_SETTLED_S):
                self.ensure_started()

        threading.Thread(target=start, name="scim start", daemon=True).start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the threads, and wait for what they are doing, all of them together so long."""
        deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._ring("")
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._process = 0

    def _start(self) -> None:
        self._stopping = threading.Event()
        self._bells, self._threads = {}, []
        for name, work in self.pieces.items():
            bell = self._bells[name] = threading.Event()
            rest_s = 0.0 if name.startswith("requests") else _REST_S
            thread = threading.Thread(
                target=self._repeat, args=(work, bell, rest_s), name=f"scim {name}", daemon=True
            )
            self._threads.append(thread)
        self._delivery.bell.answer = self._ring
        for thread in self._threads:
            thread.start()

    def _ring(self, what: str) -> None:
        for name, bell in self._bells.items():
            if name.startswith(what):
                bell.set()

    def _repeat(self, work: Callable[[Until], int], bell: threading.Event, rest_s: float) -> None:
        stopping = self._stopping
        while not stopping.is_set():
            bell.clear()
            try:
                work(stopping.is_set)
            except StorageError as exc:
                _LOG.warning("%s: %s", threading.current_thread().name, exc)
                stopping.wait(_LOOK_S)
            except Exception:
                # Whatever it is, the next time may be better; a thread that is gone helps nobody.
                _LOG.exception("%s failed", threading.current_thread().name)
                stopping.wait(_SWEEP_S)
            # Whoever rings meanwhile is heard afterwards.
            stopping.wait(rest_s)
            bell.wait(_LOOK_S)
        self._delivery.database.close()

    def _look(self, until: Until) -> int:
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_S
            self._delivery.settle_intents()
        made = self._delivery.dispatcher.run(until)
        if made:
            self._ring("push")
        if now >= self._next_retention:
            self._next_retention = now + _RETENTION_S
            self._delivery.retention.run()
            self._delivery.jobs.expire()
        return made


class StartsWorker:
    """WSGI middleware that sees to it that the worker runs in the process that serves requests."""

    def __init__(self, application: Any, worker: Worker) -> None:
        self._application = application
        self._worker = worker

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self._worker.ensure_started()
        result: Iterable[bytes] = self._application(environ, start_response)
        return result
