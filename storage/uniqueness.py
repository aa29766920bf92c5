"""The unique values of a resource, as every backend compares them (RFC 7643 section 2.2)."""

from collections.abc import Iterator, Mapping
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from schema.values import lenient_key


def unique_values(
    resource_type: ResourceType, document: Mapping[str, Any]
) -> Iterator[tuple[AttributePath, str]]:
    """Yield each unique attribute of a canonical resource with the key of its value.

    Empty text is no value: clients send it for "unassigned", and two of them may. Nor is what is not
    of its type, such as another program may have stored.
    """
    for path in resource_type.unique_paths:
        for value in path.values(document):
            key = lenient_key(path.leaf)(value) if value != "" else None
            if key is not None:
                yield path, key
