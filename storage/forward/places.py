"""Where a resource stands in an answer of the upstream, told so that it is found again later.

A place is the index in the answer and the time of creation. Where resources ahead of it came or
went, so that something else has its index, it is found by its sort key and its time of creation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from storage.adapter import Page, Position, Selection, Sort, StoredResource

_LAST: Final = (1 << 23) - 1
_MARK_BITS: Final = 40
_EPOCH: Final = datetime(2010, 1, 1, tzinfo=UTC)
_STEP: Final = 50

# (start, count) -> resources with their places, total of the answer; `start` counts from 0.
Source = Callable[[int, int | None], tuple[Sequence[StoredResource], int]]
# The key a resource is sorted by.
Key = Callable[[StoredResource], str | None]


def placed(stored: StoredResource, index: int, sort: Sort | None) -> StoredResource:
    """Return the resource with its place; places grow with the order, or fall when that descends."""
    index = min(index, _LAST)
    if sort is not None and sort.descending:
        index = _LAST - index
    return replace(stored, place=(index << _MARK_BITS) | _mark(stored))


def _mark(stored: StoredResource) -> int:
    try:
        age = datetime.fromisoformat(stored.created) - _EPOCH
    except ValueError:
        return 0
    return max(0, int(age.total_seconds() * 1000)) & ((1 << _MARK_BITS) - 1)


@dataclass(frozen=True)
class _Anchor:
    """What a position says: an index, and how to know the resource that was there."""

    index: int
    order: tuple[Any, ...]


class PageCutter:
    """Cuts the selected page out of an answer.

    `near` may be a quicker source, with indices that need not be right: it is asked for what is next
    to a known resource, and believed when it has that where it was.
    """

    def __init__(self, source: Source, key: Key, selection: Selection, near: Source | None = None) -> None:
        self._source = source
        self._near = near or source
        self._key = key
        self._selection = selection
        self._descending = selection.sort is not None and selection.sort.descending

    def page(self) -> Page:
        """Return the page."""
        selection = self._selection
        if selection.after is not None:
            return self._after(self._anchor(selection.after))
        if selection.before is not None:
            return self._before(self._anchor(selection.before))
        return Page(*self._source(selection.offset, selection.limit))

    def _after(self, anchor: _Anchor) -> Page:
        limit = self._selection.limit
        found, total = self._near(anchor.index, None if limit is None else limit + 1)
        if found and self._order(found[0]) == anchor.order:
            return Page(found[1:], total)
        at, is_there = self._located(anchor)
        return Page(*self._source(at + is_there, limit))

    def _before(self, anchor: _Anchor) -> Page:
        limit = self._selection.limit if self._selection.limit is not None else anchor.index
        start = max(0, anchor.index - limit)
        found, total = self._near(start, anchor.index - start + 1)
        if found and start + len(found) == anchor.index + 1 and self._order(found[-1]) == anchor.order:
            return Page(found[:-1], total)
        at, _ = self._located(anchor)
        start = max(0, at - limit)
        found, total = self._source(start, at - start)
        return Page(found, total)

    def _located(self, anchor: _Anchor) -> tuple[int, bool]:
        """Return the index of a resource, or where it would be, and whether it is there."""
        low, size = max(0, anchor.index - 1), _STEP
        while True:
            found, total = self._source(low, size)
            orders = [self._order(one) for one in found]
            same = [low + n for n, order in enumerate(orders) if order == anchor.order]
            if same:
                return min(same, key=lambda index: abs(index - anchor.index)), True
            if orders != sorted(orders, reverse=self._descending):
                # Not in the order of creation: nothing better than the index is known.
                return anchor.index, False
            behind = [n for n, order in enumerate(orders) if not self._is_ahead(order, anchor.order)]
            size *= 4
            if low > 0 and (not orders or behind[:1] == [0]):
                # The first of this window is the last of the one ahead of it.
                low = max(0, low - size + 1)
            elif behind or low + len(found) >= total or not found:
                return low + (behind[0] if behind else len(orders)), False
            else:
                low += len(found)

    def _is_ahead(self, order: tuple[Any, ...], of: tuple[Any, ...]) -> bool:
        return order > of if self._descending else order < of

    def _anchor(self, position: Position) -> _Anchor:
        index = position.place >> _MARK_BITS
        if self._descending:
            index = _LAST - index
        mark = position.place & ((1 << _MARK_BITS) - 1)
        return _Anchor(index, (position.key is None, position.key or "", mark))

    def _order(self, stored: StoredResource) -> tuple[Any, ...]:
        key = self._key(stored) if self._selection.sort is not None else None
        return (key is None, key or "", _mark(stored))
