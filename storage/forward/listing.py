"""Pages of the upstream's resources of one type (RFC 7644 section 3.4.2), however it cuts them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from schema.resource_type import ResourceType
from storage.errors import BadBackendAnswer
from storage.forward.abilities import Abilities, Known
from storage.forward.asking import Asker, Question
from storage.forward.cursors import BEGINNING, CursorLost, CursorPage, CursorReader, CursorsRefused, Mark
from storage.forward.form import ResourceReader, Upstream
from storage.remote import Client


class _PagesByCursor(Exception):
    """The upstream leads on by cursor where it was asked for a page by index."""


# What `Listing.part` does.
Part = Callable[[Question, int, int | None], tuple[list[Upstream], int]]


class Listing:
    """Reads lists of one resource type, by index or by cursor as the upstream has it."""

    def __init__(
        self, client: Client, resource_type: ResourceType, reader: ResourceReader, known: Known
    ) -> None:
        self._name = client.name
        self._type = resource_type
        self._reader = reader
        self._known = known
        self._asker = Asker(client, resource_type, known)

    def part(self, question: Question, start: int, count: int | None) -> tuple[list[Upstream], int]:
        """Return up to `count` resources from place `start` on (from 0), and the total of the answer.

        Raises NotHonoured when the upstream refuses the question.
        """
        abilities = self._known()
        while True:
            try:
                if abilities.pages_by_cursor:
                    return self._part_by_cursor(question, start, count, BEGINNING)
                return self._part_by_index(question, start, count)
            except CursorsRefused:
                abilities.refuse("cursor")
            except _PagesByCursor:
                abilities.index = False

    def near(self, question: Question, start: int, count: int | None) -> tuple[list[Upstream], int]:
        """Return what `part` does, quicker where it can, but from a place that may have shifted."""
        abilities = self._known()
        key = self._key(question)
        mark = abilities.marks.nearest(key, start)
        if mark.cursor and abilities.pages_by_cursor:
            try:
                return self._part_by_cursor(question, start, count, mark)
            except CursorLost:
                abilities.marks.forget(key)
        return self.part(question, start, count)

    def walk(self, question: Question) -> Iterator[Upstream]:
        """Yield every resource of the answer, page by page. Raises NotHonoured."""
        abilities = self._known()
        seen: set[str] = set()
        while True:
            walk = self._pages_by_cursor if abilities.walks_by_cursor else self._pages_by_index
            try:
                for found in walk(question, len(seen)):
                    new = [one for one in self._settled(found) if one.stored.id not in seen]
                    seen.update(one.stored.id for one in new)
                    yield from new
                return
            except CursorsRefused:
                abilities.refuse("cursor")
            except _PagesByCursor:
                abilities.index = False

    def _settled(self, found: list[Upstream]) -> list[Upstream]:
        """Return the resources with their memberships, as far as those are sure to be all."""
        return settled(self._type, found, self._known())

    # -- by index

    def _part_by_index(
        self, question: Question, start: int, count: int | None
    ) -> tuple[list[Upstream], int]:
        got: dict[str, Upstream] = {}
        page = self._known().page
        while True:
            wanted = page if count is None else min(page, count - len(got))
            found, total = self._page(question, start + len(got), wanted)
            if total is None:
                return self._part_uncounted(question, start, count)
            if wanted and not found:
                # Some count what they do not show.
                total = min(total, start + len(got))
            # A page with nothing new would be followed by others of its kind.
            new = {one.stored.id: one for one in found if one.stored.id not in got}
            got |= new
            if not new or start + len(got) >= total or (count is not None and len(got) >= count):
                return self._settled(list(got.values())[:count]), total

    def _part_uncounted(
        self, question: Question, start: int, count: int | None
    ) -> tuple[list[Upstream], int]:
        """Return a part of an answer that comes without a total: all of it is read to count it."""
        got = {one.stored.id: one for page in self._pages_by_index(question, 0) for one in page}
        end = None if count is None else start + count
        return self._settled(list(got.values())[start:end]), len(got)

    def _pages_by_index(self, question: Question, start: int) -> Iterator[list[Upstream]]:
        page = self._known().page
        seen: set[str] = set()
        while True:
            found, total = self._page(question, start, page)
            yield found
            start += len(found)
            if (total is not None and start >= total) or all(one.stored.id in seen for one in found):
                return
            seen.update(one.stored.id for one in found)

    def _page(self, question: Question, start: int, count: int) -> tuple[list[Upstream], int | None]:
        abilities = self._known()
        document = self._asker.ask(question, {"startIndex": start + 1, "count": count})
        listed, total = self._listed(document), _total(document)
        its_start = document.get("startIndex")
        if document.get("nextCursor") and abilities.can("cursor"):
            if not (abilities.index and its_start == start + 1):
                raise _PagesByCursor
        if total is None and "Resources" not in document:
            raise self._bad("sent an answer that is not a list of resources")
        if start > 0 and listed and len(listed) == total:
            # Some do not page at all: everything came.
            listed = listed[start:]
        elif isinstance(its_start, int) and listed and its_start != start + 1:
            raise self._bad("sent another page than requested")
        found = [self._reader.read(raw) for raw in listed if isinstance(raw, Mapping)]
        # Behind the end, where a page is empty, its start says nothing about the total.
        return found, max(total, start + len(found)) if total is not None and found else total

    # -- by cursor

    def _part_by_cursor(
        self, question: Question, start: int, count: int | None, begin: Mark
    ) -> tuple[list[Upstream], int]:
        abilities, page = self._known(), self._known().page
        if count == 0:
            total = self._cursor_page(question, 0, "").total
            if total is not None:
                return [], total
        # One count for all pages of an answer; marks are for those of the usual size.
        size = page if begin.cursor or not count else min(page, start + count)

        def keep(mark: Mark) -> None:
            if size == page:
                abilities.marks.add(self._key(question), mark)

        reader = CursorReader(self._name, partial(self._cursor_page, question, size))
        found, total = reader.part(start, count, begin, keep)
        return self._settled(found), total

    def _pages_by_cursor(self, question: Question, start: int) -> Iterator[list[Upstream]]:
        """Yield all pages: cursors know no other start."""
        ask = partial(self._cursor_page, question, self._known().page)
        return (page.found for page in CursorReader(self._name, ask).pages())

    def _cursor_page(self, question: Question, count: int, cursor: str) -> CursorPage:
        document = self._asker.ask(question, {"cursor": cursor, "count": count})
        listed, total, following = self._listed(document), _total(document), document.get("nextCursor")
        if total is None and "Resources" not in document and not following:
            raise self._bad("sent an answer that is not a list of resources")
        if not cursor and not following and count and len(listed) < (total or 0):
            # There is more, and no way to it.
            raise CursorsRefused
        found = [self._reader.read(raw) for raw in listed if isinstance(raw, Mapping)]
        return CursorPage(found, total, following if isinstance(following, str) and following else None)

    def _key(self, question: Question) -> tuple[Any, ...]:
        return self._type.name, tuple(self._asker.params(question).items())

    # -- either way

    def _listed(self, document: Mapping[str, Any]) -> list[Any]:
        listed = document.get("Resources") or []
        if not isinstance(listed, list):
            raise self._bad("sent an answer that is not a list of resources")
        return listed

    def _bad(self, text: str) -> BadBackendAnswer:
        return BadBackendAnswer(f"{self._name} {text}")


def _total(document: Mapping[str, Any]) -> int | None:
    total = document.get("totalResults")
    if isinstance(total, str) and total.isdigit():
        total = int(total)
    return total if isinstance(total, int) and total >= 0 else None


def settled(resource_type: ResourceType, found: list[Upstream], abilities: Abilities) -> list[Upstream]:
    """Return resources with no memberships where an upstream that lists them shows none."""
    if resource_type.memberships is None:
        return found
    if any(one.stored.memberships for one in found):
        abilities.lists_memberships = True
    if not abilities.lists_memberships:
        return found
    return [
        one
        if one.stored.memberships is not None
        else replace(one, stored=replace(one.stored, memberships=(), joined=False))
        for one in found
    ]
