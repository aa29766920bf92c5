"""Connections of a web process: requests are read whole, within time, before a thread takes them.

The parser, the buffers and the threads are waitress's. One thread waits for all sockets at once (epoll),
so a connection without a whole request costs memory, and no thread.
"""

import contextlib
import heapq
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher
from waitress.wasyncore import readwrite

from app.edge.request_body import MOST_DISCARDED
from app.server.wire import Answer, ErrorAnswer, Parser, TimedOut, make_adjustments

# Seconds that a process that ends waits for the next request of a connection, and for half of one.
_LAST_REQUEST_S: Final = 2.0
_LAST_HALF_S: Final = 5.0
_TICK_S: Final = 0.25


@dataclass(frozen=True)
class Bounds:
    """What clients may take: seconds for a request, seconds between two, connections, bytes of a body."""

    request_s: float
    idle_s: float
    connections: int
    body: int


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. Its socket is watched once at a time: who has dealt with it arms it again."""

    task_class = Answer
    error_task_class = ErrorAnswer
    parser_class = Parser
    request: Any
    close_when_flushed: bool
    # When the request that is being read began.
    began_at = 0.0
    # The client may still be sending what nobody will read: closing now would destroy the answer.
    has_unread = False
    lingers = False
    discarded = 0
    # The time of the last successful send before the client stopped reading, and when that was seen.
    stuck_after: float | None = None
    stuck_at = 0.0

    def __init__(self, server: "Connections", sock: socket.socket, address: Any) -> None:
        self.idle_since = time.monotonic()
        super().__init__(server, sock, address, server.adj, map=server.active_channels)
        self.arm()

    def add_channel(self, map: Any = None) -> None:
        self.server.epoll.register(self._fileno, select.EPOLLONESHOT)
        super().add_channel(map)

    def del_channel(self, map: Any = None) -> None:
        with self.server.arming:
            if self._fileno is not None:
                self.server.epoll.unregister(self._fileno)
            super().del_channel(map)

    def arm(self) -> None:
        """Watch the socket for what the state of the connection calls for."""
        with self.server.arming:
            if self._fileno is None:
                return
            events = select.EPOLLIN if self.readable() else 0
            events |= select.EPOLLOUT if self.writable() else 0
            self.server.epoll.modify(self._fileno, events | select.EPOLLONESHOT)

    def readable(self) -> bool:
        return (self.lingers and not self.will_close) or super().readable()

    def received(self, data: bytes) -> None:
        if self.lingers:
            self.discarded += len(data)
            self.will_close = self.discarded > MOST_DISCARDED
            return
        before = self.request
        super().received(data)
        if self.request is not before:
            self.began_at = time.monotonic()

    def write_soon(self, data: bytes) -> int:
        length: int = super().write_soon(data)
        if self.total_outbufs_len >= self.adj.send_bytes:
            self.arm()
        return length

    def handle_write(self) -> None:
        if self.requests and self.total_outbufs_len < self.adj.send_bytes:
            # The end of an answer does not wait for the answer to the next request.
            self._flush_exception(self._flush_some_if_lockable)
        if not (self.has_unread and self.close_when_flushed):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and self.connected:
            self.close_when_flushed, self.lingers = False, True
            self.began_at = time.monotonic()
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def send_now(self) -> None:
        """Send what the socket takes, in the thread that has made it."""
        with self.outbuf_lock:
            if self.connected:
                self._flush_exception(self._flush_some, do_close=False)

    def service(self) -> None:
        super().service()
        self.idle_since = time.monotonic()
        self.arm()

    def waits(self) -> bool:
        """Whether nothing is to be done here until the client sends something."""
        return not self.requests and not self.total_outbufs_len

    def since(self) -> float:
        """Return when that which the client is in the middle of began."""
        return self.began_at if self.request is not None or self.lingers else self.idle_since

    def judge(self, now: float) -> None:
        """End the connection if the client has had its time."""
        bounds, ends_at = self.server.bounds, self.server.ends_at
        if not self.waits():
            self._judge_reader(now)
        elif self.request is not None:
            until = self.began_at + bounds.request_s
            if now > (until if ends_at is None else min(until, ends_at + _LAST_HALF_S)):
                self._time_out()
        elif self.lingers:
            if now > self.began_at + bounds.request_s or ends_at is not None:
                self.handle_close()
        elif now > self.idle_since + bounds.idle_s or (ends_at and now > ends_at + _LAST_REQUEST_S):
            if not self.has_news():
                self.handle_close()

    def has_news(self) -> bool:
        """Whether a request has come that nobody has looked at: a POST cut here is a proxy's 502."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _judge_reader(self, now: float) -> None:
        """End the connection of a client that does not take what it asked for."""
        is_due = self.total_outbufs_len >= self.adj.send_bytes or not self.requests
        if not (is_due and self.last_activity == self.stuck_after):
            self.stuck_after, self.stuck_at = self.last_activity if is_due else None, now
        elif now > self.stuck_at + self.server.bounds.request_s:
            self.handle_close()

    def _time_out(self) -> None:
        with self.requests_lock:
            request, self.request = self.request, None
            request.error = TimedOut("the request was not complete in time")
            request.completed = True
            self.requests.append(request)
        self.server.add_task(self)


