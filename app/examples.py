"""Examples for the API description, made from the definition of a resource type."""

from typing import Any, Final

from schema.resource_type import ResourceType

# Values that make an example worth sending; attributes a type does not have are left out.
_VALUES: Final[dict[str, Any]] = {
    "externalId": "701984",
    "userName": "bjensen@example.com",
    "displayName": "Babs Jensen",
    "name": {"givenName": "Barbara", "familyName": "Jensen"},
    "emails": [{"value": "bjensen@example.com", "type": "work", "primary": True}],
    "active": True,
}


def example(resource_type: ResourceType) -> dict[str, Any]:
    """Return a resource of this type that the server accepts as it is."""
    known = {attribute.name: attribute for attribute in resource_type.attributes}
    body: dict[str, Any] = {"schemas": [resource_type.schema.id]}
    body |= {name: value for name, value in _VALUES.items() if name in known}
    for attribute in resource_type.attributes:
        if attribute.required and attribute.name not in body and attribute.mutability != "readOnly":
            body[attribute.name] = "example" if attribute.type == "string" else None
    return body
