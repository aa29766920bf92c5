"""Connections to an iRODS zone: pooled, checked before use, and their failures as those of a storage."""

import logging
import select
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from irods import exception as answers
from irods.auth import REQUEST_IS_MISSING_KEY, ClientAuthError
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
from storage.irods.connection import TlsSocket, new_connection

# What iRODS calls the settings of an encrypted connection; these are its own defaults.
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
# What the client raises when it cannot make sense of what it reads.
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


@dataclass(frozen=True)
class Login:
    """Where a zone is, and who comes to it."""

    host: str
    port: int
    zone: str
    username: str
    password: str = field(repr=False)
    authentication: str = "native"
    tls: bool = False
    ca_file: Path | None = None

    @property
    def place(self) -> str:
        return f"iRODS at {self.host}:{self.port}"


@dataclass(frozen=True)
class _Line:
    """A session and its connection, which it would forget without closing it when something fails."""

    session: iRODSSession
    connection: Any

    def has_ended(self) -> bool:
        """Return whether there is something to read where nothing was asked: the end, or worse."""
        if self.connection.socket is None or self.connection not in self.session.pool.idle:
            return True
        poll = select.poll()
        poll.register(self.connection.socket, select.POLLIN)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Close the connection without a word, which a dead server would not hear."""
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
    """Lends sessions, at most `size` at a time in a process; one more caller waits `timeout_s` seconds."""

    def __init__(self, login: Login, timeout_s: float, size: int) -> None:
        # The client logs what it sends, and every failure that is reported by an error anyway.
        logging.getLogger("irods").setLevel(logging.CRITICAL + 1)
        self.login = login
        self.timeout_s = timeout_s
        self._size = size
        self._pool = _Pool(size)
        in_child(self._restart)

    @contextmanager
    def session(self, writes: bool = False) -> Iterator[iRODSSession]:
        """Lend a session; after a failure its connection is not used again.

        With `writes`, what fails without an answer of the zone raises OutcomeUnknown.
        """
        pool = self._pool
        if not pool.free.acquire(timeout=self.timeout_s):
            raise StorageUnavailable(f"all {self._size} connections to {self.login.place} are in use")
        sent: list[bool] = []
        try:
            with after_write(sent), self._translated():
                line = self._idle(pool) or self._open()
                sent += [True] * writes
                try:
                    yield line.session
                except BaseException as exc:
                    if _is_answer(exc):
                        # The zone did not do it.
                        sent.clear()
                    # An agent that refused one query may fail the next, and half an answer may follow.
                    line.hang_up()
                    raise
            pool.idle.append(line)
        finally:
            pool.free.release()

    def close(self) -> None:
        """End the connections that nobody uses."""
        pool = self._pool
        while pool.idle:
            with suppress(IndexError):
                pool.idle.pop().hang_up()

    def _restart(self) -> None:
        inherited, self._pool = self._pool, _Pool(self._size)
        # Or the driver would end them in the parent's name when the child exits.
        for line in inherited.idle:
            line.hang_up()

    @staticmethod
    def _idle(pool: _Pool) -> _Line | None:
        while pool.idle:
            try:
                line = pool.idle.pop()
            except IndexError:
                break
            if not line.has_ended():
                return line
            line.hang_up()
        return None

    def _open(self) -> _Line:
        login = self.login
        session = iRODSSession(
            host=login.host,
            port=login.port,
            user=login.username,
            zone=login.zone,
            password=login.password,
            authentication_scheme=_SCHEMES[login.authentication],
            connection_timeout=self.timeout_s,
            auto_cleanup=False,
            **(_ENCRYPTION if login.tls else {}),
        )
        if login.tls:
            # Left to itself, the client verifies nothing unless it is given a file.
            context = ssl.create_default_context(cafile=str(login.ca_file) if login.ca_file else None)
            context.sslsocket_class = TlsSocket
            session.pool.account.ssl_context = context
        # In two steps, to have hold of a connection that fails to log in.
        line = _Line(session, new_connection())
        try:
            line.connection.__init__(session.pool, session.pool.account)
        except answers.CAT_INVALID_USER as exc:
            line.hang_up()
            # Later it is about an account that is spoken of.
            raise StorageUnavailable(f"{login.place} refuses the credentials of {login.username}") from exc
        except BaseException:
            line.hang_up()
            raise
        session.pool.idle.add(line.connection)
        return line

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn every failure of the client into one of the storage. No text of the server is repeated."""
        place = self.login.place
        try:
            yield
        except answers.NetworkException as exc:
            if isinstance(exc.__context__, TimeoutError):
                raise BackendTimeout(f"{place} did not answer within {self.timeout_s:g} s") from exc
            raise ConnectionLost(f"{place} cannot be reached, or ended the connection") from exc
        except TimeoutError as exc:
            raise BackendTimeout(f"{place} did not answer within {self.timeout_s:g} s") from exc
        except ssl.SSLError as exc:
            reason = getattr(exc, "verify_message", "") or exc.reason or "failed"
            raise BadBackendAnswer(f"TLS with {place}: {reason}") from exc
        except OSError as exc:
            raise ConnectionLost(f"{place} cannot be reached, or ended the connection") from exc
        except _REFUSED as exc:
            raise StorageUnavailable(f"{place} refuses the credentials of {self.login.username}") from exc
        except _FORBIDDEN as exc:
            raise StorageReadOnly(f"{place}: the account {self.login.username} lacks the permission") from exc
        except answers.iRODSException as exc:
            code = getattr(exc, "code", 0)
            raise BadBackendAnswer(f"{place} answered {type(exc).__name__} ({code})") from exc
        except answers.PycommandsException as exc:
            raise BadBackendAnswer(f"{place}: {type(exc).__name__}") from exc
        except _NONSENSE as exc:
            raise BadBackendAnswer(f"{place} sent an invalid answer: {type(exc).__name__}") from exc


def _is_answer(exc: BaseException) -> bool:
    """Return whether the zone said by a code that it failed; the client knows no name for some."""
    unnamed = isinstance(exc, KeyError) and exc.args and isinstance(exc.args[0], int)
    return isinstance(exc, answers.iRODSException) or bool(unnamed)
