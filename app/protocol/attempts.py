"""Trying a change again when another writer came first."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from storage.adapter import StorageAdapter
from storage.errors import Contention, VersionMismatch

# How often a change is tried where the client set no condition of its own, and the longest pause
# before the next time, in seconds.
_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.05

_Result = TypeVar("_Result")


def in_transaction(
    adapter: StorageAdapter, change: Callable[[], _Result], prepare: Callable[[], object] | None = None
) -> _Result:
    """Run `change` in a transaction until no other writer came between its reading and its writing.

    `prepare` is done before each attempt, outside the transaction: what takes long must not hold up
    other writers. Within a transaction `change` is run once: only the whole can be tried again.
    Raises what `change` raises, in the end VersionMismatch and Contention too.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        if prepare is not None:
            prepare()
        if adapter.in_transaction:
            return change()
        try:
            with adapter.transaction():
                return change()
        except (VersionMismatch, Contention):
            if attempt == _ATTEMPTS:
                raise
            time.sleep(random.uniform(0, _PAUSE_S))
    raise AssertionError("the last attempt has ended")
