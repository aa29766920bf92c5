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


def in_transaction(adapter: StorageAdapter, change: Callable[[], _Result]) -> _Result:
    """Run `change` in a transaction until no other writer came between its reading and its writing.

    Within a transaction it is run once: only the whole can be tried again. Raises what `change`
    raises, in the end VersionMismatch and Contention too.
    """
    if adapter.in_transaction:
        return change()
    for _ in range(_ATTEMPTS - 1):
        try:
            with adapter.transaction():
                return change()
        except (VersionMismatch, Contention):
            time.sleep(random.uniform(0, _PAUSE_S))
    with adapter.transaction():
        return change()
