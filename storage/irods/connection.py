"""Connections on which an answer has to be whole within the time-out, however slowly it drips."""

import socket
import ssl
import time
from typing import Any

from irods.connection import Connection


class TlsSocket(ssl.SSLSocket):
    """Ends without waiting for the other side to say good-bye: that may be silent."""

    def unwrap(self) -> "TlsSocket":
        return self


def new_connection() -> Any:
    """Return a connection that is still to be initialized, and whose time-out is for whole answers.

    Its `recv` raises NetworkException, caused by TimeoutError, where an answer is not there in time.
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
