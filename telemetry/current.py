"""The request, or the piece of work, that a thread is busy with: for log lines, counters and traces.

Log lines and counters of a layer that knows no request, such as the storage, belong to this one.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final


class Activity:
    """What is known of a request or a piece of work while it goes on.

    `base` names the base, `name` says what is done: the route of a request, such as `/Users/{id}`, or a
    piece of work. `principal` is the name of the client, empty until the client has proved who it is.
    `store_calls` and `store_s` are the calls of the storage adapter so far and the seconds in them.
    `traceparent` names the trace that it is part of, empty without one; `span` is its own part of that.
    """

    store_calls = 0
    store_s = 0.0
    traceparent = ""
    span: Any = None

    def __init__(
        self, base: str, name: str = "", request_id: str = "", principal: str = "", address: str = ""
    ) -> None:
        self.base = base
        self.name = name
        self.request_id = request_id
        self.principal = principal
        self.address = address
        self.started_s = time.perf_counter()


current: Final[ContextVar[Activity | None]] = ContextVar("activity", default=None)
"""What this thread is busy with, None between requests and pieces of work."""


@contextmanager
def busy_with(activity: Activity) -> Iterator[Activity]:
    """Let the log lines and counters of this thread belong to `activity` in this context."""
    token = current.set(activity)
    try:
        yield activity
    finally:
        current.reset(token)
