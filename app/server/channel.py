"""One connection of a web process, and its end when the client takes too long.

The parser and the buffers are waitress's. A thread that gets a piece of a request keeps it and waits on;
with the last piece it answers the request itself.
"""

import contextlib
import select
import socket
import threading
import time
from typing import Any, Final

from waitress.channel import HTTPChannel
from waitress.wasyncore import readwrite

from app.edge.request_body import MOST_DISCARDED
from app.server.parking import Parking, Place
from app.server.wire import Answer, ErrorAnswer, Parser, TimedOut

# Seconds that a process that ends waits for the next request of a connection, and for half of one.
_LAST_REQUEST_S: Final = 2.0
_LAST_HALF_S: Final = 5.0


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. Its socket is watched once at a time: who has dealt with it arms it again."""

    error_task_class = ErrorAnswer
    parser_class = Parser
    request: Any
    requests: list[Any]
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
    # Whether the first thread of the process watches for when the client takes more.
    _is_sending = False
    # The answer to the first request, and where it waits if it does.
    _answer: Answer | None = None
    _place: Place | None = None
    _is_due = False

    def __init__(self, server: Any, sock: socket.socket, address: Any) -> None:
        self.idle_since = time.monotonic()
        # The thread that reads or answers has it.
        self.owned = threading.Lock()
        super().__init__(server, sock, address, server.adj, map=server.active_channels)
        self.arm()

    def add_channel(self, map: Any = None) -> None:
        self.server.receiving.register(self._fileno, select.EPOLLONESHOT)
        super().add_channel(map)

    def del_channel(self, map: Any = None) -> None:
        with self.server.arming:
            if self._fileno is not None:
                self.server.receiving.unregister(self._fileno)
                if self._is_sending:
                    self.server.sending.unregister(self._fileno)
            super().del_channel(map)

    def handle_close(self) -> None:
        super().handle_close()
        if self._place is not None:
            self.server.parking.leave(self._place)

    def arm(self) -> None:
        """Watch the socket for what the state of the connection calls for."""
        with self.server.arming:
            if self._fileno is None:
                return
            events = select.EPOLLIN if self.readable() else 0
            # A socket that is due can be written: the event is for the next thread that is free.
            events |= select.EPOLLOUT if self._is_due else 0
            if events or self._place is not None:
                self.server.receiving.modify(self._fileno, events | select.EPOLLONESHOT)
            if self.writable():
                watch = self.server.sending.modify if self._is_sending else self.server.sending.register
                watch(self._fileno, select.EPOLLOUT | select.EPOLLONESHOT)
                self._is_sending = True

    def look_soon(self) -> None:
        """Have a thread look for the answer to a request that waits."""
        self._is_due = True
        self.arm()

    def take(self, events: int) -> None:
        """Read what has come, and answer the requests that are whole; in a thread for requests."""
        with self.owned:
            self._is_due = False
            # Reading shows whether the connection has ended: the number in an event may have a new owner.
            if events != select.EPOLLOUT:
                readwrite(self, select.EPOLLIN)
            while self.requests and self._has_answer(self.requests[0]):
                self.service()
        self.arm()

    def _has_answer(self, request: Any) -> bool:
        """Return whether the answer to a request is known; elsewhere the request waits."""
        if request.error or not self.connected:
            return True
        parking: Parking = self.server.parking
        if self._answer is None:
            self._answer = Answer(self, request)
            later = self._answer.begin()
            if later is not None:
                self._place = parking.enter(self, later.topic)
            return later is None
        assert self._place is not None and self._answer.later is not None
        if not self._answer.later.look(parking.is_over):
            parking.stay(self._place)
            return False
        parking.leave(self._place)
        self._place = None
        return True

    def task_class(self, channel: "Channel", request: Any) -> Answer:
        """Return the answer to a request, which has begun if the client is still there."""
        return self._answer or Answer(channel, request)

    def handle_read(self) -> None:
        # Another thread may have closed it since it was found readable.
        connection = self.socket
        if connection is None:
            return
        try:
            data = connection.recv(self.adj.recv_bytes)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.last_activity = time.time()
            self.received(data)
        else:
            self.handle_close()

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
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        self.idle_since = time.monotonic()

    def waits(self) -> bool:
        """Whether nothing is to be done here until the client sends something."""
        return not self.requests and not self.total_outbufs_len

    def since(self) -> float:
        """Return when that which the client is in the middle of began."""
        return self.began_at if self.request is not None or self.lingers else self.idle_since

    def judge(self, now: float) -> None:
        """End the connection if the client has had its time."""
        if self.owned.acquire(blocking=False):
            try:
                self._judge(now)
            finally:
                self.owned.release()

    def _judge(self, now: float) -> None:
        bounds, ends_at = self.server.bounds, self.server.ends_at
        if not self.waits():
            self._judge_reader(now)
        elif self.request is not None:
            until = self.began_at + bounds.request_s
            until = until if ends_at is None else min(until, ends_at + _LAST_HALF_S)
            # While all threads are at work, nobody reads.
            if now > until and not self.has_news():
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
        self.service()
        self.arm()
