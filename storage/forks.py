"""Processes that fork: a child leaves the connections and locks of its parent alone."""

import os
import weakref
from collections.abc import Callable
from typing import Any


def in_child(begin: Callable[[], object]) -> None:
    """Have a method called in each child of a fork, as long as its object lives.

    The method makes connections and locks anew. Those of the parent stay as they are: to close or
    collect them would end them in the parent's name, and another thread may have held a lock.
    """
    method = weakref.WeakMethod(begin)
    abandoned: list[dict[str, Any]] = []

    def restart() -> None:
        found: Any = method()
        if found is not None:
            abandoned.append(dict(vars(found.__self__)))
            found()

    os.register_at_fork(after_in_child=restart)
