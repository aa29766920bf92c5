"""Connections to an iRODS zone: a pool, a time-out for whole answers, and failures as storage errors."""

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
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
from storage.irods.connections import EncryptionDiffers, Line, OtherZone, open_line
from storage.irods.options import Options

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


class Undone(StorageUnavailable):
    """The zone has undone a change of metadata: another change added the same piece to the same account."""


class _Pool:
    """The sessions of one process; each has one connection and serves one thread at a time."""

    def __init__(self, size: int) -> None:
        self.free = threading.BoundedSemaphore(size)
        self.idle: list[Line] = []


class Sessions:
    """Lends sessions, in each process up to `remote_pool_size`; a further caller waits for the time-out."""

    def __init__(self, options: Options) -> None:
        # The client logs its messages, secrets included, and failures that an error reports anyway.
        logging.getLogger("irods").setLevel(logging.CRITICAL + 1)
        self.options = options
        self._place = f"iRODS at {options.irods_host}:{options.irods_port}"
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
                line = self._idle(pool) or open_line(self.options)
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
    def _idle(pool: _Pool) -> Line | None:
        with suppress(IndexError):
            while (line := pool.idle.pop()).has_ended():
                line.hang_up()
            return line
        return None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn every failure of the client into a storage error, without the text of the server."""
        place = self._place
        try:
            yield
        except ssl.SSLError as exc:
            reason = getattr(exc, "verify_message", "") or exc.reason or "failed"
            raise BadBackendAnswer(f"TLS with {place}: {reason}") from exc
        except (EncryptionDiffers, OtherZone) as exc:
            raise StorageUnavailable(f"{place} {exc}") from exc
        except (answers.NetworkException, OSError) as exc:
            if isinstance(exc, TimeoutError) or isinstance(exc.__context__, TimeoutError):
                raise BackendTimeout(f"{place} did not answer within {self._timeout_s:g} s") from exc
            raise ConnectionLost(f"{place} cannot be reached, or ended the connection") from exc
        except _REFUSED as exc:
            username = self.options.irods_admin_username
            raise StorageUnavailable(f"{place} refuses the credentials of {username}") from exc
        except _FORBIDDEN as exc:
            username = self.options.irods_admin_username
            raise StorageReadOnly(f"{place}: the account {username} lacks the permission") from exc
        except answers.SYS_LIBRARY_ERROR as exc:
            raise Undone(f"{place}: other requests changed the same metadata at the same time") from exc
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
