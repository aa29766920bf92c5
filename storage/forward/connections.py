"""The connections of one process to the upstream, and the names of what can fail on them."""

import os
import ssl
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.auth import AuthBase

from storage.deadline import DeadlineAdapter, causes
from storage.errors import BackendTimeout, BadBackendAnswer, StorageUnavailable


class _Bearer(AuthBase):
    """Sends the key. A session with an auth of its own takes none from the URL or from ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}".encode() if key else None

    def __call__(self, request: Any) -> Any:
        if self._header is not None:
            request.headers["Authorization"] = self._header
        return request


class NotSent(StorageUnavailable):
    """No request left for the upstream."""


class NotReached(NotSent):
    """No connection was made; the next attempt may succeed."""


class BrokenOff(BadBackendAnswer):
    """The connection was lost before an answer began, as when the upstream restarts."""


class Connections:
    """Keeps up to `pool_size` idle connections; a child of a fork opens its own."""

    def __init__(self, name: str, key: str, pool_size: int) -> None:
        self._name = name
        self._key = key.strip()
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._session: Any = None
        self._abandoned: list[Any] = []
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    def after_fork(self) -> None:
        """Forget the connections of the parent process without closing them in its name."""
        self._lock = threading.Lock()
        self._abandoned.append(self._session)
        self._session = None

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def request(self, method: str, url: str, timeout_s: float, **options: Any) -> Any:
        """Return the answer, its body unread; it has to be closed. Redirects are not followed."""
        if not self._key.isprintable():
            raise NotSent(f"the key for {self._name} has invalid characters for a header")
        with self.translated():
            return self._opened().request(
                method, url, timeout=(timeout_s, timeout_s), allow_redirects=False, stream=True, **options
            )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Give failures the names that they have everywhere, without the driver's texts.

        Those may hold headers, and with them the key.
        """
        try:
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise self._failure(exc) from exc

    def _failure(self, exc: Exception) -> StorageUnavailable:
        reasons = list(causes(exc))

        def is_due_to(*kinds: type[BaseException]) -> bool:
            return any(isinstance(reason, kinds) for reason in reasons)

        if is_due_to(ssl.SSLCertVerificationError):
            return NotSent(f"the certificate of {self._name} is not trusted")
        if is_due_to(urllib3.exceptions.NewConnectionError, requests.ConnectTimeout):
            return NotReached(f"{self._name} cannot be reached")
        if is_due_to(requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
            return BackendTimeout(f"{self._name} did not answer in time")
        if is_due_to(ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError):
            return StorageUnavailable(f"TLS with {self._name} failed")
        if isinstance(exc, requests.ConnectionError) and is_due_to(ConnectionError):
            return BrokenOff(f"{self._name} closed the connection early")
        return BadBackendAnswer(f"{self._name} sent an invalid HTTP answer: {type(exc).__name__}")

    def _opened(self) -> Any:
        session = self._session
        if session is None:
            with self._lock:
                if self._session is None:
                    self._session = self._new_session()
                session = self._session
        return session

    def _new_session(self) -> Any:
        session = requests.Session()
        session.auth = _Bearer(self._key)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = DeadlineAdapter(pool_connections=2, pool_maxsize=self._pool_size)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


def _after_fork(reference: "weakref.ref[Connections]") -> None:
    connections = reference()
    if connections is not None:
        connections.after_fork()
