"""The broker of Celery: it carries wake-ups to other processes, and may lose all of them."""

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
from app.work.registry import Driver

_LOG = logging.getLogger(__name__)

# Seconds within which the broker must answer.
_TIMEOUT_S: Final = 2.0
# The least time between two wake-ups, and the pause after a failure.
_GAP_S: Final = 0.02
_PAUSE_S: Final = 1.0
# A connection without use is closed after this time: the process would not notice that it is dead.
_IDLE_S: Final = 30.0


class Broker:
    """The broker of a Celery application, as one process sees it."""

    def __init__(self, celery: Any) -> None:
        self._celery = celery
        self._is_out = False

    def connect(self) -> Connection:
        """Return an open connection with time-outs for everything. Raises what the driver does."""
        url = self._celery.conf.broker_url
        options = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
        if urlsplit(url).scheme.startswith("amqp"):
            options = {"read_timeout": _TIMEOUT_S, "write_timeout": _TIMEOUT_S}
        connection: Connection = self._celery.connection_for_write(
            heartbeat=0, connect_timeout=_TIMEOUT_S, transport_options=options
        )
        try:
            # Each of several brokers once.
            connection.ensure_connection(max_retries=url.count(";"), timeout=_TIMEOUT_S)
        except BaseException:
            connection.release()
            raise
        return connection

    def check(self) -> None:
        """Return if the broker answers, within seconds. Raises Refusal."""
        try:
            with self.connect() as connection:
                connection.channel().close()
        except Exception as exc:
            # The drivers have many kinds. Their texts may contain the URL, and so a password.
            raise Refusal(503, f"the broker does not answer ({type(exc).__name__})") from None

    def accepts(self, send: Callable[[], object]) -> bool:
        """Call `send`, and return whether it raised nothing; the log has the first failure, and its end.

        The log has the kind of a failure, not its text, which may contain the URL.
        """
        try:
            send()
        except Exception as exc:
            if not self._is_out:
                _LOG.warning(
                    "the broker does not accept wake-ups (%s): work waits for the next sweep of celery beat",
                    type(exc).__name__,
                )
                _LOG.debug("traceback:\n%s", "".join(traceback.format_tb(exc.__traceback__)))
            self._is_out = True
            return False
        if self._is_out:
            _LOG.info("the broker accepts wake-ups again")
        self._is_out = False
        return True


class Messages(Driver):
    """Has Celery do the work: sends a wake-up soon after work became due, from a thread of its own.

    Work that becomes due meanwhile shares the next wake-up. While the broker does not answer, nothing
    is sent, and the sweeps of beat find the work. `send` receives an open connection.
    """

    def __init__(self, broker: Broker, send: Callable[[Connection], object]) -> None:
        self._broker = broker
        self._send = send
        self._begin()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    def _begin(self) -> None:
        self._starting = threading.Lock()
        self._due = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def forward(self) -> None:
        """Have a wake-up sent. Returns at once, and raises nothing."""
        self._due.set()
        if self._thread is None:
            self._start()

    def stop(self) -> None:
        """End the thread; the next wake-up starts another one."""
        thread = self._thread
        self._ending.set()
        self._due.set()
        if thread is not None:
            thread.join(_TIMEOUT_S * 3)
        self._begin()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="scim wake-ups", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The system allows no more threads; the next wake-up tries again.
                _LOG.warning("the thread that sends wake-ups to the broker cannot start")
                return
            self._thread = thread

    def _run(self) -> None:
        due, ending = self._due, self._ending
        connection: Connection | None = None

        def send() -> None:
            nonlocal connection
            connection = connection or self._broker.connect()
            self._send(connection)

        while True:
            if not due.wait(_IDLE_S):
                _close(connection)
                connection = None
                due.wait()
            if ending.is_set():
                _close(connection)
                return
            due.clear()
            if self._broker.accepts(send):
                ending.wait(_GAP_S)
            else:
                _close(connection)
                connection = None
                ending.wait(_PAUSE_S)


def _close(connection: Connection | None) -> None:
    """Close a connection in any state."""
    if connection is not None:
        try:
            connection.release()
        except Exception as exc:
            _LOG.debug("closing the connection to the broker failed (%s)", type(exc).__name__)


def _after_fork(reference: "weakref.ref[Messages]") -> None:
    # Threads do not survive a fork, and connections are not shared.
    messages = reference()
    if messages is not None:
        messages._begin()
