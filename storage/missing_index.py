"""Why an index of our own does not answer a part of a search, and whether INDEXED_ATTRIBUTES would help."""

from collections.abc import Container

from schema.resource_type import AttributePath, ResourceType
from scim_filter.compiler import NotIndexed, NotPushable
from scim_filter.nodes import BoundComparison, BoundPresence, BoundValuePath
from storage.index_keys import KEY_LENGTH
from storage.index_paths import numbered_paths
from storage.selection import Sort


def can_be_indexed(resource_type: ResourceType, path: AttributePath) -> bool:
    """Return whether an index over a path exists where INDEXED_ATTRIBUTES names the path."""
    return path.text in numbered_paths(resource_type, frozenset({path.text}))


def refusal(
    resource_type: ResourceType, node: BoundComparison | BoundPresence | BoundValuePath
) -> NotPushable:
    """Return why a path without an index is not searched for: NotIndexed where an index would help."""
    if isinstance(node, BoundComparison) and node.operator != "eq":
        # An index has the beginning of a long value, and compares no parts of binary ones.
        if len(node.key) > KEY_LENGTH or node.path.leaf.type == "binary":
            return NotPushable(node)
    is_missing = can_be_indexed(resource_type, node.path)
    return NotIndexed(node, node.path.text) if is_missing else NotPushable(node)


def missing_order(resource_type: ResourceType, sort: Sort | None, known: Container[str]) -> str | None:
    """Return the path of an order that is not among the `known` ones, but would be with an index."""
    if sort is None or sort.path.text in known or not can_be_indexed(resource_type, sort.path):
        return None
    return sort.path.text
