"""A page of a sorted order, read in parts: resources with a value to sort by, and those without."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from storage.adapter import Position, Selection

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class OrderPart:
    """Resources that have a value to sort by, or that have none: these are in the order of their places.

    A reading begins behind `beyond`, or with the first resource where that is None. Without a sort, all
    resources are one part, in the order of their places.
    """

    has_value: bool
    descending: bool
    beyond: Position | None = None


def read_page(
    selection: Selection,
    read: Callable[[OrderPart, int, int | None], list[_Item]],
    count: Callable[[OrderPart], int],
) -> list[_Item]:
    """Return a page; one that ends at a position is read backwards.

    `read` returns what is in a part from an offset on, at most a limit; `count` returns how much is in a
    part, `beyond` apart.
    """
    offset, limit = selection.offset, selection.limit
    found: list[_Item] = []
    for part in _parts(selection):
        items = read(part, offset, None if limit is None else limit - len(found))
        found += items
        if len(found) == limit:
            break
        offset = 0 if items or not offset else offset - count(part)
    return found if selection.before is None else found[::-1]


def _parts(selection: Selection) -> list[OrderPart]:
    """Return the parts of an order from a position on.

    Resources without a value come last when ascending and first when descending (RFC 7644 section
    3.4.2.3), so that one order is the other reversed.
    """
    sort, position = selection.sort, selection.after or selection.before
    backwards = selection.before is not None
    if sort is None:
        return [OrderPart(False, backwards, position)]
    descending = backwards != sort.descending
    valued, missing = OrderPart(True, descending), OrderPart(False, descending)
    parts = [missing, valued] if descending else [valued, missing]
    if position is not None:
        at = parts.index(missing if position.key is None else valued)
        parts[: at + 1] = [replace(parts[at], beyond=position)]
    if sort.path.attribute.name in ("id", "meta"):
        # Nothing is without it: looking for that would take a walk through all.
        parts = [part for part in parts if part.has_value]
    return parts
