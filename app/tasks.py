"""Celery: what is due stands in the state database, and messages wake who does it.

A message that is lost costs seconds, until the next sweep of beat; one that comes twice finds
nothing left to do. So nothing waits in the broker, and nothing has to survive there.
"""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from celery import Celery, Task, signals
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Producer

from app.broker import Outage
from app.worker import Worker
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

WAKE: Final = "scim.wake"
WORK: Final = "scim.work"
# How often beat has somebody look for what nobody was woken for: what is due again, what was left.
_SWEEP_S: Final = 2.0
# How long a process stays with one piece of the work while others may be waiting.
_TURN_S: Final = 3.0
# A message that is older than this, in seconds, tells nothing that a sweep has not found since.
_EXPIRES_S: Final = 600
# A certificate must be valid, and be that of the host, unless the URL says otherwise.
_TLS: Final = {
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True},
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None},
}
# Redis knows no acknowledgements. Those that are imitated come back after an hour, which is no use, and
# end a worker that has any to give when Redis goes away.
_TAKES_FOR_GOOD: Final = {scheme: {"ack_emulation": False} for scheme in ("redis", "rediss")}
# A line for each message would be most of what is in the log.
_CHATTY: Final = ("celery.worker.strategy", "celery.app.trace", "celery.beat")


def make_celery(url: str, worker: Worker, make_worker: Callable[[], Worker]) -> Celery:
    """Return the Celery application whose tasks do the work of `worker`, woken through `url`.

    `make_worker` makes another one, for a process that is forked from this one: what is open here
    must not be used there. Raises ImportError when the client of the broker is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme.startswith("redis"):
        # Celery would not say that it is missing before it is used, and not clearly.
        import_module("redis")
    celery = Celery("scim", set_as_current=False)
    celery.conf.update(
        broker_url=url,
        broker_use_ssl=_TLS.get(scheme, False),
        broker_connection_retry_on_startup=True,
        # Whoever gives up does not come back by himself.
        broker_connection_max_retries=None,
        task_queues=[Queue(name, Exchange(""), routing_key=name) for name in (WAKE, WORK)],
        task_routes={name: {"queue": name} for name in (WAKE, WORK)},
        task_default_delivery_mode="transient",
        task_ignore_result=True,
        task_acks_late=scheme not in _TAKES_FOR_GOOD,
        task_reject_on_worker_lost=scheme not in _TAKES_FOR_GOOD,
        broker_transport_options=_TAKES_FOR_GOOD.get(scheme, {}),
        worker_prefetch_multiplier=1,
        beat_schedule={"sweep": {"task": WAKE, "schedule": _SWEEP_S}},
        # It keeps no file: there is nothing to remember about a sweep.
        beat_scheduler="celery.beat:Scheduler",
    )
    turns = _Turns(celery, _WorkerHere(worker, make_worker))

    # A task is made of a function: Celery takes a method for one that lacks its first argument.
    def wake() -> None:
        turns.wake()

    def work(piece: str) -> None:
        turns.work(piece)

    celery.task(name=WAKE, base=_WakeTask, shared=False, lazy=False)(wake)
    celery.task(name=WORK, shared=False, lazy=False)(work)
    signals.setup_logging.connect(_keep_log, dispatch_uid="scim")
    return celery


def send_wake_up(celery: Celery, connection: Connection) -> None:
    """Have somebody look for what is due. Raises what the driver does."""
    celery.tasks[WAKE].send(Producer(connection, auto_declare=False))


class _WakeTask(Task):  # type: ignore[misc]
    """A wake-up: one that nobody has taken yet stands for all that follow."""

    def __init__(self) -> None:
        self._outage = Outage()

    def apply_async(
        self, args: Any = None, kwargs: Any = None, producer: Producer | None = None, **options: Any
    ) -> None:
        """Have it sent, unless one is waiting; for beat and for tasks: raises nothing."""
        try:
            with self.app.producer_or_acquire(producer) as usable:
                self.send(usable)
        except Exception as exc:
            # The drivers have many kinds.
            self._outage.began(exc)
        else:
            self._outage.ended()

    def send(self, producer: Producer) -> None:
        """Send it, unless one is waiting: however long nobody takes any, they do not pile up."""
        queue = self.app.amqp.queues[WAKE]

        def waiting() -> int:
            return int(queue.bind(producer.channel).queue_declare().message_count)

        if not producer.connection.ensure(producer, waiting, max_retries=1)():
            super().apply_async((), producer=producer, retry=False)


class _WorkerHere:
    """The worker to use in this process."""

    def __init__(self, worker: Worker, make_worker: Callable[[], Worker]) -> None:
        self._worker = worker
        self._make_worker = make_worker
        self._process = os.getpid()
        self._making = threading.Lock()

    def __call__(self) -> Worker:
        if self._process != os.getpid():
            with self._making:
                if self._process != os.getpid():
                    self._worker = self._make_worker()
                    self._process = os.getpid()
        return self._worker


class _Turns:
    """The tasks. Each does one piece of the work for one turn, and hands on what is left."""

    def __init__(self, celery: Celery, worker_here: _WorkerHere) -> None:
        self._celery = celery
        self._worker_here = worker_here
        self._outage = Outage()

    def wake(self) -> None:
        """Make events of what was changed, and have done whatever is due."""
        with _left_to_the_next_sweep("events"):
            worker = self._worker_here()
            if "events" in worker.pieces and self._turn(worker, "events"):
                self._celery.tasks[WAKE].apply_async()
            for piece in worker.due():
                self._send(piece)

    def work(self, piece: str) -> None:
        """Do one piece of the work."""
        with _left_to_the_next_sweep(piece):
            worker = self._worker_here()
            if piece not in worker.pieces:
                _LOG.warning("unknown task %s: give all processes the same settings", piece)
            elif self._turn(worker, piece):
                self._send(piece)

    def _turn(self, worker: Worker, piece: str) -> bool:
        """Do a piece of the work for a while, and return whether there may be more of it."""
        end = time.monotonic() + _TURN_S

        def is_over() -> bool:
            return time.monotonic() >= end

        # Once more than there was something to do: who came with more, and saw that somebody is
        # doing it, counts on that.
        while worker.pieces[piece](is_over):
            if is_over():
                return True
        return False

    def _send(self, piece: str) -> None:
        try:
            self._celery.tasks[WORK].apply_async((piece,), expires=_EXPIRES_S)
        except OperationalError as exc:
            self._outage.began(exc)
        else:
            self._outage.ended()


@contextmanager
def _left_to_the_next_sweep(piece: str) -> Iterator[None]:
    """Let a piece of the work end when the storage is in its way."""
    try:
        yield
    except StorageError as exc:
        _LOG.warning("%s: %s", piece, exc)


def _keep_log(**_: Any) -> None:
    """Leave the log as the settings want it, in place of Celery's own."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
