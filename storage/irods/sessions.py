"""Connections to an iRODS zone: a pool, a time-out for whole answers, and failures as storage errors."""

import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from irods import exception as answers
from irods.auth import REQUEST_IS_MISSING_KEY, ClientAuthError
from irods.connection import Connection
from irods.message import XMLMessageNotConvertibleToJSON, iRODSMessage
from irods.session import iRODSSession

from storage.errors import (
    BackendTimeout,
    BadBackendAnswer,
    StorageReadOnly,
    StorageUnavailable,
    after_write,
)
from storage.forks import in_child
from storage.irods.options import Options

# The settings of an encrypted connection, by their names in iRODS and with its own defaults.
_ENCRYPTION: Final = {
    "client_server_negotiation": "request_server_negotiation",
    "client_server_policy": "CS_NEG_REQUIRE",
    "encryption_algorithm": "AES-256-CBC",
    "encryption_key_size": 32,
    "encryption_num_hash_rounds": 16,
    "encryption_salt_size": 8,
}
_SCHEMES: Final = {"native": "native", "pam": "pam_password"}

_REFUSED: Final = (
    answers.CAT_INVALID_AUTHENTICATION,
    answers.CAT_PASSWORD_EXPIRED,
    answers.PAM_AUTH_PASSWORD_FAILED,
)
_FORBIDDEN: Final = (
    answers.CAT_INSUFFICIENT_PRIVILEGE_LEVEL,
    answers.CAT_NO_ACCESS_PERMISSION,
    answers.SYS_NO_API_PRIV,
)
# Errors of the client about an answer that it cannot read.
_NONSENSE: Final = (
    ParseError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ClientAuthError,
    REQUEST_IS_MISSING_KEY,
    XMLMessageNotConvertibleToJSON,
    iRODSMessage.ResponseNotParseable,
)


class ConnectionLost(StorageUnavailable):
    """The connection could not be made, or ended."""


class _TlsSocket(ssl.SSLSocket):
    """A TLS socket that closes without an answer of the server, which may be silent."""

    def unwrap(self) -> "_TlsSocket":
        return self


def _new_connection() -> Any:
    """Return an uninitialized connection with a time-out for whole answers, however slowly they arrive.

    Its `recv` raises NetworkException, caused by TimeoutError, for an answer that takes longer.
    """
    connection: Any = Connection.__new__(Connection)
    receive = connection.recv

    def recv(*args: Any, **options: Any) -> Any:
        plain = connection.socket
        connection.socket = _TimedSocket(plain)
        try:
            return receive(*args, **options)
        finally:
            if connection.socket is not None:
                connection.socket = plain

    connection.recv = recv
    return connection


class _TimedSocket:
    """A socket while one answer is read from it."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._timeout_s = plain.gettimeout()
        self._began = time.monotonic()

    def recv(self, *args: Any) -> bytes:
        if self._timeout_s is None:
            return self._plain.recv(*args)
        left_s = self._timeout_s - (time.monotonic() - self._began)
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._plain.settimeout(left_s)
        try:
            return self._plain.recv(*args)
        finally:
            self._plain.settimeout(self._timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


@dataclass(frozen=True)
class _Line:
    """A session and its connection, which the session would forget open after a failure."""

    session: iRODSSession
    connection: Any

    def has_ended(self) -> bool:
        """Return whether the connection is closed, or has an answer to no question."""
        if self.connection.socket is None or self.connection not in self.session.pool.idle:
            return True
        poll = select.poll()
        poll.register(self.connection.socket, select.POLLIN)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Close the connection without a message, because a dead server would not read it."""
        if self.connection.socket is not None:
            with suppress(OSError):
                self.connection.socket.close()
        self.connection.socket = None
        self.session.pool.active.clear()
        self.session.pool.idle.clear()


class _Pool:
    """The sessions of one process; each has one connection and serves one thread at a time."""

    def __init__(self, size: int) -> None:
        self.free = threading.BoundedSemaphore(size)
        self.idle: list[_Line] = []


