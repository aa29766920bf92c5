"""Collectors of the audit trail: an HTTP server that takes NDJSON, and a syslog server (RFC 5424).

A collector has taken rows when it says so: an HTTP server by its status. Syslog knows no answer. So each
batch has a connection of its own, whose end is the answer:

1. This side sends the rows and ends its direction of the connection.
2. The server reads up to that end, and then closes the connection. If it dies with rows unread, the
   connection is reset instead.

Under TLS, the answer is the close_notify that RFC 5425 section 4.4 demands of the server.
"""

import re
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from schema.retry_after import retry_after_s
from set_delivery.change_line import json_line, shown_time
from set_delivery.change_log import LoggedChange
from set_delivery.connection import Connection, read

_NDJSON: Final = {"Content-Type": "application/x-ndjson"}
SYSLOG_PORTS: Final = {"syslog+tcp": 514, "syslog+tls": 6514}
_TIMEOUT_S: Final = 10.0
# The facility "log audit" (13) and the severity "notice" (5).
_PRIORITY: Final = 13 * 8 + 5
# RFC 5424 section 6: the longest HOSTNAME and MSGID.
_HOST_LENGTH: Final = 255
_ID_LENGTH: Final = 32


class CollectorFailed(Exception):
    """The collector has not taken the rows, or has not said so; perhaps it says when to try again."""

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after


class Collector(Protocol):
    """Where the audit trail is exported to."""

    def send(self, changes: Sequence[LoggedChange]) -> None:
        """Return when the collector has taken rows, in their order. Raises CollectorFailed."""


class HttpCollector:
    """Sends rows by POST, a line of JSON each; every status from 200 to 299 says that they are taken."""

    def __init__(self, url: str, token: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = url
        self._token = token
        self._timeout_s = timeout_s

    def send(self, changes: Sequence[LoggedChange]) -> None:
        """Return when the collector has taken rows. Raises CollectorFailed."""
        body, deadline = b"".join(map(json_line, changes)), time.monotonic() + self._timeout_s
        try:
            connection = Connection(self._url, self._token)
            try:
                with connection.post(body, _NDJSON, self._timeout_s) as answer:
                    read(answer, deadline)
                    status, retry_after = answer.status_code, answer.headers.get("Retry-After")
            finally:
                connection.close()
        except (requests.RequestException, HTTPError) as exc:
            # The text may have the URL, and so a password.
            raise CollectorFailed(type(exc).__name__) from exc
        if not 200 <= status < 300:
            raise CollectorFailed(f"status {status}", retry_after_s(retry_after))


class SyslogCollector:
    """Sends rows as messages of RFC 5424, each with its length before it (RFC 6587 section 3.4.1)."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or SYSLOG_PORTS[parts.scheme]
        self._is_tls = parts.scheme == "syslog+tls"
        self._timeout_s = timeout_s
        self._host = _header(socket.gethostname(), _HOST_LENGTH)

    def send(self, changes: Sequence[LoggedChange]) -> None:
        """Return when the server has read rows. Raises CollectorFailed."""
        messages = b"".join(map(self._framed, changes))
        try:
            with socket.create_connection(self._address, self._timeout_s) as plain:
                if not self._is_tls:
                    plain.sendall(messages)
                    _end(plain, self._timeout_s)
                    return
                # SSL_CERT_FILE names the certificates that are trusted.
                context = ssl.create_default_context()
                with context.wrap_socket(plain, server_hostname=self._address[0]) as secured:
                    secured.sendall(messages)
                    # Sends close_notify, and waits for that of the server.
                    secured.unwrap()
        except OSError as exc:
            raise CollectorFailed(f"{type(exc).__name__}: {exc.strerror or 'no answer'}") from exc

    def _framed(self, change: LoggedChange) -> bytes:
        at = shown_time(change.entry.at)
        header = (
            f"<{_PRIORITY}>1 {at if at.endswith('Z') else '-'} {self._host} scim - "
            f"{_header(change.entry.kind, _ID_LENGTH)} - "
        )
        message = header.encode() + json_line(change).rstrip(b"\n")
        return b"%d %b" % (len(message), message)


def _end(connection: socket.socket, timeout_s: float) -> None:
    """End one direction of a connection, and return when the server has closed it. Raises OSError."""
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + timeout_s
    while connection.recv(4096):
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not close the connection")


def _header(text: str, length: int) -> str:
    """Return a field of the header of a message: printable ASCII without spaces, `-` for nothing."""
    return re.sub(r"[^!-~]", "_", text)[:length] or "-"