class Connections:
    """The connections of one process that were accepted on `sockets`."""

    server_name = "scim"

    def __init__(
        self, application: Any, sockets: Sequence[Any], bounds: Bounds, threads: int
    ) -> None:
        self.application = application
        self.bounds = bounds
        self.adj = make_adjustments(bounds.body)
        self.effective_port = sockets[0].getsockname()[1]
        self.active_channels: dict[int, Channel] = {}
        self.epoll = select.epoll()
        self.arming = threading.Lock()
        # When the process began to end.
        self.ends_at: float | None = None
        self._dispatcher = ThreadedTaskDispatcher()
        self._dispatcher.set_thread_count(threads)
        self.add_task = self._dispatcher.add_task
        self._listeners = {listener.fileno(): listener for listener in sockets}
        self._tick_at = 0.0
        for number, listener in self._listeners.items():
            listener.setblocking(False)
            self.epoll.register(number, select.EPOLLIN | select.EPOLLONESHOT)

    def is_full(self) -> bool:
        """Whether the next connection costs one of those that there are."""
        return len(self.active_channels) >= self.bounds.connections

    def pull_trigger(self) -> None:
        """Do nothing: a channel arms itself."""

    def serve(self, is_wanted: Callable[[], bool], beat: Callable[[], None], waker: int) -> None:
        """Answer requests until `is_wanted` says no, then those that have come.

        `beat` is called at least once a second; a byte that arrives at `waker` ends the waiting.
        """
        self.epoll.register(waker, select.EPOLLIN)
        while is_wanted():
            beat()
            self._turn(1.0, waker)
        self._accept_last()
        self.ends_at = time.monotonic()
        while self.active_channels:
            beat()
            self._turn(_TICK_S, waker)
        self._dispatcher.shutdown()

    def _turn(self, longest_s: float, waker: int) -> None:
        for number, events in self.epoll.poll(longest_s):
            channel = self.active_channels.get(number)
            if channel is not None:
                readwrite(channel, events)
                channel.arm()
            elif number in self._listeners:
                self._accept(number)
            elif number == waker:
                os.read(waker, 4096)
        now = time.monotonic()
        if now >= self._tick_at:
            self._tick_at = now + _TICK_S
            for channel in list(self.active_channels.values()):
                channel.judge(now)
            for number in self._listeners:
                self._watch(number)

    def _watch(self, number: int) -> None:
        self.epoll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)

    def _accept(self, number: int) -> None:
        """Accept a connection, at the cost of those that wait longest where there are too many.

        Where every connection is at work, or has a request that nobody has read yet, the next client
        waits until the next tick.
        """
        if self.is_full() and not self._make_room():
            return
        # Without file descriptors, too, others wait.
        with contextlib.suppress(OSError):
            # Another process may have been faster.
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                self._open(self._listeners[number])
            self._watch(number)

    def _open(self, listener: Any) -> None:
        connection, address = listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Channel(self, connection, address)

    def _make_room(self) -> bool:
        # A thread may end a connection meanwhile: the values are copied first.
        waiting = [channel for channel in list(self.active_channels.values()) if channel.waits()]
        has_room = False
        # Several at once, since looking for them takes longer than closing them.
        for channel in heapq.nsmallest(1 + len(waiting) // 20, waiting, key=Channel.since):
            if not channel.has_news():
                channel.handle_close()
                has_room = True
        return has_room

    def _accept_last(self) -> None:
        """Accept those that the system has already connected, and no others."""
        for number, listener in self._listeners.items():
            self.epoll.unregister(number)
            with contextlib.suppress(OSError):
                while True:
                    self._open(listener)
            listener.close()
        self._listeners.clear()
