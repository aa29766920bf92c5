"""Resource types, resources and short calls that the unit tests of the protocol share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import orjson

from app.protocol.patch import Patched, PatchRules, RequestedMembers, apply_patch, plan_patch, read_operations
from app.protocol.profiles import profile_of
from schema import urns
from schema.attribute import Attribute
from schema.registry import load_registry
from schema.resource_type import ResourceType, Schema, SchemaExtension
from storage.adapter import StorageAdapter, StoredResource
from storage.complete import complete
from tests.storage.memory import MemoryAdapter

REGISTRY = load_registry(None)
USER, GROUP = REGISTRY.resource_types
DEFAULT, STRICT = profile_of("default"), profile_of("strict")
BOTH = [DEFAULT, STRICT]
CORE, ENTERPRISE = urns.USER, urns.ENTERPRISE_USER
SRAM = "urn:mace:surf.nl:sram:scim:extension:User"

WORK = {"value": "bjensen@example.com", "type": "work", "primary": True}
HOME = {"value": "babs@jensen.org", "type": "home"}
HOLLYWOOD = {"type": "work", "streetAddress": "100 Universal City Plaza", "locality": "Hollywood"}
BABS: dict[str, Any] = {
    "schemas": [CORE, ENTERPRISE],
    "id": "2819c223",
    "userName": "bjensen",
    "name": {"familyName": "Jensen", "givenName": "Barbara"},
    "title": "Guide",
    "active": True,
    "emails": [WORK, HOME],
    "addresses": [HOLLYWOOD],
    ENTERPRISE: {"department": "Tour", "manager": {"value": "26118915"}},
}

# A resource type with the characteristics that no schema of the server has.
STOCK, OWNER = "urn:example:stock", "urn:example:owner"
DEVICE = ResourceType(
    "Device",
    "/Devices",
    "",
    Schema(
        "urn:example:Device",
        "Device",
        "",
        (
            Attribute("serial", required=True, mutability="immutable"),
            Attribute("model", mutability="immutable"),
            Attribute("tags", multi_valued=True),
            Attribute("slots", "integer", multi_valued=True),
            Attribute("marks", multi_valued=True, mutability="immutable"),
            Attribute(
                "place",
                "complex",
                sub_attributes=(
                    Attribute("building", mutability="immutable"),
                    Attribute("room", required=True),
                    Attribute("seen", mutability="readOnly"),
                ),
            ),
            Attribute(
                "ports",
                "complex",
                multi_valued=True,
                sub_attributes=(
                    Attribute("value", mutability="immutable"),
                    Attribute("label"),
                    Attribute("primary", "boolean"),
                ),
            ),
            Attribute("pin", mutability="writeOnly", returned="never"),
            Attribute("remark", returned="request"),
        ),
    ),
    (
        SchemaExtension(
            Schema(
                STOCK,
                "Stock",
                "",
                (
                    Attribute("shelf", mutability="immutable"),
                    Attribute("count", "integer", required=True),
                    Attribute("box", "complex", sub_attributes=(Attribute("id", mutability="immutable"),)),
                ),
            )
        ),
        SchemaExtension(Schema(OWNER, "Owner", "", (Attribute("name"),)), required=True),
    ),
)
PRINTER: dict[str, Any] = {
    "schemas": ["urn:example:Device", STOCK, OWNER],
    "serial": "S1",
    "marks": ["m"],
    "tags": ["a", "b"],
    "slots": [1, 2, 3],
    "place": {"building": "B", "room": "1"},
    "ports": [{"value": "p1", "label": "one", "primary": True}, {"value": "p2"}],
    STOCK: {"shelf": "x", "count": 3, "box": {"id": "b1"}},
    OWNER: {"name": "Mary"},
}


def op(name: str, path: str | None = None, value: Any = ...) -> dict[str, Any]:
    """Return an operation as a client sends it, without what is not given."""
    made = {"op": name, "path": path, "value": value}
    return {
        key: item for key, item in made.items() if item is not ... and not (key == "path" and item is None)
    }


def add(path: str | None, value: Any) -> dict[str, Any]:
    return op("add", path, value)


def replace(path: str | None, value: Any) -> dict[str, Any]:
    return op("replace", path, value)


def remove(path: str | None, value: Any = ...) -> dict[str, Any]:
    return op("remove", path, value)


def patched(
    resource: Mapping[str, Any],
    operations: Sequence[Any],
    resource_type: ResourceType = USER,
    profile: Any = DEFAULT,
    members: RequestedMembers | None = None,
) -> Patched:
    """Carry out the operations of a PatchOp, and see that the resource given stays as it is."""
    before = deepcopy(resource)
    body = {"schemas": [urns.PATCH_OP], "Operations": list(operations)}
    try:
        plan = plan_patch(PatchRules(resource_type, profile), read_operations(body, profile))
        return apply_patch(plan, resource, members or RequestedMembers(no_members))
    finally:
        assert resource == before


def no_members() -> Iterable[dict[str, Any]]:
    raise AssertionError("this PATCH has no need to read the members")


def members_read(*elements: Mapping[str, Any] | str) -> RequestedMembers:
    """Return the changes of a group with these members, which are read once at the most."""
    reads: list[int] = []

    def load() -> Iterator[dict[str, Any]]:
        reads.append(1)
        assert reads == [1]
        for element in elements:
            yield {"value": element} if isinstance(element, str) else dict(element)

    return RequestedMembers(load)


def with_changes(resource: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource with other values in it; None stands for no value."""
    return {name: value for name, value in {**resource, **changes}.items() if value is not None}


def stored(document: Mapping[str, Any], resource_id: str = "7", **more: Any) -> StoredResource:
    """Return a resource as a backend keeps it."""
    more = {"version": "3", "created": "2020-01-01T00:00:00.000Z", **more}
    more.setdefault("last_modified", "2020-02-02T00:00:00.000Z")
    return StoredResource(resource_id, orjson.dumps(document).decode(), **more)


def storage_of(*resources: tuple[ResourceType, StoredResource]) -> StorageAdapter:
    """Return a storage in memory that holds these resources."""
    memory = MemoryAdapter()
    for resource_type, resource in resources:
        memory.create(resource_type, resource)
    return complete(memory, REGISTRY.resource_types)
