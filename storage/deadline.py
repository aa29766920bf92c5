"""Connections on which the whole answer has to come in time, however slowly its bytes drip."""

import http.client
import io
import socket
import time
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _TimedReader(io.RawIOBase):
    """Reads from a socket; all waiting for bytes together takes `budget_s` seconds at the most.

    What the reader does between two reads does not count.
    """

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, budget_s: float | None) -> None:
        super().__init__()
        self._raw = raw
        self._connection = connection
        self._left_s = budget_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left_s is None:
            return self._raw.readinto(buffer)
        if self._left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(self._left_s)
        begun = time.monotonic()
        try:
            return self._raw.readinto(buffer)
        finally:
            self._left_s -= time.monotonic() - begun

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """Takes the time-out that the socket has when the request is sent for that of the whole answer."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        raw: Any = sock.makefile("rb", buffering=0)
        self.fp = io.BufferedReader(_TimedReader(raw, sock, sock.gettimeout()))


class _TimedConnection(HTTPConnection):
    response_class = _TimedResponse


class _TimedTlsConnection(HTTPSConnection):
    response_class = _TimedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class DeadlineAdapter(HTTPAdapter):
    """Sends requests over connections whose read time-out is for the whole answer."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


def causes(problem: Any) -> Iterator[BaseException]:
    """Yield an exception and what it was raised for: drivers keep that in various places."""
    seen: set[int] = set()
    pending = [problem]
    while pending:
        found = pending.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            pending += [found.__cause__, getattr(found, "reason", None), *found.args]
