"""Filtering, sorting and paging for what a backend does not do by itself (RFC 7644 section 3.4.2).

The meaning is that of `scim_filter.evaluate`; every backend must give the same answer.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from schema.values import key_function
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import filter_paths
from storage.adapter import Page, Represent, Selection, StorageAdapter, StoredResource


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
    """Return the page of those `candidates` that match the filter, holding no more than needed.

    `candidates` come in a total order, which is kept where `selection` asks for no other.
    """
    links = mentions_links(resource_type, selection)
    matches = compile_predicate(selection.filter) if selection.filter is not None else None
    if selection.sort is not None:
        return _sorted_page(candidates, selection, represent, links)
    end = None if selection.limit is None else selection.offset + selection.limit
    total = 0
    kept: list[StoredResource] = []
    for candidate in candidates:
        if matches is not None and not matches(represent(candidate, links)):
            continue
        if total >= selection.offset and (end is None or total < end):
            kept.append(candidate)
        total += 1
    return Page(kept, total)


def _sorted_page(
    candidates: Iterable[StoredResource], selection: Selection, represent: Represent, links: bool
) -> Page:
    assert selection.sort is not None
    matches = compile_predicate(selection.filter) if selection.filter is not None else None
    valued: list[tuple[str, str, StoredResource]] = []
    missing: list[tuple[str, StoredResource]] = []
    for candidate in candidates:
        resource = represent(candidate, links)
        if matches is not None and not matches(resource):
            continue
        key = sort_key(selection.sort.path, resource)
        if key is None:
            missing.append((candidate.id, candidate))
        else:
            valued.append((key, candidate.id, candidate))
    # Ids are unique, so the resources themselves are never compared.
    ordered = [entry[2] for entry in sorted(valued, key=lambda entry: entry[:2])]
    ordered += [entry[1] for entry in sorted(missing, key=lambda entry: entry[0])]
    if selection.sort.descending:
        ordered.reverse()
    end = None if selection.limit is None else selection.offset + selection.limit
    return Page(ordered[selection.offset : end], len(ordered))


def sort_key(path: AttributePath, resource: Mapping[str, Any]) -> str | None:
    """Return what a resource is sorted by, or None when it has no value (RFC 7644 section 3.4.2.3).

    Of a multi-valued attribute it is the primary value, or else the first.
    """
    elements = path.elements(resource)
    if not elements:
        return None
    element = next((e for e in elements if isinstance(e, dict) and e.get("primary") is True), elements[0])
    value = element.get(path.sub_attribute.name) if path.sub_attribute else element
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    try:
        return key_function(path.leaf)(value)
    except (TypeError, ValueError, AttributeError):
        # Data another program wrote: a value that is not of its type sorts as missing.
        return None


def mentions_links(resource_type: ResourceType, selection: Selection) -> bool:
    """Return whether judging the selection takes the members or memberships of a resource."""
    links = (resource_type.members, resource_type.memberships)
    paths = list(filter_paths(selection.filter)) if selection.filter is not None else []
    if selection.sort is not None:
        paths.append(selection.sort.path)
    return any(path.attribute in links for path in paths if path.attribute is not None)
