"""An upstream that answers whatever it is told to, on a socket."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing

Behaviour = Callable[[socket.socket, bytes], None]


class HostileServer:
    """Hands each connection and the request on it to `behaviour`; keeps what was asked."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self._tls = tls
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection):
            connection.settimeout(30)
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                request = _request(connection)
                if request:
                    self.requests.append(request)
                    self.behaviour(connection, request)
            except OSError:
                return

    def __enter__(self) -> "HostileServer":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no longer."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
        if received.startswith(b"\x16"):
            # A handshake of TLS is all that comes.
            return received
    head, _, body = received.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    length = int(lines[0].split(b":")[1]) if lines else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answering(
    status: str, body: bytes = b"", *headers: str, kind: str = "application/scim+json"
) -> Behaviour:
    """Return the behaviour of always giving one answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    text = "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body
    return lambda connection, request: connection.sendall(text)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Return the behaviour of one after the other, the last for ever."""
    left = list(behaviours)
    return lambda connection, request: (left.pop(0) if len(left) > 1 else left[0])(connection, request)


def raw(text: bytes) -> Behaviour:
    """Return the behaviour of sending bytes and closing the connection."""
    return lambda connection, request: connection.sendall(text)


def silent(connection: socket.socket, request: bytes) -> None:
    """Say nothing for a long time."""
    time.sleep(20)


def dripping(text: bytes) -> Behaviour:
    """Return the behaviour of sending a byte at a time, slowly."""

    def drip(connection: socket.socket, request: bytes) -> None:
        for position in range(len(text)):
            connection.sendall(text[position : position + 1])
            time.sleep(0.1)

    return drip
