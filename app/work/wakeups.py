"""Wake-ups within a process: a thread waits for a topic, and other threads wake it."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Final

# The topics. Work that is due: a change without SETs, an asynchronous request, a SET to send.
CHANGES: Final = "changes"
REQUESTS: Final = "requests"
PUSH: Final = "push"
# For readers: a feed may have new SETs, an asynchronous request may have a result.
FEEDS: Final = "feeds"
RESULTS: Final = "results"
# Work that only the clock makes due. A driver that ends wakes the threads that wait for it.
CLOCK: Final = "clock"
TOPICS: Final = (CHANGES, REQUESTS, PUSH, FEEDS, RESULTS, CLOCK)

# A reader looks by itself after this many seconds, and later at intervals that grow by the factor.
_FIRST_LOOK_S: Final = 0.02
_LAST_LOOK_S: Final = 0.25
_GROWTH: Final = 1.5
# After a wake-up that was for another reader, a reader sleeps: wake-ups may be very frequent.
_FIRST_REST_S: Final = 0.02
_LAST_REST_S: Final = 0.1


class Wakeups:
    """Tells the threads of this process that work is due or done; another process learns nothing.

    A driver that passes the news to other processes sets `forward`, and a web server that lets requests
    wait sets `listener`, which gets each topic that was woken. Both must return at once and raise nothing.
    A child of a fork begins with topics of its own.
    """

    def __init__(self) -> None:
        self.forward: Callable[[], object] = lambda: None
        self.listener: Callable[[str], object] = lambda topic: None
        self._begin()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    def _begin(self) -> None:
        # Another thread may have held one of the locks at the fork.
        self._conditions = {topic: threading.Condition() for topic in TOPICS}
        self._counts = dict.fromkeys(TOPICS, 0)

    def due(self, *topics: str) -> None:
        """Wake the threads that wait for one of `topics`, and forward that work is due."""
        self.wake(*topics)
        self.forward()

    def wake(self, *topics: str) -> None:
        """Wake the threads that wait for one of `topics`."""
        for topic in topics:
            condition = self._conditions[topic]
            with condition:
                self._counts[topic] += 1
                condition.notify_all()
            self.listener(topic)

    def count(self, topic: str) -> int:
        """Return how often a topic was woken: the number that `wait` compares with."""
        return self._counts[topic]

    def wait(self, topic: str, count: int, seconds: float) -> bool:
        """Wait until a topic was woken more often than `count`; return False after `seconds`."""
        condition = self._conditions[topic]
        with condition:
            return condition.wait_for(lambda: self._counts[topic] != count, seconds)

    def looks(self, topic: str, seconds: float) -> Iterator[None]:
        """Yield each time that a reader is to look: at once, after wake-ups of `topic`, and now and then.

        The intervals between looks without a wake-up grow: they are for the work of other processes.
        The last look is after `seconds`.
        """
        until = time.monotonic() + seconds
        pause, rest, woken = _FIRST_LOOK_S, _FIRST_REST_S, False
        while True:
            # Before the look: a wake-up during the look counts for the next one.
            count = self.count(topic)
            yield
            if woken:
                time.sleep(max(0.0, min(rest, until - time.monotonic())))
                rest = min(_LAST_REST_S, rest * _GROWTH)
            left = until - time.monotonic()
            if left <= 0:
                return
            woken = self.wait(topic, count, min(pause, left))
            if not woken:
                pause = min(_LAST_LOOK_S, pause * _GROWTH)


def _after_fork(reference: "weakref.ref[Wakeups]") -> None:
    wakeups = reference()
    if wakeups is not None:
        wakeups._begin()
