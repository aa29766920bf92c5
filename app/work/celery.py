"""The driver of Celery: messages wake its workers, and the state database says what is due.

A lost message delays work until the next sweep of beat, a few seconds later; a second message for the
same work finds nothing to do. So the broker stores nothing that must survive.
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
from kombu.messaging import Producer

from app.work.broker import Broker, Messages
from app.work.registry import DEFAULT_BASE, Piece, Work
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

# Each task has a queue of its own name.
WAKE: Final = "scim.wake"
PIECE: Final = "scim.piece"
# What workers of release 0.2.0 send each other in place of PIECE. They would take a message that has
# a base from this queue, and fail.
_PIECE_ALONE: Final = "scim.work"
_TASKS: Final = (WAKE, PIECE, _PIECE_ALONE)
# How often beat sends a wake-up: for work that is due again, and work that a process left behind.
_SWEEP_S: Final = 2.0
# A process stays with one piece of the work for so long while other pieces may be waiting.
_TURN_S: Final = 3.0
# A message older than this, in seconds, tells nothing that sweeps have not found since.
_EXPIRES_S: Final = 600
# A certificate must be valid, and be that of the host, unless the URL says otherwise.
_TLS: Final = {
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True},
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None},
}
# Redis knows no acknowledgements. Imitated ones come back after an hour, and end a worker that has one
# to give when Redis goes away.
_TAKES_FOR_GOOD: Final = {scheme: {"ack_emulation": False} for scheme in ("redis", "rediss")}
# They log a line for each message, which would be most of the log.
_CHATTY: Final = ("celery.worker.strategy", "celery.app.trace", "celery.beat")


def make_celery(
    url: str, work: Work, make_work: Callable[[], Work]
) -> tuple[Celery, Messages, Broker]:
    """Return the Celery application whose tasks do `work`, what sends it wake-ups, and its broker at `url`.

    `make_work` makes the same work anew, for a process that is forked from this one: it must not use
    what is open here. Raises ImportError when the client of the broker is not installed.
    """
    if urlsplit(url).scheme.startswith("redis"):
        # Celery would report this at the first use only, and not clearly.
        import_module("redis")
    celery = Celery("scim", set_as_current=False)
    celery.conf.update(_configuration(url))
    broker = Broker(celery)
    _add_tasks(celery, broker, _per_process(work, make_work))
    signals.setup_logging.connect(_keep_log, dispatch_uid="scim")

    def send(connection: Connection) -> None:
        celery.tasks[WAKE].send(Producer(connection, auto_declare=False))

    return celery, Messages(broker, send), broker


def _configuration(url: str) -> dict[str, Any]:
    scheme = urlsplit(url).scheme
    return {
        "broker_url": url,
        "broker_use_ssl": _TLS.get(scheme, False),
        "broker_connection_retry_on_startup": True,
        # A worker that gives up does not come back by itself.
        "broker_connection_max_retries": None,
        "task_queues": [Queue(name, Exchange(""), routing_key=name) for name in _TASKS],
        "task_routes": {name: {"queue": name} for name in _TASKS},
        "task_default_delivery_mode": "transient",
        "task_ignore_result": True,
        "task_acks_late": scheme not in _TAKES_FOR_GOOD,
        "task_reject_on_worker_lost": scheme not in _TAKES_FOR_GOOD,
        "broker_transport_options": _TAKES_FOR_GOOD.get(scheme, {}),
        "worker_prefetch_multiplier": 1,
        "beat_schedule": {"sweep": {"task": WAKE, "schedule": _SWEEP_S}},
        # It stores no file: a sweep has no state.
        "beat_scheduler": "celery.beat:Scheduler",
    }


def _add_tasks(celery: Celery, broker: Broker, work_here: Callable[[], Work]) -> None:
    # A task is made of a function: Celery takes a method for one that lacks its first argument.
    def wake() -> None:
        _look(celery, work_here)

    def do(base: str, piece: str) -> None:
        _do(celery, work_here, base, piece)

    def do_alone(piece: str) -> None:
        _do(celery, work_here, DEFAULT_BASE, piece)

    for name, base, function in (
        (WAKE, _WakeTask, wake),
        (PIECE, _PieceTask, do),
        (_PIECE_ALONE, Task, do_alone),
    ):
        celery.task(name=name, base=base, broker=broker, shared=False, lazy=False)(function)


class _WakeTask(Task):  # type: ignore[misc]
    """A wake-up for all bases: one that no worker has taken yet stands for all that follow.

    It has no arguments, as in release 0.2.0.
    """

    broker: Broker

    def apply_async(
        self, args: Any = None, kwargs: Any = None, producer: Producer | None = None, **options: Any
    ) -> None:
        """Send one, unless one is waiting; for beat and for tasks: raises nothing."""

        def send() -> None:
            with self.app.producer_or_acquire(producer) as usable:
                self.send(usable)

        self.broker.accepts(send)

    def send(self, producer: Producer) -> None:
        """Send one, unless one is waiting: without a worker, they do not accumulate."""
        queue = self.app.amqp.queues[WAKE]

        def waiting() -> int:
            return int(queue.bind(producer.channel).queue_declare().message_count)

        if not producer.connection.ensure(producer, waiting, max_retries=1)():
            super().apply_async((), producer=producer, retry=False)


class _PieceTask(Task):  # type: ignore[misc]
    """One piece of the work of one base: (base, piece)."""

    broker: Broker

    def send(self, base: str, piece: str) -> None:
        """Have a worker do a piece; raises nothing."""
        self.broker.accepts(lambda: self.apply_async((base, piece), expires=_EXPIRES_S))


def _per_process(work: Work, make_work: Callable[[], Work]) -> Callable[[], Work]:
    """Return a function that returns `work` in this process, and new work in each forked from it."""
    made, making = {os.getpid(): work}, threading.Lock()

    def here() -> Work:
        process = os.getpid()
        if process not in made:
            with making:
                if process not in made:
                    made[process] = make_work()
        return made[process]

    return here


def _look(celery: Celery, work_here: Callable[[], Work]) -> None:
    """Do the brief pieces that are due, and have the others done."""
    with _until_the_next_sweep(WAKE):
        work = work_here()
        for piece in work.due():
            if not piece.is_brief:
                celery.tasks[PIECE].send(work.base, piece.name)
            elif _turn(piece):
                celery.tasks[WAKE].apply_async()


def _do(celery: Celery, work_here: Callable[[], Work], base: str, name: str) -> None:
    """Do one piece of the work for one turn, and have the rest of it done later."""
    with _until_the_next_sweep(name):
        work = work_here()
        if base != work.base or name not in work.pieces:
            _LOG.warning("unknown task %s/%s: give all processes the same settings", base, name)
        elif _turn(work.pieces[name]):
            celery.tasks[PIECE].send(base, name)


def _turn(piece: Piece) -> bool:
    """Do a piece of the work for a while, and return whether there may be more of it."""
    end = time.monotonic() + _TURN_S

    def is_over() -> bool:
        return time.monotonic() >= end

    # Until a pass finds nothing: another process that had more, and saw the work being done, relies
    # on one more look.
    while piece.run(is_over):
        if is_over():
            return True
    return False


@contextmanager
def _until_the_next_sweep(what: str) -> Iterator[None]:
    """End work that the storage is in the way of, with a warning."""
    try:
        yield
    except StorageError as exc:
        _LOG.warning("%s: %s", what, exc)


def _keep_log(**_: Any) -> None:
    """Leave the log as the settings want it, in place of Celery's own."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
