"""Requests that wait for something to happen hold no thread of a web process."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

# A request looks by itself after this many seconds, and later at intervals that grow by the factor: for
# what other processes do.
_FIRST_PAUSE_S: Final = 0.02
_LAST_PAUSE_S: Final = 0.25
_GROWTH: Final = 1.5
# After a wake-up that was for another request, a request rests: wake-ups may be very frequent.
_FIRST_REST_S: Final = 0.02
_LAST_REST_S: Final = 0.1
# All requests of a process together look about so often each second.
_MOST_LOOKS: Final = 500


@dataclass(eq=False, slots=True)
class Place:
    """A request that waits for a wake-up of `topic`; `due_s` is when it looks next, by the monotonic clock.

    While it looks, `due_s` is infinite unless it is woken meanwhile.
    """

    channel: Any
    topic: str
    due_s: float
    pause_s: float = _FIRST_PAUSE_S
    rest_s: float = 0.0
    is_woken: bool = False


class Parking:
    """The requests of a process that wait; `alarm` is called when one is due earlier than was known."""

    def __init__(self, alarm: Callable[[], object]) -> None:
        self._alarm = alarm
        self._lock = threading.Lock()
        self._places: dict[Place, None] = {}
        self._next_s = math.inf
        self.is_over = False

    def enter(self, channel: Any, topic: str) -> Place:
        """Let the request of a channel wait, and return its place."""
        place = Place(channel, topic, time.monotonic() + _FIRST_PAUSE_S)
        with self._lock:
            self._places[place] = None
        self._tell(place.due_s)
        return place

    def leave(self, place: Place) -> None:
        """Forget a request."""
        with self._lock:
            self._places.pop(place, None)

    def stay(self, place: Place) -> None:
        """Let a request that has looked in vain wait on."""
        least_s = len(self._places) / _MOST_LOOKS
        with self._lock:
            if place.is_woken:
                place.rest_s = max(_FIRST_REST_S, least_s, min(_LAST_REST_S, place.rest_s * _GROWTH))
            else:
                place.pause_s = max(least_s, min(_LAST_PAUSE_S, place.pause_s * _GROWTH))
            place.is_woken = False
            place.due_s = min(place.due_s, time.monotonic() + place.pause_s)
        self._tell(place.due_s)

    def woken(self, topic: str) -> None:
        """Let the requests that wait for `topic` look, after a rest where they have just looked in vain."""
        if not self._places:
            return
        now, first_s = time.monotonic(), math.inf
        with self._lock:
            for place in self._places:
                if place.topic == topic:
                    place.is_woken = True
                    place.due_s = min(place.due_s, now + place.rest_s)
                    first_s = min(first_s, place.due_s)
        self._tell(first_s)

    def end(self) -> None:
        """Let every request look for the last time."""
        self.is_over = True

    def take_due(self, now: float) -> list[Place]:
        """Return the requests that are to look now."""
        with self._lock:
            due = [one for one in self._places if one.due_s <= now or self.is_over and one.due_s < math.inf]
            for place in due:
                place.due_s = math.inf
            self._next_s = min((one.due_s for one in self._places), default=math.inf)
        return due

    def pause_s(self, now: float, longest_s: float) -> float:
        """Return the seconds until the next request is due, at most `longest_s`."""
        return min(longest_s, max(0.0, self._next_s - now))

    def _tell(self, due_s: float) -> None:
        if due_s < self._next_s:
            self._alarm()
