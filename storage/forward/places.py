"""Where a resource stands in an answer of the upstream, told so that it is found again later.

A place is the time of creation, a mark of the id, and the index in the answer. Where resources ahead
of it came or went, so that something else has its index, it is found by the rest.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from storage.adapter import Found, Position, Selection, StoredResource
from storage.index_keys import number_at

_EPOCH: Final = datetime(2010, 1, 1, tzinfo=UTC)
_STEP: Final = 50
# Hexadecimal digits of the time in milliseconds, and of it with the mark of the id.
_AGE: Final = 11
_IDENTITY: Final = _AGE + 8
# Of version 0.2.0.
_LAST_INDEX: Final = (1 << 23) - 1

# (start, count) -> resources with their places, total of the answer; `start` counts from 0.
Source = Callable[[int, int | None], tuple[Sequence[StoredResource], int]]
# The key a resource is sorted by.
Key = Callable[[StoredResource], str | None]


def placed(stored: StoredResource, index: int) -> StoredResource:
    """Return the resource with its place."""
    try:
        age = datetime.fromisoformat(stored.created) - _EPOCH
        milliseconds = max(0, int(age.total_seconds() * 1000))
    except ValueError:
        milliseconds = 0
    mark = hashlib.sha256(stored.id.encode(errors="surrogatepass")).hexdigest()[: _IDENTITY - _AGE]
    return replace(stored, place=f"{milliseconds:0{_AGE}x}{mark}{index:x}")


def placed_by_age(stored: StoredResource, *edges: Position | None) -> StoredResource:
    """Return the resource with a place that tells no index.

    A resource whose position one of `edges` is has the place that it has there: it is not beyond itself.
    """
    own = placed(stored, 0)
    ends = [at.place for at in edges if at is not None and at.place[:_IDENTITY] == own.place[:_IDENTITY]]
    return replace(own, place=ends[0]) if ends else own


def is_current(position: Position) -> bool:
    """Return whether a place tells the id; those of version 0.2.0 do not."""
    return len(position.place) > _IDENTITY


@dataclass(frozen=True)
class _Anchor:
    """What a position says: an index, how to know the resource that was there, and its order."""

    index: int
    identity: str
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

    def page(self) -> Found:
        """Return the page."""
        selection = self._selection
        if selection.after is not None:
            return self._after(self._anchor(selection.after))
        if selection.before is not None:
            return self._before(self._anchor(selection.before))
        return _page(*self._source(selection.offset, selection.limit))

    def _after(self, anchor: _Anchor) -> Found:
        limit = self._selection.limit
        found, total = self._near(anchor.index, None if limit is None else limit + 1)
        if found and self._is(anchor, found[0]):
            return _page(found[1:], total)
        at, is_there = self._located(anchor)
        return _page(*self._source(at + is_there, limit))

    def _before(self, anchor: _Anchor) -> Found:
        limit = self._selection.limit if self._selection.limit is not None else anchor.index
        start = max(0, anchor.index - limit)
        found, total = self._near(start, anchor.index - start + 1)
        if found and start + len(found) == anchor.index + 1 and self._is(anchor, found[-1]):
            return _page(found[:-1], total)
        at, _ = self._located(anchor)
        start = max(0, at - limit)
        found, total = self._source(start, at - start)
        return _page(found, total)

    def _located(self, anchor: _Anchor) -> tuple[int, bool]:
        """Return the index of a resource, or where it would be, and whether it is there."""
        low, size = max(0, anchor.index - 1), _STEP
        while True:
            found, total = self._source(low, size)
            orders = [self._order(one) for one in found]
            same = [low + n for n, one in enumerate(found) if self._is(anchor, one)]
            if same:
                return same[0], True
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
        place = position.place
        if not is_current(position):
            return self._older_anchor(position)
        order = (position.key is None, position.key or "", place[:_AGE])
        return _Anchor(int(place[_IDENTITY:], 16), place[:_IDENTITY], order)

    def _older_anchor(self, position: Position) -> _Anchor:
        """Return what a position of version 0.2.0 says, which does not tell the id."""
        index, milliseconds = divmod(number_at(position.place), 1 << 40)
        index = _LAST_INDEX - index if self._descending else index
        order = (position.key is None, position.key or "", f"{milliseconds:0{_AGE}x}")
        return _Anchor(index, "", order)

    def _is(self, anchor: _Anchor, stored: StoredResource) -> bool:
        if not anchor.identity:
            return self._order(stored) == anchor.order
        return stored.place[:_IDENTITY] == anchor.identity

    def _order(self, stored: StoredResource) -> tuple[Any, ...]:
        key = self._key(stored) if self._selection.sort is not None else None
        return (key is None, key or "", stored.place[:_AGE])


def _page(resources: Sequence[StoredResource], total: int) -> Found:
    return Found(resources, is_page=True, total=total)
