"""Answers of the upstream read by cursors (RFC 9865), page after page, from the beginning or a mark."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from storage.errors import BadBackendAnswer
from storage.forward.form import Upstream

# Pages without anything new that are passed before an answer is taken for endless.
_IDLE: Final = 100
# Marks that are kept, and the longest cursor that makes one.
_MARKS: Final = 1000
_LONGEST: Final = 2000


class CursorLost(Exception):
    """The upstream does not know a cursor, or no longer."""


class CursorsRefused(Exception):
    """The upstream does not page by cursor, whatever it says."""


@dataclass(frozen=True)
class CursorPage:
    """What a page lists, the total of the answer where it tells, and the cursor of the next page."""

    found: list[Upstream]
    total: int | None
    following: str | None


@dataclass(frozen=True)
class Mark:
    """The page that `cursor` leads to began at `index` when the answer had `total` resources."""

    index: int
    cursor: str
    total: int | None = None


BEGINNING: Final = Mark(0, "")


class Marks:
    """Where pages of recent answers began. An answer is told from others by a `question`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, int], Mark] = OrderedDict()

    def add(self, question: Any, mark: Mark) -> None:
        """Remember a mark in place of what is there."""
        if len(mark.cursor) > _LONGEST:
            return
        with self._lock:
            self._kept.pop((question, mark.index), None)
            self._kept[question, mark.index] = mark
            if len(self._kept) > _MARKS:
                self._kept.popitem(last=False)

    def nearest(self, question: Any, index: int) -> Mark:
        """Return the last mark that is not behind an index."""
        with self._lock:
            marks = [m for (asked, at), m in self._kept.items() if at <= index and asked == question]
        return max(marks, key=lambda mark: mark.index, default=BEGINNING)

    def forget(self, question: Any) -> None:
        """Forget the marks of one answer."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == question]:
                del self._kept[key]


class CursorReader:
    """Reads one answer of the upstream called `name`; `ask` returns the page a cursor leads to."""

    def __init__(self, name: str, ask: Callable[[str], CursorPage]) -> None:
        self._name = name
        self._ask = ask

    def pages(self) -> Iterator[CursorPage]:
        """Yield the pages with what is new in each.

        When a cursor is lost, the answer is read again, and what came before is left out; not so
        when nothing was won by that the last time. Raises CursorsRefused at the first page.
        """
        return (page for _, page in self._read(BEGINNING))

    def part(
        self, start: int, count: int | None, begin: Mark, found: Callable[[Mark], None]
    ) -> tuple[list[Upstream], int]:
        """Return up to `count` resources from index `start` on, and the total; `found` gets the marks.

        Raises CursorsRefused; when it does not begin at the beginning, CursorLost if the mark does
        not hold any more.
        """
        end = None if count is None else start + count
        got: list[Upstream] = []
        at, total = begin.index, None
        for cursor, page in self._read(begin):
            total = page.total
            if cursor and total is not None and at + len(page.found) > start:
                found(Mark(at, cursor, total))
            got += page.found[max(0, start - at) :]
            at += len(page.found)
            if begin.cursor and (total != begin.total or total is None or at > total):
                raise CursorLost(cursor)
            # A total that leaves nothing for the pages to come is no total.
            if end is not None and at >= end and total is not None and total > at:
                break
        return got[:count], max(total or 0, at)

    def _read(self, begin: Mark) -> Iterator[tuple[str, CursorPage]]:
        """Yield pages, each with its cursor, which is empty when not the whole page is new."""
        seen: set[str] = set()
        passed: set[str] = set()
        used: set[str] = set()
        cursor, idle, has_won = begin.cursor, 0, False
        while True:
            try:
                page = self._ask(cursor)
            except CursorLost as lost:
                self._check_lost(begin, bool(used), has_won, lost)
                cursor, idle, has_won = "", 0, False
                used, passed = set(), set()
                continue
            idle = 0 if any(one.stored.id not in passed for one in page.found) else idle + 1
            passed.update(one.stored.id for one in page.found)
            new = list({one.stored.id: one for one in page.found if one.stored.id not in seen}.values())
            seen.update(one.stored.id for one in new)
            has_won = has_won or bool(new)
            used.add(cursor)
            yield cursor if len(new) == len(page.found) else "", replace(page, found=new)
            if page.following is None:
                return
            # A cursor may stay the same while the upstream goes on.
            if (idle and page.following in used) or idle >= _IDLE:
                if page.total is not None and begin.index + len(seen) >= page.total:
                    return
                raise BadBackendAnswer(f"{self._name} sent cursors that lead to no new resources")
            cursor = page.following

    def _check_lost(self, begin: Mark, is_later: bool, has_won: bool, lost: CursorLost) -> None:
        """Return when the answer can be read again from its beginning."""
        if begin.cursor:
            raise lost
        if not is_later:
            raise CursorsRefused from lost
        if not has_won:
            raise BadBackendAnswer(f"{self._name} refuses cursors that it has just sent") from lost