class Sessions:
    """Lends sessions, in each process up to `remote_pool_size`; a further caller waits for the time-out."""

    def __init__(self, options: Options) -> None:
        # The client logs its messages, secrets included, and failures that an error reports anyway.
        logging.getLogger("irods").setLevel(logging.CRITICAL + 1)
        self.options = options
        self._place = f"iRODS at {options.irods_host}:{options.irods_port}"
        self._refused = f"{self._place} refuses the credentials of {options.irods_admin_username}"
        self._timeout_s = options.remote_timeout
        self._pool = _Pool(options.remote_pool_size)
        in_child(self._restart)

    @contextmanager
    def session(self, writes: bool = False) -> Iterator[iRODSSession]:
        """Lend a session; after a failure its connection is not used again.

        With `writes`, a failure without an answer of the zone raises OutcomeUnknown.
        """
        pool = self._pool
        if not pool.free.acquire(timeout=self._timeout_s):
            size = self.options.remote_pool_size
            raise StorageUnavailable(f"all {size} connections to {self._place} are in use")
        sent: list[bool] = []
        try:
            with after_write(sent), self._translated():
                line = self._idle(pool) or self._open()
                sent += [True] * writes
                try:
                    yield line.session
                except BaseException as exc:
                    if _is_answer(exc):
                        # The zone refused the change.
                        sent.clear()
                    # An agent that refused one query may fail the next, and half an answer may follow.
                    line.hang_up()
                    raise
            pool.idle.append(line)
        finally:
            pool.free.release()

    def close(self) -> None:
        """Close the idle connections."""
        pool = self._pool
        with suppress(IndexError):
            while True:
                pool.idle.pop().hang_up()

    def _restart(self) -> None:
        inherited, self._pool = self._pool, _Pool(self.options.remote_pool_size)
        # At the exit of the child, the driver would end these sessions for the parent too.
        for line in inherited.idle:
            line.hang_up()

    @staticmethod
    def _idle(pool: _Pool) -> _Line | None:
        with suppress(IndexError):
            while (line := pool.idle.pop()).has_ended():
                line.hang_up()
            return line
        return None

    def _open(self) -> _Line:
        options = self.options
        session = iRODSSession(
            host=options.irods_host,
            port=options.irods_port,
            user=options.irods_admin_username,
            zone=options.irods_zone,
            password=options.irods_admin_password,
            authentication_scheme=_SCHEMES[options.irods_authentication],
            connection_timeout=self._timeout_s,
            auto_cleanup=False,
            **(_ENCRYPTION if options.irods_tls else {}),
        )
        if options.irods_tls:
            # Without a context and without a file, the client verifies no certificate.
            context = ssl.create_default_context(cafile=options.irods_ca_file)
            context.sslsocket_class = _TlsSocket
            session.pool.account.ssl_context = context
        # In two steps: a connection that fails to log in must be closed.
        line = _Line(session, _new_connection())
        try:
            line.connection.__init__(session.pool, session.pool.account)
        except answers.CAT_INVALID_USER as exc:
            line.hang_up()
            # Here it is about the login; later it is about the account in a request.
            raise StorageUnavailable(self._refused) from exc
        except BaseException:
            line.hang_up()
            raise
        session.pool.idle.add(line.connection)
        return line

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn every failure of the client into a storage error, without the text of the server."""
        place = self._place
        try:
            yield
        except ssl.SSLError as exc:
            reason = getattr(exc, "verify_message", "") or exc.reason or "failed"
            raise BadBackendAnswer(f"TLS with {place}: {reason}") from exc
        except (answers.NetworkException, OSError) as exc:
            if isinstance(exc, TimeoutError) or isinstance(exc.__context__, TimeoutError):
                raise BackendTimeout(f"{place} did not answer within {self._timeout_s:g} s") from exc
            raise ConnectionLost(f"{place} cannot be reached, or ended the connection") from exc
        except _REFUSED as exc:
            raise StorageUnavailable(self._refused) from exc
        except _FORBIDDEN as exc:
            username = self.options.irods_admin_username
            raise StorageReadOnly(f"{place}: the account {username} lacks the permission") from exc
        except answers.iRODSException as exc:
            code = getattr(exc, "code", 0)
            raise BadBackendAnswer(f"{place} answered {type(exc).__name__} ({code})") from exc
        except answers.PycommandsException as exc:
            raise BadBackendAnswer(f"{place}: {type(exc).__name__}") from exc
        except _NONSENSE as exc:
            raise BadBackendAnswer(f"{place} sent an invalid answer: {type(exc).__name__}") from exc


def _is_answer(exc: BaseException) -> bool:
    """Return whether an error is the answer of the zone: a code, for which the client may have no name."""
    unnamed = isinstance(exc, KeyError) and exc.args and isinstance(exc.args[0], int)
    return isinstance(exc, answers.iRODSException) or bool(unnamed)
