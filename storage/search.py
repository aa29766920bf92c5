"""Filtering, sorting and paging for what a backend does not do by itself (RFC 7644 section 3.4.2).

The meaning is that of `scim_filter.evaluate`; every backend must give the same answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from schema.attribute import Attribute
from schema.resource_type import AttributePath, ResourceType
from schema.values import lenient_key
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import Node, filter_paths
from storage.adapter import Found, Page, Position, Selection, Sort, StorageAdapter, StoredResource
from storage.batches import batches
from storage.index_keys import index_key
from storage.selection import NATIVE, RESIDUAL, SCAN, Work

Represent = Callable[[StoredResource, bool], Mapping[str, Any]]
"""The resource as a client sees it, unprojected; with True, members and memberships included."""


def search(
    adapter: StorageAdapter, resource_type: ResourceType, selection: Selection, represent: Represent
) -> Page:
    """Return the selected page of the resources of a type, with the total of the whole answer."""
    found = adapter.candidates(resource_type, selection)
    if found.is_page:
        resources = list(found.resources)
        work = Work(NATIVE, len(resources), found.explain)
        return Page(resources, fitting_total(resources, found.total, selection), work)
    candidates = found.resources
    attributes = _judged_by(found.residual, selection.sort)
    if resource_type.memberships is not None and resource_type.memberships in attributes:
        candidates = _with_memberships(adapter, resource_type, candidates)
    links = bool(attributes & {resource_type.members, resource_type.memberships})

    def represented(stored: StoredResource) -> Mapping[str, Any]:
        return represent(stored, links)

    counted = _Counted(candidates)
    page = cut(counted, found.residual, selection, represented)
    whole = page.resources if found.read is None else found.read(page.resources)
    return Page(whole, page.total, Work(_plan(found, selection), counted.count, found.explain))


class _Counted:
    """Yields what it is given once; `count` is the number so far."""

    def __init__(self, candidates: Iterable[StoredResource]) -> None:
        self._candidates = candidates
        self.count = 0

    def __iter__(self) -> Iterator[StoredResource]:
        for one in self._candidates:
            self.count += 1
            yield one


def _plan(found: Found, selection: Selection) -> str:
    """Return whether the backend has chosen the resources, which the server has judged or sorted."""
    is_chosen = selection.filter is not None and found.residual != selection.filter
    return RESIDUAL if is_chosen or found.is_narrowed else SCAN


def fitting_total(found: Sequence[StoredResource], counted: int, selection: Selection) -> int:
    """Return a total that fits what a page shows: others may come and go between page and count."""
    if selection.after is not None or selection.before is not None:
        return max(counted, len(found))
    end = selection.offset + len(found)
    if found or selection.limit == 0:
        return max(counted, end if found else 0)
    return min(counted, end)


def _with_memberships(
    adapter: StorageAdapter, resource_type: ResourceType, candidates: Iterable[StoredResource]
) -> Iterator[StoredResource]:
    """Yield the candidates with what they are members of, which is read many at a time."""
    for batch in batches(candidates):
        unknown = [one for one in batch if one.memberships is None and one.joined is not False]
        above = adapter.memberships(resource_type, unknown) if unknown else {}
        for one in batch:
            if one.memberships is None:
                one = replace(one, memberships=above.get(one.id, ()))
            yield one


def cut(
    candidates: Iterable[StoredResource],
    residual: Node | None,
    selection: Selection,
    represented: Callable[[StoredResource], Mapping[str, Any]],
) -> Page:
    """Return the page of those candidates that match; without a sort, no more than the page is held."""
    matches = compile_predicate(residual) if residual is not None else None
    sort = selection.sort
    # Unsorted and read forwards, the page is complete before the candidates end.
    enough = None
    if sort is None and selection.before is None and selection.limit is not None:
        enough = selection.offset + selection.limit
    total = 0
    found: list[tuple[tuple[Any, ...], StoredResource]] = []
    for candidate in candidates:
        resource = represented(candidate) if matches or sort else {}
        if matches is not None and not matches(resource):
            continue
        total += 1
        if enough is not None and len(found) >= enough:
            continue
        order = position_of(candidate, sort, resource).order(sort)
        if _is_wanted(order, selection):
            found.append((order, candidate))
    if sort is not None:
        found.sort(key=lambda entry: entry[0], reverse=sort.descending)
    ordered = [entry[1] for entry in found]
    if selection.limit is None:
        return Page(ordered[selection.offset :], total)
    if selection.before is not None:
        return Page(ordered[max(0, len(ordered) - selection.limit) :], total)
    return Page(ordered[selection.offset : selection.offset + selection.limit], total)


def position_of(stored: StoredResource, sort: Sort | None, resource: Mapping[str, Any]) -> Position:
    """Return the position of a resource in an order; `resource` is its representation."""
    return Position(stored.place, sort_key(sort.path, resource) if sort else None)


def _is_wanted(order: tuple[Any, ...], selection: Selection) -> bool:
    sort = selection.sort
    descending = sort is not None and sort.descending
    if selection.after is not None:
        edge = selection.after.order(sort)
        return order < edge if descending else order > edge
    if selection.before is not None:
        edge = selection.before.order(sort)
        return order > edge if descending else order < edge
    return True


def sort_key(path: AttributePath, resource: Mapping[str, Any]) -> str | None:
    """Return what a resource is sorted by, or None when it has no value (RFC 7644 section 3.4.2.3).

    Of a multi-valued attribute it is the primary value, or else the first. Values of more than 256
    characters stand where their first 256 put them, and among those that begin alike in a fixed order.
    """
    elements = path.elements(resource)
    if path.sub_attribute is not None:
        elements = [element for element in elements if isinstance(element, Mapping)]
    if not elements:
        return None
    element = next((e for e in elements if isinstance(e, dict) and e.get("primary") is True), elements[0])
    value = element.get(path.sub_attribute.name) if path.sub_attribute else element
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    # Data another program wrote: a value that is not of its type sorts as missing.
    key = lenient_key(path.leaf)(value)
    return None if key is None else index_key(key)


def mentions_links(resource_type: ResourceType, selection: Selection) -> bool:
    """Return whether judging the selection takes the members or memberships of a resource."""
    links = {resource_type.members, resource_type.memberships} - {None}
    return bool(links & _judged_by(selection.filter, selection.sort))


def _judged_by(node: Node | None, sort: Sort | None) -> set[Attribute | None]:
    """Return the attributes that a filter and an order are about."""
    attributes: set[Attribute | None] = {path.attribute for path in filter_paths(node)} if node else set()
    if sort is not None:
        attributes.add(sort.path.attribute)
    return attributes
