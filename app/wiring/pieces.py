"""The pieces of work of a base: storage, events, what processes left, audit export, requests, receivers."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from app.protocol.asynchronous import AsyncRequests
from app.wiring.delivery import Delivery
from app.work.registry import Piece, Until
from app.work.wakeups import CHANGES, CLOCK, FEEDS, PUSH, REQUESTS, RESULTS
from storage.adapter import StorageAdapter

# How often to look for the work of other processes, and for work that is due again.
_LOOK_S: Final = 1.0
# A thread looks for changes and for SETs at most this often: each look takes time from requests, and
# together they take less. A client may be waiting for a request: these are looked for at once.
_REST_S: Final = 0.05
# How often to look for write-ahead records of dead processes, for expired rows, and for resources to mend.
_SWEEP_S: Final = 5.0
# A look for resources to mend takes at most one part of so many of the time.
_SHARE: Final = 100
# How many asynchronous requests one process carries out at a time.
_AT_A_TIME: Final = 2


def pieces_of(
    delivery: Delivery, requests: AsyncRequests | None, adapter: StorageAdapter
) -> Iterator[Piece]:
    """Yield the pieces, in the order in which one makes another due."""
    if adapter.capabilities.mends:
        mending = _Mending(adapter)
        yield Piece("storage", CLOCK, mending.is_due, mending.run, _SWEEP_S, is_brief=True)
    if delivery.notes is not None or requests is not None:
        yield from _common_pieces(delivery)
    if requests is not None:
        run = partial(_run_requests, delivery, requests)
        for number in range(1, _AT_A_TIME + 1):
            yield Piece(f"requests {number}", REQUESTS, delivery.jobs.is_due, run, _LOOK_S)
    if delivery.publishing.is_on:
        for receiver in delivery.publishing.receivers:
            pusher = delivery.pusher()
            is_due, push = partial(pusher.is_due, receiver), partial(pusher.run, receiver)
            yield Piece(f"push {receiver.name}", PUSH, is_due, push, _LOOK_S, _REST_S)


class _Mending:
    """Has an adapter look for what there is to mend: a look takes little of the time in the long run."""

    def __init__(self, adapter: StorageAdapter) -> None:
        self._adapter = adapter
        # Not together with the first requests.
        self._due_s = time.monotonic() + _SWEEP_S

    def is_due(self) -> bool:
        return time.monotonic() >= self._due_s

    def run(self, until: Until) -> int:
        if not self.is_due():
            return 0
        started = time.monotonic()
        try:
            return self._adapter.mend()
        finally:
            ended = time.monotonic()
            self._due_s = ended + max(_SWEEP_S, _SHARE * (ended - started))


def _common_pieces(delivery: Delivery) -> Iterator[Piece]:
    def settle(until: Until) -> int:
        return delivery.settle_intents()

    def expire(until: Until) -> int:
        return delivery.expire()

    def publish(until: Until) -> int:
        made = delivery.dispatcher.run(until)
        if made:
            # The changes may be those of other processes.
            delivery.wakeups.wake(PUSH, FEEDS)
        return made

    yield Piece("intents", CLOCK, delivery.has_overdue_intents, settle, _SWEEP_S, is_brief=True)
    yield Piece("events", CHANGES, delivery.dispatcher.is_due, publish, _LOOK_S, _REST_S, is_brief=True)
    yield Piece("retention", CLOCK, delivery.is_expiry_due, expire, _SWEEP_S, is_brief=True)
    if delivery.audit.export is not None:
        yield Piece("audit export", CLOCK, delivery.audit.export.is_due, delivery.audit.export.run, _LOOK_S)


def _run_requests(delivery: Delivery, requests: AsyncRequests, until: Until) -> int:
    has_begun = False

    def is_over() -> bool:
        # Asked before each request, when the result of the one before is committed.
        nonlocal has_begun
        if has_begun:
            delivery.wakeups.wake(RESULTS)
        has_begun = True
        return until()

    return requests.run(is_over)
