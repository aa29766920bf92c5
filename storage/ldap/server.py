"""The LDAP server: connections to it, and their errors."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ldap

from storage.errors import (
    BackendTimeout,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
    UnsupportedByBackend,
    ValueRefused,
    after_write,
)
from storage.forks import in_child
from storage.ldap.wire import Session
from telemetry.catalogue import CONNECTION_WAITS

_CONNECT_S = 5
_ANSWER_S = 30
_KEEPALIVE_S = 60

# After these errors, the connection is closed.
LOST = (
    ldap.SERVER_DOWN,
    ldap.CONNECT_ERROR,
    ldap.TIMEOUT,
    ldap.UNAVAILABLE,
    ldap.LOCAL_ERROR,
    ldap.DECODING_ERROR,
    ldap.ENCODING_ERROR,
    ldap.PROTOCOL_ERROR,
)
# Results for a value, or for an attribute that holds it.
_REFUSED = (
    ldap.CONSTRAINT_VIOLATION,
    ldap.INVALID_SYNTAX,
    ldap.OBJECT_CLASS_VIOLATION,
    ldap.NAMING_VIOLATION,
    ldap.INVALID_DN_SYNTAX,
    ldap.UNDEFINED_TYPE,
    ldap.NO_SUCH_ATTRIBUTE,
    ldap.TYPE_OR_VALUE_EXISTS,
    ldap.INAPPROPRIATE_MATCHING,
    ldap.NOT_ALLOWED_ON_RDN,
)
# Results for a change that the server cannot make to this entry.
_UNSUPPORTED = (
    ldap.NOT_ALLOWED_ON_NONLEAF,
    ldap.NO_OBJECT_CLASS_MODS,
    ldap.AFFECTS_MULTIPLE_DSAS,
    ldap.UNAVAILABLE_CRITICAL_EXTENSION,
)
_READ_ONLY = (
    ldap.INSUFFICIENT_ACCESS,
    ldap.STRONG_AUTH_REQUIRED,
    ldap.CONFIDENTIALITY_REQUIRED,
    ldap.UNWILLING_TO_PERFORM,
    ldap.REFERRAL,
)
# Results of a bind with the wrong name or password.
_NOT_BOUND = (
    ldap.INVALID_CREDENTIALS,
    ldap.INAPPROPRIATE_AUTH,
    ldap.INVALID_DN_SYNTAX,
    ldap.NO_SUCH_OBJECT,
    ldap.UNWILLING_TO_PERFORM,
    ldap.INSUFFICIENT_ACCESS,
    ldap.STRONG_AUTH_REQUIRED,
    ldap.CONFIDENTIALITY_REQUIRED,
)
_LIMITS = (ldap.SIZELIMIT_EXCEEDED, ldap.ADMINLIMIT_EXCEEDED)


@dataclass(frozen=True)
class Target:
    """The URL of the server, and the name and password to bind with."""

    url: str
    username: str
    password: str = field(repr=False)
    start_tls: bool = False
    ca_file: str | None = None


class Directory:
    """A pool of connections to one server; one thread uses a connection at a time.

    A child of a fork opens its own connections and does not touch those of its parent. With `pool_size`
    connections in use, the next caller waits up to `timeout_s` seconds. Errors of LDAP within a lease
    leave it as a StorageError.
    """

    def __init__(self, target: Target, pool_size: int, timeout_s: float = 30.0) -> None:
        self._target = target
        self._pool_size = pool_size
        self._timeout_s = timeout_s
        self._start()
        in_child(self._start)

    def _start(self) -> None:
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._pool_size)
        self._local = threading.local()

    @contextmanager
    def lease(self) -> Iterator[Session]:
        """Lend a connection to this thread; a lease within a lease has the same connection."""
        held: Session | None = getattr(self._local, "session", None)
        if held is not None:
            yield held
            return
        if not self._places.acquire(blocking=False):
            CONNECTION_WAITS.inc("ldap")
            if not self._places.acquire(timeout=self._timeout_s):
                raise StorageUnavailable(f"all connections to {self._target.url} are in use")
        written: list[str] = []
        try:
            with after_write(written), self._translated():
                session = self._taken()
                self._local.session, session.written = session, written
                try:
                    yield session
                except LOST:
                    session.close()
                    raise
                except BaseException:
                    self._give_back(session)
                    raise
                self._give_back(session)
        finally:
            self._local.session = None
            self._places.release()

    def close(self) -> None:
        """Close the idle connections; the next lease opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _taken(self) -> Session:
        while True:
            with self._lock:
                session = self._idle.pop() if self._idle else None
            if session is None:
                return self._opened()
            if not session.is_lost:
                return session
            session.close()

    def _give_back(self, session: Session) -> None:
        if session.is_spent:
            session.close()
            return
        with self._lock:
            self._idle.append(session)

    def _opened(self) -> Session:
        connection = self._connected()
        try:
            connection.simple_bind_s(self._target.username, self._target.password)
        except _NOT_BOUND as exc:
            target = self._target
            problem = f"{target.url} refuses the credentials of {target.username}: {sentence(exc)}"
            raise StorageUnavailable(problem) from exc
        return Session(connection, select.poll())

    def fits(self, dn: str, password: str) -> bool:
        """Return whether a client can bind as an entry with a password."""
        if not password:
            # A bind without a password is anonymous and succeeds (RFC 4513 section 5.1.2).
            return False
        with self._translated():
            connection = self._connected()
            try:
                connection.simple_bind_s(dn, password)
                return True
            except (ldap.INVALID_CREDENTIALS, ldap.INAPPROPRIATE_AUTH, ldap.UNWILLING_TO_PERFORM):
                return False
            finally:
                connection.unbind_ext_s()

    def _connected(self) -> Any:
        target = self._target
        connection: Any = ldap.initialize(target.url)
        connection.set_option(ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3)
        connection.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, _CONNECT_S)
        # The limit of StartTLS; `timeout` is the limit of other operations.
        connection.set_option(ldap.OPT_TIMEOUT, _ANSWER_S)
        # A signal to this process does not interrupt an operation.
        connection.set_option(ldap.OPT_RESTART, ldap.OPT_ON)
        connection.set_option(ldap.OPT_X_KEEPALIVE_IDLE, _KEEPALIVE_S)
        connection.timeout = _ANSWER_S
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        try:
            if target.ca_file:
                connection.set_option(ldap.OPT_X_TLS_CACERTFILE, target.ca_file)
            connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        except ValueError as exc:
            trusted = target.ca_file or "the system"
            raise StorageUnavailable(f"{target.url}: no certificates can be read from {trusted}") from exc
        if target.start_tls:
            connection.start_tls_s()
        return connection

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Raise refusals of the server in this context as StorageErrors, before the lease ends."""
        try:
            yield
        except LOST:
            raise
        except ldap.LDAPError as exc:
            raise self._failure(exc) from exc

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the errors of the driver in this context as StorageErrors."""
        try:
            yield
        except ldap.LDAPError as exc:
            raise self._failure(exc) from exc
        except UnicodeEncodeError as exc:
            raise ValueRefused("a text has a lone surrogate, which cannot be stored") from exc
        except OSError as exc:
            raise StorageUnavailable(f"{self._target.url}: {exc.strerror}") from exc

    def _failure(self, exc: ldap.LDAPError) -> StorageError:
        url, said = self._target.url, sentence(exc)
        if isinstance(exc, (ldap.TIMEOUT, ldap.TIMELIMIT_EXCEEDED)):
            return BackendTimeout(f"{url} did not answer in time")
        if isinstance(exc, _READ_ONLY):
            return StorageReadOnly(f"the directory does not accept the change: {said}")
        if isinstance(exc, _REFUSED):
            return ValueRefused(f"the directory refuses a value: {said}")
        if isinstance(exc, _UNSUPPORTED):
            return UnsupportedByBackend(f"the directory cannot make the change: {said}")
        if isinstance(exc, _LIMITS):
            return StorageUnavailable(
                f"{url} does not let {self._target.username} read whole lists: raise its limits "
                f"(size.prtotal=unlimited in OpenLDAP): {said}"
            )
        return StorageUnavailable(f"{url} cannot be used: {said}")


def sentence(exc: ldap.LDAPError) -> str:
    """Return the description of an error by the library and the server."""
    said = exc.args[0] if exc.args and isinstance(exc.args[0], dict) else {}
    parts = [str(said.get("desc", "")), str(said.get("info", ""))]
    return " ".join(": ".join(part for part in parts if part).split()) or type(exc).__name__
