"""The unique values of a resource, as every backend compares them (RFC 7643 section 2.2)."""

from collections.abc import Iterator, Mapping
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from schema.values import comparison_key


def unique_values(
    resource_type: ResourceType, document: Mapping[str, Any]
) -> Iterator[tuple[AttributePath, str]]:
    """Yield each unique attribute of a canonical resource with the key of its value.

    Empty text is no value: clients send it for "unassigned", and two of them may.
    """
    for path in resource_type.unique_paths:
        for value in path.values(document):
            if value != "":
                yield path, comparison_key(path.leaf, value)
