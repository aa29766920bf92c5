"""Definition files as the tests of the registry write them."""

from collections.abc import Callable
from typing import Any

import pytest

from schema.errors import DefinitionError
from schema.registry import Registry

DEVICE = "urn:example:core:Device"
LAB = "urn:example:extension:Lab"
ROOM = {"name": "room"}
Load = Callable[[dict[str, Any]], Registry]


def core(name: str = "Device", **members: Any) -> dict[str, Any]:
    """Return a definition; a member with the value None is left out."""
    document = {"id": f"urn:example:core:{name}", "name": name, "attributes": [ROOM], **members}
    return {member: value for member, value in document.items() if value is not None}


def lab(**members: Any) -> dict[str, Any]:
    return core("Lab", **{"id": LAB, **members})


def device(**characteristics: Any) -> dict[str, Any]:
    """Return a definition with one attribute of these characteristics."""
    return core(attributes=[{"name": "x", **characteristics}])


def problems_of(load: Load, files: dict[str, Any]) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(files)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems
