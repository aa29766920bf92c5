"""Long lists in parts that fit into one statement of a backend."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

# The number of ids in one query, and of rows in one write, unless a backend has a limit of its own.
BATCH: Final = 500

_Item = TypeVar("_Item")


def batches(values: Iterable[_Item], size: int = BATCH) -> Iterator[list[_Item]]:
    """Yield `values` in lists of at most `size`."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
