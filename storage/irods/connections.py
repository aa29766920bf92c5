"""One connection to an iRODS zone: encryption, login, and a time-out for whole answers."""

import select
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from irods import exception as answers
from irods.api_number import api_number
from irods.client_server_negotiation import REQUEST_NEGOTIATION, REQUIRE_SSL, REQUIRE_TCP
from irods.connection import Connection
from irods.message import Message, StringProperty, iRODSMessage
from irods.session import iRODSSession

from storage.irods.options import Options

# The settings of an encrypted connection, by their names in iRODS and with its own defaults.
_ENCRYPTION: Final = {
    "encryption_algorithm": "AES-256-CBC",
    "encryption_key_size": 32,
    "encryption_num_hash_rounds": 16,
    "encryption_salt_size": 8,
}
_SCHEMES: Final = {"native": "native", "pam": "pam_password"}

_REFUSED: Final = (
    answers.CAT_INVALID_USER,
    answers.CAT_INVALID_AUTHENTICATION,
    answers.PAM_AUTH_PASSWORD_FAILED,
)
# What the client raises when the zone wants encryption and the client does not, or the reverse.
_NEGOTIATION_FAILED: Final = "Client-Server negotiation failure"


class EncryptionDiffers(Exception):
    """The zone demands encryption and the settings do not, or the reverse."""


class OtherZone(Exception):
    """The server belongs to another zone than IRODS_ZONE."""


class _ServerInfo(Message):  # type: ignore[misc]
    """The part of the description of a server that names its zone."""

    _name = "MiscSvrInfo_PI"
    rodsZone = StringProperty()


class _TlsSocket(ssl.SSLSocket):
    """A TLS socket that closes without an answer of the server, which may be silent."""

    def unwrap(self) -> "_TlsSocket":
        return self


def new_connection() -> Any:
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
class Line:
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


def open_line(options: Options) -> Line:
    """Return a session that is logged in. Raises EncryptionDiffers, OtherZone, and errors of the client."""
    line = Line(_session(options), new_connection())
    try:
        # In two steps: a connection that fails to log in must be closed.
        line.connection.__init__(line.session.pool, line.session.pool.account)
    except _REFUSED as exc:
        line.hang_up()
        zone = _zone_of_server(options)
        if zone not in (None, options.irods_zone):
            raise OtherZone(f"serves the zone {zone}, not {options.irods_zone}: see IRODS_ZONE") from exc
        # CAT_INVALID_USER is about the login here, and about another account later.
        raise answers.CAT_INVALID_AUTHENTICATION from exc
    except answers.NetworkException as exc:
        line.hang_up()
        if not str(exc).startswith(_NEGOTIATION_FAILED):
            raise
        if options.irods_tls:
            raise EncryptionDiffers("refuses encrypted connections: see IRODS_TLS") from exc
        raise EncryptionDiffers("demands encrypted connections: see IRODS_TLS") from exc
    except BaseException:
        line.hang_up()
        raise
    line.session.pool.idle.add(line.connection)
    return line


def _session(options: Options) -> iRODSSession:
    session = iRODSSession(
        host=options.irods_host,
        port=options.irods_port,
        user=options.irods_admin_username,
        zone=options.irods_zone,
        password=options.irods_admin_password,
        authentication_scheme=_SCHEMES[options.irods_authentication],
        connection_timeout=options.remote_timeout,
        auto_cleanup=False,
        client_server_negotiation=REQUEST_NEGOTIATION,
        client_server_policy=REQUIRE_SSL if options.irods_tls else REQUIRE_TCP,
        **(_ENCRYPTION if options.irods_tls else {}),
    )
    if options.irods_tls:
        # Without a context and without a file, the client verifies no certificate.
        context = ssl.create_default_context(cafile=options.irods_ca_file)
        context.sslsocket_class = _TlsSocket
        session.pool.account.ssl_context = context
    return session


def _zone_of_server(options: Options) -> str | None:
    """Return the zone of a server, which tells it without a login, or None where it does not."""
    line = Line(_session(options), new_connection())
    line.session.pool._need_auth = False
    try:
        line.connection.__init__(line.session.pool, line.session.pool.account)
        line.connection.send(iRODSMessage("RODS_API_REQ", int_info=api_number["GET_MISC_SVR_INFO_AN"]))
        zone: str = line.connection.recv().get_main_message(_ServerInfo).rodsZone
        return zone
    except (answers.iRODSException, OSError, ValueError, AttributeError):
        return None
    finally:
        line.hang_up()
