"""How often a client may ask, and an address may fail to say who it is (RFC 6585 section 4).

The package `limits` counts; flask-limiter, which is made of it, would not see the reads that Flask does not
dispatch.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.errors import ConfigurationError
from limits.errors import StorageError as CounterError
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from app.protocol.context import Principal
from app.protocol.errors import TooManyRequests

__all__ = ["ConfigurationError", "RequestLimits", "Turns", "rate_text"]

_LOG = logging.getLogger(__name__)

_UNITS: Final = {"s": RateLimitItemPerSecond, "m": RateLimitItemPerMinute, "h": RateLimitItemPerHour}
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([smh])")
# The log names a counter that does not answer at most this often, in seconds.
_SAID_EVERY_S: Final = 60.0


def rate_text(text: str) -> str:
    """Return the text of a rate, such as `25/s`, without spaces. Raises ValueError."""
    found = text.strip()
    if _RATE.fullmatch(found) is None:
        raise ValueError("must be a rate such as 25/s, 600/m or 10000/h")
    return found


def _item(rate: str) -> RateLimitItem:
    found = _RATE.fullmatch(rate)
    assert found is not None
    return _UNITS[found[2]](int(found[1]))


class RequestLimits:
    """Counts requests of clients and failures of addresses.

    `rate` is for each client whose token has none; `failures` is for each address; "" is for no limit.
    All processes with the same `counter_url` (Redis) count together; without one, each counts by itself.
    Where the counter does not answer, there is no limit.
    """

    def __init__(self, rate: str = "", failures: str = "", counter_url: str = "") -> None:
        self._rate, self._failures = rate, failures
        counter = storage_from_string(counter_url or "memory://", wrap_exceptions=True)
        self._limiter = SlidingWindowCounterRateLimiter(counter)
        self._items: dict[str, RateLimitItem] = {}
        self._said_s = float("-inf")

    def admit(self, principal: Principal, rate: str | None = None) -> None:
        """Count a request of a client. Raises TooManyRequests beyond its rate."""
        allowed = rate or self._rate
        if allowed and not self._hit(allowed, "client", principal.id):
            raise TooManyRequests(
                f"the client may send {allowed} requests; try again later",
                self._wait_s(allowed, "client", principal.id),
            )

    def require_patience(self, address: str) -> None:
        """Raises TooManyRequests for an address from which too many requests had no valid credentials."""
        if self._failures and not self._test(self._failures, "failure", address):
            raise TooManyRequests(
                "too many requests from this address had no valid credentials; try again later",
                self._wait_s(self._failures, "failure", address),
            )

    def failed(self, address: str) -> None:
        """Count a request without valid credentials."""
        if self._failures:
            self._hit(self._failures, "failure", address)

    def _hit(self, rate: str, *names: str) -> bool:
        return self._counted(lambda item: self._limiter.hit(item, *names), rate)

    def _test(self, rate: str, *names: str) -> bool:
        return self._counted(lambda item: self._limiter.test(item, *names), rate)

    def _counted(self, call: Callable[[RateLimitItem], bool], rate: str) -> bool:
        item = self._items.get(rate) or self._items.setdefault(rate, _item(rate))
        try:
            return call(item)
        except CounterError as problem:
            now = time.monotonic()
            if now >= self._said_s + _SAID_EVERY_S:
                self._said_s = now
                # Its text may hold the URL, and so a password.
                kind = type(problem.storage_error).__name__
                _LOG.error("RATE_LIMIT_URL: requests are not counted: %s", kind)
            return True

    def _wait_s(self, rate: str, *names: str) -> int:
        """Return in how many seconds the client should try again: 1 or more."""
        try:
            reset_s = self._limiter.get_window_stats(self._items[rate], *names).reset_time
        except CounterError:
            return 1
        return max(1, round(reset_s - time.time()))


class Turns:
    """Lets a client have `most` requests under way at a time in this process; 0 is for any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, principal: Principal) -> Iterator[None]:
        """Give a context for one request. Raises TooManyRequests where too many are under way."""
        if not self._most:
            yield
            return
        with self._lock:
            if self._under_way[principal.id] >= self._most:
                problem = f"{self._most} requests of the client are under way; try again later"
                raise TooManyRequests(problem, 1)
            self._under_way[principal.id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[principal.id] -= 1
                if not self._under_way[principal.id]:
                    del self._under_way[principal.id]
