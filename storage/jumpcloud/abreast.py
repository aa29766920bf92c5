"""Several calls of JumpCloud at the same time, for one request."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def abreast(work: Callable[[Item], Result], items: Sequence[Item], width: int) -> list[Result]:
    """Return what `work` makes of each item, in order, with at most `width` of them at work.

    When one fails, what has not begun does not begin.
    """
    if len(items) < 2 or width < 2:
        return [work(item) for item in items]
    threads = ThreadPoolExecutor(min(width, len(items)))
    try:
        return [done.result() for done in [threads.submit(work, item) for item in items]]
    finally:
        threads.shutdown(cancel_futures=True)
