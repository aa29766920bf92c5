"""Connections to a service over HTTP: those of one process, on which waiting has an end."""

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from storage.errors import BackendTimeout, BadBackendAnswer, StorageUnavailable
from storage.forks import in_child


class Failed(Exception):
    """An attempt has failed with `failure`. The texts are ours: those of the driver may hold the key.

    `untouched` says that the service certainly did nothing with the request, `passes` that the next
    attempt may succeed, `wait_s` how many seconds the service asks to wait until then.
    """

    def __init__(
        self,
        failure: StorageUnavailable,
        *,
        untouched: bool = False,
        passes: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.untouched = untouched
        self.passes = passes
        self.wait_s = wait_s


class Connections:
    """Lends connections to one service; threads share them, a child of a fork opens its own.

    `credential` is a header, and its value, that goes with each request. Cookies are not kept, and
    passwords of ~/.netrc not sent.
    """

    def __init__(self, name: str, credential: tuple[str, str], pool_size: int) -> None:
        self._name = name
        self._credential = credential
        self._pool_size = pool_size
        # How often no connection could be made.
        self.outages = 0
        self._begin()
        in_child(self._begin)

    def _begin(self) -> None:
        self._free = threading.BoundedSemaphore(self._pool_size)
        self._session = requests.Session()
        self._session.auth = self._authorized
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _TimedAdapter(pool_connections=1, pool_maxsize=self._pool_size)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def _authorized(self, request: Any) -> Any:
        header, value = self._credential
        if not value.isprintable():
            # The driver would repeat it in its error.
            unusable = f"the key for {self._name} has invalid characters for a header"
            raise Failed(StorageUnavailable(unusable), untouched=True)
        if value:
            request.headers[header] = value.encode()
        return request

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        self._session.close()

    @contextmanager
    def leased(self, deadline: float) -> Iterator[None]:
        """Wait until less than `pool_size` threads are in such a context. Raises Failed."""
        free = self._free
        if not free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            busy = StorageUnavailable(f"all connections to {self._name} are in use")
            raise Failed(busy, untouched=True)
        try:
            yield
        finally:
            free.release()

    def request(self, method: str, url: str, deadline: float, **options: Any) -> Any:
        """Return the answer, its body unread; it has to be closed. Redirects are not followed."""
        left_s = max(0.01, deadline - time.monotonic())
        # For connecting, sending and waiting together; requests hands it on to urllib3.
        patience: Any = urllib3.Timeout(total=left_s)
        with self.translated():
            return self._session.request(
                method, url, timeout=patience, allow_redirects=False, stream=True, **options
            )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise Failed for every failure of HTTP."""
        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError) as exc:
            raise self._failed(exc) from exc

    def _failed(self, exc: Exception) -> Failed:
        reasons = list(_causes(exc))

        def is_due_to(*kinds: type[BaseException]) -> bool:
            return any(isinstance(reason, kinds) for reason in reasons)

        if is_due_to(ssl.SSLCertVerificationError):
            untrusted = f"TLS with {self._name} failed: the certificate is not trusted"
            return Failed(BadBackendAnswer(untrusted), untouched=True)
        if is_due_to(urllib3.exceptions.NewConnectionError, requests.ConnectTimeout):
            self.outages += 1
            unreached = StorageUnavailable(f"{self._name} cannot be reached")
            return Failed(unreached, untouched=True, passes=True)
        if is_due_to(requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            return Failed(BackendTimeout(f"{self._name} did not answer in time"))
        if is_due_to(ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError):
            return Failed(BadBackendAnswer(f"TLS with {self._name} failed"))
        if isinstance(exc, requests.ConnectionError) and is_due_to(ConnectionError):
            ended = BadBackendAnswer(f"{self._name} ended the connection without an answer")
            return Failed(ended, passes=True)
        if isinstance(exc, UnicodeError):
            return Failed(BadBackendAnswer(f"the request to {self._name} cannot be sent"), untouched=True)
        return Failed(BadBackendAnswer(f"{self._name} sent an invalid answer: {type(exc).__name__}"))


def _causes(problem: Any) -> Iterator[BaseException]:
    """Yield an exception and what it was raised for: drivers keep that in various places."""
    seen: set[int] = set()
    pending = [problem]
    while pending:
        found = pending.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            pending += [found.__cause__, getattr(found, "reason", None), *found.args]


class _TimedReader(io.RawIOBase):
    """Reads from a socket; all waiting for bytes together takes `left_s` seconds at the most.

    Time that passes between two reads does not count.
    """

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, left_s: float) -> None:
        super().__init__()
        self._raw = raw
        self._connection = connection
        self._left_s = left_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(self._left_s)
        begun = time.monotonic()
        try:
            return self._raw.readinto(buffer)
        finally:
            self._left_s -= time.monotonic() - begun

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """Takes the time-out that the socket has when the request is sent for that of the whole answer."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        raw: Any = sock.makefile("rb", buffering=0)
        left_s = sock.gettimeout()
        assert left_s is not None
        self.fp = io.BufferedReader(_TimedReader(raw, sock, left_s))


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse


class _TimedTlsConnection(HTTPSConnection):
    response_class = _TimedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class _TimedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
