"""Searching (RFC 7644 section 3.4, RFC 9865): one resource type, or all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from time import perf_counter
from typing import Any

from app.protocol.cursors import Cursor, Cursors
from app.protocol.representation import Representation, Text
from app.protocol.search_report import SearchReport, SlowSearches, plan_of
from schema.errors import InvalidCount, InvalidValue
from schema.leniency import STRICT, Leniency
from schema.projection import Projection, make_projection
from schema.registry import Registry
from schema.resource_type import AttributePath, ResourceType
from scim_filter import parse_filter, resolve, resolve_each
from scim_filter.nodes import Node
from storage.adapter import Page, Position, Selection, Sort, StorageAdapter, StoredResource
from storage.search import position_of, search

# Sorting several types together takes the beginning of each; further than this it does not go.
_DEEPEST_MERGE = 100_000


@dataclass(frozen=True)
class Query:
    """What a search asks for; `start_index` counts from 1, `cursor` is None for index pagination.

    `leniency` says how paths and values may be spelled.
    """

    filter: str | None = None
    start_index: int = 1
    count: int | None = None
    sort_by: str | None = None
    descending: bool = False
    cursor: str | None = None
    attributes: tuple[str, ...] = ()
    excluded_attributes: tuple[str, ...] = ()
    leniency: Leniency = STRICT


@dataclass(frozen=True)
class Answer:
    """A page of resources as JSON, and what a ListResponse says of it."""

    resources: Sequence[Text]
    total: int
    start_index: int | None = None
    next_cursor: str | None = None
    previous_cursor: str | None = None


@dataclass(frozen=True)
class SearchLimits:
    """The most resources on a page and characters in a filter, what makes and reads cursors, what is slow."""

    page_size: int
    filter_length: int
    cursors: Cursors
    slow: SlowSearches = SlowSearches(inf)


class Searcher:
    """Answers queries on what `storage` holds."""

    def __init__(
        self,
        registry: Registry,
        storage: StorageAdapter,
        representation: Representation,
        limits: SearchLimits,
    ) -> None:
        self._registry = registry
        self._storage = storage
        self._representation = representation
        self._cursors = limits.cursors
        self._page_size = limits.page_size
        self._max_filter_length = limits.filter_length
        self._slow = limits.slow

    def search(self, resource_type: ResourceType, query: Query, principal: str) -> Answer:
        """Return the page of the resources of one type.

        Raises InvalidFilter, InvalidValue, and in cursor pagination InvalidCursor, ExpiredCursor
        and InvalidCount.
        """
        selection = self._selection(resource_type, query)
        projection = _projection(resource_type, query)
        if query.cursor is None:
            page = self._page(resource_type, selection)
            shown = self._representation.texts(resource_type, page.resources, projection)
            return Answer(shown, page.total, selection.offset + 1)
        found, total, following, previous = self._cursor_page(resource_type, selection, query, principal)
        shown = self._representation.texts(resource_type, found, projection)
        return Answer(shown, total, None, following, previous)

    def search_all(self, query: Query, principal: str) -> Answer:
        """Return the page of the resources of every type (RFC 7644 sections 3.4.2.1 and 3.4.3).

        To a type that does not have an attribute of the filter, the attribute is one without a value. Raises
        as `search`.
        """
        limit, identity = self._limit(query), _identity("", query)
        start = max(1, query.start_index) - 1
        if query.cursor:
            start = self._cursors.read(query.cursor, principal, identity, limit).offset
        selections = self._selections(query)
        merged = self._sorted_page if query.sort_by else self._joined_page
        found, total = merged(selections, start, limit)
        shown = self._texts(found, query)
        if query.cursor is None:
            return Answer(shown, total, start + 1)
        following = previous = None
        if limit and start + len(found) < total:
            following = self._cursors.write(Cursor(offset=start + limit), principal, identity, limit)
        if limit and start:
            previous = self._cursors.write(Cursor(offset=max(0, start - limit)), principal, identity, limit)
        return Answer(shown, total, None, following, previous)

    def explain(self, resource_type: ResourceType, query: Query) -> SearchReport:
        """Search one type by index pagination, and return how. Raises as `search`, and StorageError."""
        selection = self._selection(resource_type, query)
        page, ms = self._timed(resource_type, selection)
        return SearchReport(resource_type.name, selection, page, ms, plan_of(page))

    # -- one type

    def _selection(self, resource_type: ResourceType, query: Query) -> Selection:
        """Return what a query selects; the offset is for index pagination."""
        parsed = self._parsed(query)
        node = resolve(parsed, resource_type, query.leniency) if parsed is not None else None
        sort = _sort(resource_type, query) if query.sort_by else None
        offset = max(1, query.start_index) - 1 if query.cursor is None else 0
        return Selection(node, sort, offset, self._limit(query))

    def _cursor_page(
        self, resource_type: ResourceType, selection: Selection, query: Query, principal: str
    ) -> tuple[Sequence[StoredResource], int, str | None, str | None]:
        """Return the resources, the total, and the cursors of the pages after and before them."""
        limit, identity = self._limit(query), _identity(resource_type.name, query)
        cursor = Cursor()
        if query.cursor:
            cursor = self._cursors.read(query.cursor, principal, identity, limit)
        forwards = not cursor.backwards
        # One resource more than wanted tells whether another page follows.
        wider = replace(
            selection,
            limit=limit + 1 if limit else 0,
            after=cursor.position if forwards else None,
            before=None if forwards else cursor.position,
        )
        page = self._page(resource_type, wider)
        more = len(page.resources) > limit
        found = page.resources[:limit] if forwards else page.resources[-limit:]
        if not found:
            return found, page.total, None, None

        def written(stored: StoredResource, backwards: bool) -> str:
            position = self._position(resource_type, stored, selection.sort)
            return self._cursors.write(Cursor(position, backwards), principal, identity, limit)

        following = written(found[-1], False) if more or not forwards else None
        has_previous = more if not forwards else cursor.position is not None
        return found, page.total, following, written(found[0], True) if has_previous else None

    def _position(
        self, resource_type: ResourceType, stored: StoredResource, sort: Sort | None
    ) -> Position:
        resource = self._representation.document(resource_type, stored, True) if sort else {}
        return position_of(stored, sort, resource)

    def _page(self, resource_type: ResourceType, selection: Selection) -> Page:
        page, ms = self._timed(resource_type, selection)
        self._slow.note(resource_type.name, selection, page, ms)
        return page

    def _timed(self, resource_type: ResourceType, selection: Selection) -> tuple[Page, float]:
        """Return a page, and the milliseconds that it took."""
        represent = partial(self._representation.document, resource_type)
        started = perf_counter()
        page = search(self._storage, resource_type, selection, represent)
        return page, (perf_counter() - started) * 1000

    # -- all types

    def _selections(self, query: Query) -> list[tuple[ResourceType, Selection]]:
        parsed, types = self._parsed(query), self._registry.resource_types
        if query.sort_by and not any(_path(one, query) for one in types):
            raise InvalidValue(f"sortBy: {query.sort_by[:100]} is not an attribute of any resource type")
        nodes: Sequence[Node | bool] = [True] * len(types)
        if parsed is not None:
            nodes = resolve_each(parsed, types, query.leniency)
        selections: list[tuple[ResourceType, Selection]] = []
        for resource_type, node in zip(types, nodes, strict=True):
            sort = None
            if query.sort_by and _path(resource_type, query) is not None:
                sort = _sort(resource_type, query)
            if node is not False:
                selections.append((resource_type, Selection(None if node is True else node, sort)))
        return selections

    def _joined_page(
        self, selections: list[tuple[ResourceType, Selection]], start: int, limit: int
    ) -> tuple[list[tuple[ResourceType, StoredResource]], int]:
        found: list[tuple[ResourceType, StoredResource]] = []
        total = 0
        for resource_type, selection in selections:
            offset = max(0, start - total)
            page = self._page(resource_type, replace(selection, offset=offset, limit=limit - len(found)))
            found += [(resource_type, stored) for stored in page.resources]
            total += page.total
        return found, total

    def _sorted_page(
        self, selections: list[tuple[ResourceType, Selection]], start: int, limit: int
    ) -> tuple[list[tuple[ResourceType, StoredResource]], int]:
        end = start + limit
        if end > _DEEPEST_MERGE:
            raise InvalidValue(
                f"startIndex: a sorted search over all resource types ends after {_DEEPEST_MERGE} resources"
            )
        merged: list[tuple[tuple[bool, str], ResourceType, StoredResource]] = []
        total = 0
        descending = any(selection.sort and selection.sort.descending for _, selection in selections)
        # Resources with the same key keep their order: each type has its own.
        for resource_type, selection in reversed(selections) if descending else selections:
            page = self._page(resource_type, replace(selection, limit=end))
            total += page.total
            for stored in page.resources:
                key = None
                if selection.sort is not None:
                    key = self._position(resource_type, stored, selection.sort).key
                merged.append(((key is None, key or ""), resource_type, stored))
        merged.sort(key=lambda entry: entry[0], reverse=descending)
        return [(entry[1], entry[2]) for entry in merged[start:end]], total

    def _texts(self, found: list[tuple[ResourceType, StoredResource]], query: Query) -> list[Text]:
        shown: dict[int, Text] = {}
        for resource_type in self._registry.resource_types:
            positions = [i for i, (its_type, _) in enumerate(found) if its_type is resource_type]
            projection = _projection(resource_type, query)
            texts = self._representation.texts(resource_type, [found[i][1] for i in positions], projection)
            shown |= dict(zip(positions, texts, strict=True))
        return [shown[position] for position in range(len(found))]

    # -- the query

    def _parsed(self, query: Query) -> Node | None:
        if query.filter is None:
            return None
        return parse_filter(query.filter, max_length=self._max_filter_length)

    def _limit(self, query: Query) -> int:
        if query.count is None:
            return self._page_size
        if query.cursor is not None and query.count > self._page_size:
            raise InvalidCount(f"count: must be {self._page_size} at most")
        return max(0, min(query.count, self._page_size))


def _identity(scope: str, query: Query) -> tuple[Any, ...]:
    """What has to stay the same from page to page (RFC 9865 section 2)."""
    return scope, query.filter, query.sort_by, query.descending


def _projection(resource_type: ResourceType, query: Query) -> Projection:
    return make_projection(resource_type, query.attributes, query.excluded_attributes, query.leniency)


def _path(resource_type: ResourceType, query: Query) -> AttributePath | None:
    """Return the attribute to sort by."""
    return resource_type.path(query.leniency.canonical(query.sort_by or "", resource_type))


def _sort(resource_type: ResourceType, query: Query) -> Sort:
    """Return the order a query asks for; a complex attribute is sorted by its `value`."""
    path = _path(resource_type, query)
    if path is None or path.leaf.returned == "never":
        name = (query.sort_by or "")[:100]
        raise InvalidValue(f"sortBy: {name} is not an attribute of {resource_type.name}")
    if path.leaf.is_complex:
        compared = path.leaf.compared
        if compared is None:
            raise InvalidValue(f"sortBy: {path.text} is complex: name one of its sub-attributes")
        path = AttributePath(path.attribute, compared, path.extension)
    return Sort(path, query.descending)
