"""Finding the entries of other programs that an operator wants to adopt."""

from collections.abc import Iterator, Sequence
from functools import partial

from app.protocol.representation import Representation
from schema.errors import InvalidFilter
from schema.registry import Registry
from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.search import search

Found = tuple[ResourceType, StoredResource]


def foreign_entries(
    registry: Registry, adapter: StorageAdapter, text: str, types: Sequence[ResourceType]
) -> Iterator[Found]:
    """Yield the entries of other programs that match a filter, of the types that have its attributes.

    `adapter` lets clients read such entries. Raises InvalidFilter if no type has the attributes.
    """
    node, selections = parse_filter(text), list[tuple[ResourceType, Selection]]()
    problem: InvalidFilter | None = None
    for resource_type in types:
        try:
            selections.append((resource_type, Selection(resolve(node, resource_type))))
        except InvalidFilter as exc:
            problem = exc
    if not selections and problem is not None:
        raise problem
    representation = Representation(registry, adapter, "")
    for resource_type, selection in selections:
        represent = partial(representation.document, resource_type)
        for stored in search(adapter, resource_type, selection, represent).resources:
            if stored.read_only:
                yield resource_type, stored
