"""Pages of a sorted order that is read in parts: the same as those cut from the whole."""

import random
from dataclasses import replace
from itertools import product

import pytest

from storage.adapter import Position, Selection, Sort
from storage.order import OrderPart, read_page
from storage.testing import USER

KEYS = ("a", None, "b", "a", None, "c", None, "b")
POSITIONS = [Position(f"{number:02}", key) for number, key in enumerate(KEYS)]
LIMITS = (None, 1, 3, len(KEYS), 20)


class Backend:
    """Reads parts of an order as a database does, and counts its questions."""

    def __init__(self, positions: list[Position]) -> None:
        self._positions = random.Random(1).sample(positions, len(positions))
        self.asked = 0

    def read(self, part: OrderPart, offset: int, limit: int | None) -> list[Position]:
        self.asked += 1
        found = sorted(self._all_of(part), key=self._order, reverse=part.descending)
        if part.beyond is not None:
            edge = self._order(part.beyond)
            orders = [(one, self._order(one)) for one in found]
            found = [one for one, order in orders if (order < edge if part.descending else order > edge)]
        return found[offset:] if limit is None else found[offset : offset + limit]

    def count(self, part: OrderPart) -> int:
        return len(self._all_of(part))

    @staticmethod
    def _order(one: Position) -> tuple[str, str]:
        return one.key or "", one.place

    def _all_of(self, part: OrderPart) -> list[Position]:
        return [one for one in self._positions if (one.key is not None) == part.has_value]


def sort_by(text: str, descending: bool = False) -> Sort:
    path = USER.path(text)
    assert path is not None
    return Sort(path, descending)


def cut(selection: Selection) -> list[Position]:
    """Return the page from the order as a whole."""
    sort = selection.sort
    assert sort is not None
    ordered = sorted(POSITIONS, key=lambda one: one.order(sort), reverse=sort.descending)
    if selection.after is not None:
        ordered = ordered[ordered.index(selection.after) + 1 :]
    if selection.before is not None:
        ordered = ordered[: ordered.index(selection.before)]
        return ordered if selection.limit is None else ordered[-selection.limit :]
    end = None if selection.limit is None else selection.offset + selection.limit
    return ordered[selection.offset : end]


@pytest.mark.parametrize("descending", [False, True])
def test_a_page_is_what_is_cut_from_the_whole(descending: bool) -> None:
    whole = Selection(sort=sort_by("title", descending))
    selections = [replace(whole, offset=n, limit=limit) for n, limit in product(range(12), LIMITS)]
    for one, limit in product(POSITIONS, LIMITS):
        selections += [replace(whole, after=one, limit=limit), replace(whole, before=one, limit=limit)]

    for selection in selections:
        backend = Backend(POSITIONS)
        assert read_page(selection, backend.read, backend.count) == cut(selection), selection


def test_resources_without_a_value_are_sought_only_where_there_can_be_some() -> None:
    backend = Backend([replace(one, key=one.key or "d") for one in POSITIONS])

    assert len(read_page(Selection(sort=sort_by("meta.created")), backend.read, backend.count)) == len(KEYS)
    assert backend.asked == 1


def test_a_part_that_fills_the_page_is_the_last_that_is_read() -> None:
    backend = Backend(POSITIONS)

    assert len(read_page(Selection(sort=sort_by("title"), limit=2), backend.read, backend.count)) == 2
    assert backend.asked == 1
