"""A pool of connections that do not stay with a server for ever: its address may lead to another one."""

import heapq
import time
from typing import Any, Final

from playhouse.pool import PoolConnection, PooledDatabase

from telemetry.catalogue import CONNECTION_WAITS, CONNECTIONS

# A connection that is older is closed when it is taken or given back.
LONGEST_AGE_S: Final = 1800


class Pool(PooledDatabase):  # type: ignore[misc]
    """Connections that are at most `LONGEST_AGE_S` old, and were opened after the last `renew`."""

    _renewed_at = 0.0

    def __init__(self, database: str, **options: Any) -> None:
        super().__init__(database, stale_timeout=LONGEST_AGE_S, **options)

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Give this thread a connection: one that is idle, without the steps that a new one takes."""
        with self._pool_lock:
            if self._connections and self._state.closed:
                opened_at, _, connection = heapq.heappop(self._connections)
                if not self._is_closed(connection) and not self._is_stale(opened_at):
                    self._in_use[id(connection)] = PoolConnection(opened_at, connection, opened_at)
                    self._state.set_connection(connection)
                    self._count()
                    return True
                self._close_raw(connection)
        if self._max_connections and len(self._in_use) >= self._max_connections:
            CONNECTION_WAITS.inc(self.database)
        has_one = bool(super().connect(reuse_if_open))
        self._count()
        return has_one

    def close(self) -> bool:
        """Give the connection of this thread back."""
        if self._state.closed:
            return False
        connection = self._state.conn
        self._state.reset()
        with self._pool_lock:
            entry = self._in_use.get(id(connection))
            if entry is None or not self._can_reuse(connection) or self._is_stale(entry.timestamp):
                self._close(connection)
            else:
                del self._in_use[id(connection)]
                self._heap_counter += 1
                heapq.heappush(self._connections, (entry.timestamp, self._heap_counter, connection))
                self._pool_available.notify()
            self._count()
        return True

    def _count(self) -> None:
        CONNECTIONS.set(len(self._in_use), self.database)

    def _is_stale(self, timestamp: float) -> bool:
        return timestamp < self._renewed_at or time.time() - timestamp > LONGEST_AGE_S

    def renew(self) -> None:
        """Close all connections there are: those in use when they are given back."""
        self._renewed_at = time.time()
        self.close_idle()

    def opened_at(self) -> float:
        """Return when the connection of this thread was opened, in seconds since the epoch."""
        return float(self._in_use[self.conn_key(self.connection())].timestamp)
