"""Filtering, sorting and paging for what a backend does not do by itself (RFC 7644 section 3.4.2).

The meaning is that of `scim_filter.evaluate`; every backend must give the same answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from schema.values import lenient_key
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import filter_paths
from storage.adapter import Page, Position, Represent, Selection, Sort, StorageAdapter, StoredResource


def search(
    adapter: StorageAdapter, resource_type: ResourceType, selection: Selection, represent: Represent
) -> Page:
    """Return the selected page of the resources of a type, with the total of the whole answer."""
    if adapter.capabilities.native_search:
        return adapter.search(resource_type, selection, represent)
    return page_of(adapter.scan(resource_type), selection, represent, resource_type)


def page_of(
    candidates: Iterable[StoredResource],
    selection: Selection,
    represent: Represent,
    resource_type: ResourceType,
) -> Page:
    """Return the page of those `candidates` that match the filter.

    `candidates` come in the order of `scan`; without a sort, no more than the page is held.
    """
    links = mentions_links(resource_type, selection)
    matches = compile_predicate(selection.filter) if selection.filter is not None else None
    sort = selection.sort
    # Unsorted and read forwards, the page is complete before the candidates end.
    enough = None
    if sort is None and selection.before is None and selection.limit is not None:
        enough = selection.offset + selection.limit
    total = 0
    found: list[tuple[tuple[Any, ...], StoredResource]] = []
    for candidate in candidates:
        resource = represent(candidate, links) if matches or sort else {}
        if matches is not None and not matches(resource):
            continue
        total += 1
        order = position_of(candidate, sort, resource).order(sort)
        if (enough is None or len(found) < enough) and _is_wanted(order, selection):
            found.append((order, candidate))
    if sort is not None:
        found.sort(key=lambda entry: entry[0], reverse=sort.descending)
    ordered = [entry[1] for entry in found]
    if selection.limit is None:
        return Page(ordered[selection.offset :], total)
    if selection.before is not None:
        return Page(ordered[max(0, len(ordered) - selection.limit) :], total)
    return Page(ordered[selection.offset : selection.offset + selection.limit], total)


def counted_page(found: Sequence[StoredResource], counted: int, selection: Selection) -> Page:
    """Return a page of a backend that counts apart from it, with a total that fits what it shows.

    Others may come and go between page and count.
    """
    if selection.after is not None or selection.before is not None:
        return Page(found, max(counted, len(found)))
    end = selection.offset + len(found)
    if found or selection.limit == 0:
        return Page(found, max(counted, end if found else 0))
    return Page(found, min(counted, end))


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

    Of a multi-valued attribute it is the primary value, or else the first.
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
    return lenient_key(path.leaf)(value)


def mentions_links(resource_type: ResourceType, selection: Selection) -> bool:
    """Return whether judging the selection takes the members or memberships of a resource."""
    links = [link for link in (resource_type.members, resource_type.memberships) if link is not None]
    paths = list(filter_paths(selection.filter)) if selection.filter is not None else []
    if selection.sort is not None:
        paths.append(selection.sort.path)
    return any(path.attribute in links for path in paths)
