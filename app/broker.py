"""The way to the broker of Celery: whether it answers, and who is told that there is something to do."""

import logging
import os
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from kombu.connection import Connection

from app.protocol.errors import Refusal

_LOG = logging.getLogger(__name__)

# The broker has so long to answer.
_TIMEOUT_S: Final = 2.0
# However often it rings, wake-ups are sent this far apart; after a failure, a little further.
_GAP_S: Final = 0.02
_PAUSE_S: Final = 1.0
# A connection that is not used for so long is closed: nobody would notice that it is dead.
_IDLE_S: Final = 30.0


def connect(celery: Any) -> Connection:
    """Return an open connection on which nothing takes for ever. Raises what the driver does."""
    url = celery.conf.broker_url
    options = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    if urlsplit(url).scheme.startswith("amqp"):
        options = {"read_timeout": _TIMEOUT_S, "write_timeout": _TIMEOUT_S}
    connection: Connection = celery.connection_for_write(
        heartbeat=0, connect_timeout=_TIMEOUT_S, transport_options=options
    )
    try:
        # Each of several brokers once.
        connection.ensure_connection(max_retries=url.count(";"), timeout=_TIMEOUT_S)
    except BaseException:
        connection.release()
        raise
    return connection


def check_broker(celery: Any) -> None:
    """Return if the broker answers, within seconds. Raises Refusal."""
    try:
        with connect(celery) as connection:
            connection.channel().close()
    except Exception as exc:
        # The drivers have many kinds. What they say may have the URL in it, and so a password.
        raise Refusal(503, f"the broker does not answer ({type(exc).__name__})") from None


class WakeUps:
    """Has `send` send a wake-up soon after each ring, by a thread of its own: no request waits for that.

    What rings meanwhile shares the next one. While the broker does not answer nothing is sent, and
    the sweeps of beat find what there is to do. `send` is given an open connection.
    """

    def __init__(self, celery: Any, send: Callable[[Connection], object]) -> None:
        self._celery = celery
        self._send = send
        self._begin()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    def _begin(self) -> None:
        self._starting = threading.Lock()
        self._rung = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def ring(self) -> None:
        """Have a wake-up sent. Returns at once, and raises nothing."""
        self._rung.set()
        if self._thread is None:
            self._start()

    def stop(self) -> None:
        """End the thread; the next ring starts another one."""
        thread = self._thread
        self._ending.set()
        self._rung.set()
        if thread is not None:
            thread.join(_TIMEOUT_S * 3)
        self._begin()

    def after_fork(self) -> None:
        """Begin anew: threads do not survive a fork, and connections are not shared."""
        self._begin()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="scim wake-ups", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # There is no room for a thread now; the next ring tries again.
                _LOG.warning("the thread that sends wake-ups to the broker cannot start")
                return
            self._thread = thread

    def _run(self) -> None:
        rung, ending, outage = self._rung, self._ending, Outage()
        connection: Connection | None = None
        while True:
            if not rung.wait(_IDLE_S):
                _closed(connection)
                connection = None
                rung.wait()
            if ending.is_set():
                _closed(connection)
                return
            rung.clear()
            try:
                connection = connection or connect(self._celery)
                self._send(connection)
            except Exception as exc:
                # Whatever it is, the next time may be better; a thread that is gone helps nobody.
                outage.began(exc)
                _closed(connection)
                connection = None
                ending.wait(_PAUSE_S)
            else:
                outage.ended()
                ending.wait(_GAP_S)


class Outage:
    """Says once that the broker takes nothing, and once that it does again."""

    def __init__(self) -> None:
        self._is_on = False

    def began(self, exc: Exception) -> None:
        """Note a failure; its kind is told, not its words, which may hold the URL."""
        if not self._is_on:
            _LOG.warning(
                "the broker does not accept wake-ups (%s): work waits for the next sweep of celery beat",
                type(exc).__name__,
            )
            _LOG.debug("traceback:\n%s", "".join(traceback.format_tb(exc.__traceback__)))
        self._is_on = True

    def ended(self) -> None:
        """Note a success."""
        if self._is_on:
            _LOG.info("the broker accepts wake-ups again")
        self._is_on = False


def _closed(connection: Connection | None) -> None:
    """Close a connection, whatever state it is in."""
    if connection is not None:
        try:
            connection.release()
        except Exception as exc:
            _LOG.debug("closing the connection to the broker failed (%s)", type(exc).__name__)


def _after_fork(reference: "weakref.ref[WakeUps]") -> None:
    wake_ups = reference()
    if wake_ups is not None:
        wake_ups.after_fork()
