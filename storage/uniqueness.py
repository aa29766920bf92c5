"""The unique values of a resource, as every backend compares them (RFC 7643 section 2.2)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from schema.resource_type import AttributePath, ResourceType
from schema.values import lenient_key
from storage.attempts import repeated
from storage.errors import UniquenessConflict

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)

_Result = TypeVar("_Result")


class Twin(UniquenessConflict):
    """A resource of another type has the id, or is about to have it; nothing was created."""

    def __init__(self) -> None:
        super().__init__("id")


def create_alone(create: Callable[[], _Result], is_taken: Callable[[], bool]) -> _Result:
    """Return what `create` does, tried again after a Twin: of two that met, both may have given way.

    For backends without a constraint on ids of several types: `create` writes the resource, then looks
    for one of another type, and gives way to it. Of two that do so at once, at least one sees the other.
    Raises UniquenessConflict when `is_taken` says so.
    """
    has_met = False

    def attempt() -> _Result:
        nonlocal has_met
        # After the pause, in which the other may have given way.
        if has_met and is_taken():
            raise UniquenessConflict("id")
        has_met = True
        return create()

    return repeated(attempt, Twin)


def is_universal(resource_id: str) -> bool:
    """Return whether an id is a UUID: no second resource has it, whatever its type."""
    return _UUID.fullmatch(resource_id) is not None


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
