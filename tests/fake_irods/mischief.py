"""What a test lets go wrong on the way: silence, rubbish, half an answer, connections that end."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Ended(OSError):
    """The connection is over."""


@dataclass
class Mischief:
    """Nothing, unless told otherwise; and the numbers of the requests in the order they came in."""

    requests: list[int] = field(default_factory=list)
    # The requests to remove unused metadata, which are part of no operation.
    purges: int = 0
    connections: int = 0
    _connecting: Callable[[socket.socket], object] | None = None
    _before: dict[int, Callable[[socket.socket], object]] = field(default_factory=dict)
    _after: dict[int, Callable[[socket.socket], object]] = field(default_factory=dict)
    # Set when those who are silent may go.
    _over: threading.Event = field(default_factory=threading.Event)

    def on_connect(self, connection: socket.socket) -> None:
        self.connections += 1
        if self._connecting is not None:
            self._connecting(connection)

    def before(self, number: int, connection: socket.socket) -> None:
        """Do what is to happen in place of request `number`."""
        act = self._before.get(number)
        if act is not None:
            act(connection)

    def after(self, number: int, connection: socket.socket) -> None:
        """Do what is to happen in place of the answer to request `number`, which has been carried out."""
        act = self._after.get(number)
        if act is not None:
            act(connection)

    @contextmanager
    def everywhere(self, act: Callable[[socket.socket], object]) -> Iterator[None]:
        """Let something happen to every new connection."""
        self._connecting = act
        yield
        self._connecting = None
        self._end()

    @contextmanager
    def in_place_of(self, number: int, act: Callable[[socket.socket], object]) -> Iterator[None]:
        """Let something happen instead of carrying out a request."""
        self._before[number] = act
        yield
        self._before.clear()
        self._end()

    @contextmanager
    def once_done(self, number: int, act: Callable[[socket.socket], object]) -> Iterator[None]:
        """Let something happen instead of the answer to a request that was carried out."""
        self._after[number] = act
        yield
        self._after.clear()
        self._end()

    def _end(self) -> None:
        self._over.set()
        self._over = threading.Event()

    def silence(self, connection: socket.socket) -> None:
        """Say nothing."""
        self._over.wait(60)
        raise Ended

    def drip(self, connection: socket.socket) -> None:
        """Send a byte of an answer now and then, for some seconds."""
        connection.sendall(b"\0\0\1\0")
        for _ in range(120):
            if self._over.wait(0.05):
                break
            connection.sendall(b"x")
        raise Ended

    @staticmethod
    def hang_up(connection: socket.socket) -> None:
        raise Ended

    @staticmethod
    def rubbish(connection: socket.socket) -> None:
        """Answer as a web server would, to one who speaks another language."""
        connection.sendall(b"\0\0\0\x20HTTP/1.1 400 Bad Request\r\n\r\n????<html>")
        raise Ended

    @staticmethod
    def half(connection: socket.socket) -> None:
        """Begin an answer and leave."""
        connection.sendall(b"\0\0\0\x8b<MsgHeader_PI><type>RODS_API_REPLY</type><msgLen>")
        raise Ended

    @staticmethod
    def refuse(code: int) -> Callable[[socket.socket], Any]:
        """Return what answers with an error of iRODS and goes on."""
        from tests.fake_irods.wire import refusal

        def act(connection: socket.socket) -> None:
            connection.sendall(refusal(code))
            raise Ended

        return act
