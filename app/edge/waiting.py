"""Requests that wait for something to happen: for a SET, or for the result of an asynchronous request."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from flask import request

from app.edge.error_handlers import error_response
from app.edge.guard import current_check
from app.edge.responses import Response
from app.work.wakeups import Wakeups

PARK: Final = "scim.park"
"""The key of a function in the WSGI environment of a server that lets requests wait without a thread.

It takes the iterable that the application is about to return, a `Later`. The server calls `Later.look` now
and then, and iterates once that returns true.
"""


@dataclass(frozen=True)
class Wait:
    """What a request waits for, for up to `seconds`: a wake-up of `topic` that makes `look` find an answer.

    `look` is told whether this is the last look; then it must return an answer. It uses no `g`.
    """

    topic: str
    seconds: float
    look: Callable[[bool], Response | None]

    def last(self) -> Response:
        """Return the answer when the time is over."""
        found = self.look(True)
        assert found is not None
        return found


class Waiting:
    """Lets requests wait: without a thread where the server can, elsewhere in one of `places` threads."""

    def __init__(self, places: int, wakeups: Wakeups) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._wakeups = wakeups

    def answer(self, wait: Wait, briefly_s: float = 0.0) -> Response:
        """Return the answer that comes out of a wait.

        In a thread, a wait needs no place for the first `briefly_s` seconds. When all places are taken
        then, it ends: other requests need the threads. No answer leaves for a client whose credentials were
        revoked meanwhile.
        """
        wait = replace(wait, look=partial(_checked, current_check(), wait.look))
        if PARK in request.environ:
            return _Delayed(wait)
        found = self._looked(wait, min(wait.seconds, briefly_s))
        left = wait.seconds - briefly_s
        if found is None and left > 0 and self._places.acquire(blocking=False):
            try:
                found = self._looked(wait, left)
            finally:
                self._places.release()
        return wait.last() if found is None else found

    def _looked(self, wait: Wait, seconds: float) -> Response | None:
        for _ in self._wakeups.looks(wait.topic, seconds):
            found = wait.look(False)
            if found is not None:
                return found
        return None


def _checked(
    check: Callable[[], object], look: Callable[[bool], Response | None], is_last: bool
) -> Response | None:
    check()
    return look(is_last)


class Later:
    """The answer to a request that waits, as a WSGI application returns it. Its wait begins now."""

    def __init__(self, environ: Mapping[str, Any], start_response: Any, wait: Wait) -> None:
        self.topic = wait.topic
        self._environ = environ
        self._start_response = start_response
        self._wait = wait
        self._until = time.monotonic() + wait.seconds
        self._found: Response | None = None

    def look(self, is_last: bool) -> bool:
        """Look for the answer, and return whether there is one; there is when the time is over."""
        try:
            self._found = self._wait.look(is_last or time.monotonic() >= self._until)
        # As Flask does with the exception of a view.
        except Exception as problem:
            self._found = error_response(problem)
        return self._found is not None

    def __iter__(self) -> Iterator[bytes]:
        assert self._found is not None
        yield from self._found(self._environ, self._start_response)


class _Delayed(Response):
    """Stands for the answer until there is one."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(None)
        self._wait = wait

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Any:
        later = Later(environ, start_response, self._wait)
        environ[PARK](later)
        return later
