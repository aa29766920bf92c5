"""Requests without valid credentials, counted for the change log: a row per address and minute.

Anybody can send such requests. So they cost the request no statement, and the log a bounded number of rows.
"""

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from set_delivery.clock import now_ms
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

WINDOW_S: Final = 60.0
"""How long requests are counted before their rows are written, in seconds."""
MOST_ADDRESSES: Final = 100
"""Of so many addresses, each has a row of its own in that time; all others share one."""
# Of so many different credentials, a row has the fingerprints.
_MOST_FINGERPRINTS: Final = 10
_DIGITS: Final = 8


@dataclass
class FailedLogin:
    """The requests of one address with one kind of credential; times are in milliseconds since 1970.

    `address` is None for the requests of many addresses. `scheme` is bearer, x-api-key or none.
    `fingerprints` tell credentials apart. Without a key of the server, nobody finds a credential by one.
    """

    address: str | None
    scheme: str
    first_at: int
    last_at: int
    attempts: int = 0
    fingerprints: set[str] = field(default_factory=set)

    def as_details(self, shown_time: Callable[[int], str]) -> dict[str, Any]:
        """Return what a row of the log says beside the address."""
        return {
            "attempts": self.attempts,
            "until": shown_time(self.last_at),
            "fingerprints": sorted(self.fingerprints),
        }


class FailedLogins:
    """Counts failed logins of a process, and has `store` keep them WINDOW_S seconds after the first.

    `key` is that of the fingerprints; without one there are none. `close` closes the connections of the
    thread that stored.
    """

    def __init__(
        self,
        store: Callable[[Sequence[FailedLogin]], object],
        close: Callable[[], object] = lambda: None,
        key: bytes | None = None,
        window_s: float = WINDOW_S,
    ) -> None:
        self._store = store
        self._close = close
        self._key = key
        self._window_s = window_s
        self._counted: dict[tuple[str | None, str], FailedLogin] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def note(self, address: str, scheme: str, token: str) -> None:
        """Count a request from an address; `token` is its credential, which is not kept."""
        now, fingerprint = now_ms(), self._fingerprint(token)
        with self._lock:
            found = self._found(address or None, scheme, now)
            found.attempts += 1
            found.last_at = now
            if fingerprint and len(found.fingerprints) < _MOST_FINGERPRINTS:
                found.fingerprints.add(fingerprint)
            self._start()

    def write(self) -> None:
        """Have stored what is counted, in this thread; what cannot be stored now is counted on."""
        with self._lock:
            counted, self._counted = self._counted, {}
        try:
            if counted:
                self._store(list(counted.values()))
        except StorageError as problem:
            _LOG.warning("failed logins are written to the change log later: %s", problem)
            with self._lock:
                self._count_on(counted.values())
                self._start()

    def _start(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._window_s, self._run)
            self._timer.daemon = True
            self._timer.start()

    def _found(self, address: str | None, scheme: str, now: int) -> FailedLogin:
        """Return the count that a request belongs to; the caller holds the lock."""
        found = self._counted.get((address, scheme))
        if found is None and len(self._counted) >= MOST_ADDRESSES:
            address = None
        return found or self._counted.setdefault((address, scheme), FailedLogin(address, scheme, now, now))

    def _count_on(self, former: Iterable[FailedLogin]) -> None:
        for one in former:
            found = self._found(one.address, one.scheme, one.first_at)
            found.attempts += one.attempts
            found.first_at = min(found.first_at, one.first_at)
            found.last_at = max(found.last_at, one.last_at)
            found.fingerprints |= one.fingerprints

    def _fingerprint(self, token: str) -> str | None:
        if self._key is None or not token:
            return None
        return hmac.new(self._key, token.encode(errors="replace"), hashlib.sha256).hexdigest()[:_DIGITS]

    def _run(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self.write()
        finally:
            self._close()
