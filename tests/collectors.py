"""Syslog servers that really listen, and read RFC 5424 and RFC 6587 by the letter."""

import re
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# RFC 5424 section 6: PRI and VERSION, TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID, STRUCTURED-DATA, MSG.
_MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\S{1,32}) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) (-) (.*)", re.DOTALL
)


@dataclass(frozen=True)
class Message:
    """A syslog message: priority, time, the name of the program, MSGID and text."""

    priority: int
    at: datetime
    program: str
    kind: str
    text: bytes


def parsed(message: bytes) -> Message:
    """Return the parts of a message. Raises AssertionError for one that RFC 5424 does not know."""
    found = _MESSAGE.fullmatch(message)
    assert found is not None, message
    priority, at, _, program, _, kind, _, text = found.groups()
    assert 0 <= int(priority) <= 191
    return Message(int(priority), datetime.fromisoformat(at.decode()), program.decode(), kind.decode(), text)


class SyslogServer:
    """A server on 127.0.0.1.

    It reads each connection to its end and closes it. While it `is_dying`, it resets a connection with
    messages unread, as the kernel does for a process that was killed.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.messages: list[Message] = []
        self.connections = 0
        self.is_dying = False
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        scheme, port = "syslog+tls" if tls else "syslog+tcp", self._socket.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with suppress(OSError), connection:
                connection.settimeout(30)
                self._handle(connection)

    def _handle(self, connection: socket.socket) -> None:
        if self.is_dying:
            connection.recv(1)
            # The kernel resets a connection that is closed with bytes unread.
            return
        if self._tls is None:
            self._read(connection)
            return
        with self._tls.wrap_socket(connection, server_side=True) as secured:
            self._read(secured)
            secured.unwrap()

    def _read(self, connection: Any) -> None:
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
        while data:
            length, _, data = data.partition(b" ")
            assert re.fullmatch(rb"[1-9][0-9]*", length) and len(data) >= int(length), length
            self.messages.append(parsed(data[: int(length)]))
            data = data[int(length) :]
