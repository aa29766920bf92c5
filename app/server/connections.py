"""Connections of a web process: requests are read whole, within time, before a thread answers them.

The threads wait together for what clients send (epoll): a connection without a whole request costs memory
and no thread, and no thread hands a request to another one. The first thread of the process accepts
connections, sends what clients take slowly, and ends what takes too long.
"""

import contextlib
import heapq
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from waitress.wasyncore import readwrite

from app.server.channel import Channel
from app.server.parking import Parking
from app.server.wire import environ_of, make_adjustments

_LOG = logging.getLogger(__name__)

_TICK_S: Final = 0.25
# Seconds that the end of a process waits for its threads.
_THREADS_S: Final = 5.0


@dataclass(frozen=True)
class Bounds:
    """What clients may take: seconds for a request, seconds between two, connections, bytes of a body."""

    request_s: float
    idle_s: float
    connections: int
    body: int


class Connections:
    """The connections of one process that were accepted on `sockets`; `threads` answer requests."""

    def __init__(
        self, application: Any, sockets: Sequence[Any], bounds: Bounds, threads: int
    ) -> None:
        self.application = application
        self.bounds = bounds
        self.adj = make_adjustments(bounds.body)
        self.environ = environ_of(sockets[0].getsockname()[1])
        self.active_channels: dict[int, Channel] = {}
        # The threads wait for what clients send, the first thread for when they take more.
        self.receiving, self.sending = select.epoll(), select.epoll()
        self.arming = threading.Lock()
        # When the process began to end.
        self.ends_at: float | None = None
        self._alarm, self._end = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0)
        self.parking = Parking(lambda: os.eventfd_write(self._alarm, 1))
        self.receiving.register(self._end, select.EPOLLIN)
        self.sending.register(self._alarm, select.EPOLLIN)
        self._threads = [
            threading.Thread(target=self._answer, name=f"scim requests {number}", daemon=True)
            for number in range(1, threads + 1)
        ]
        self._listeners = {listener.fileno(): listener for listener in sockets}
        self._tick_at = 0.0
        for number, listener in self._listeners.items():
            listener.setblocking(False)
            self.sending.register(number, select.EPOLLIN | select.EPOLLONESHOT)

    def is_full(self) -> bool:
        """Whether the next connection costs one of those that there are."""
        return len(self.active_channels) >= self.bounds.connections

    def add_task(self, channel: Channel) -> None:
        """Do nothing: the thread that has read a request answers it."""

    def pull_trigger(self) -> None:
        """Do nothing: a channel arms itself."""

    def serve(self, is_wanted: Callable[[], bool], beat: Callable[[], None], waker: int) -> None:
        """Answer requests until `is_wanted` says no, then those that have come.

        `beat` is called at least once a second; a byte that arrives at `waker` ends the waiting.
        """
        self.sending.register(waker, select.EPOLLIN)
        for thread in self._threads:
            thread.start()
        while is_wanted():
            beat()
            self._turn(1.0, waker)
        self._accept_last()
        self.ends_at = time.monotonic()
        self.parking.end()
        while self.active_channels:
            beat()
            self._turn(_TICK_S, waker)
        os.eventfd_write(self._end, 1)
        deadline = time.monotonic() + _THREADS_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _answer(self) -> None:
        """Read and answer requests until the process ends; in each of the threads."""
        while True:
            ((number, events),) = self.receiving.poll(None, 1)
            if number == self._end:
                return
            channel = self.active_channels.get(number)
            if channel is not None:
                try:
                    channel.take(events)
                except Exception:
                    # Without its thread, the process would answer fewer requests from now on.
                    _LOG.exception("unexpected error on a connection")
                    channel.handle_close()

    def _turn(self, longest_s: float, waker: int) -> None:
        longest_s = self.parking.pause_s(time.monotonic(), longest_s)
        for number, events in self.sending.poll(longest_s):
            channel = self.active_channels.get(number)
            if channel is not None:
                readwrite(channel, events)
                channel.arm()
            elif number in self._listeners:
                self._accept(number)
            elif number == self._alarm:
                os.eventfd_read(self._alarm)
            elif number == waker:
                os.read(waker, 4096)
        now = time.monotonic()
        for place in self.parking.take_due(now):
            place.channel.look_soon()
        if now >= self._tick_at:
            self._tick_at = now + _TICK_S
            for channel in list(self.active_channels.values()):
                channel.judge(now)
            for number in self._listeners:
                self._watch(number)

    def _watch(self, number: int) -> None:
        self.sending.modify(number, select.EPOLLIN | select.EPOLLONESHOT)

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
            self.sending.unregister(number)
            with contextlib.suppress(OSError):
                while True:
                    self._open(listener)
            listener.close()
        self._listeners.clear()
