"""Examples for the API description, made from the definitions: the server accepts each as it is."""

from collections.abc import Iterable
from typing import Any, Final

from schema import urns
from schema.attribute import Attribute
from schema.registry import Registry
from schema.resource_type import ResourceType

# Values that make an example worth reading, where a definition has room for them.
_VALUES: Final[dict[str, Any]] = {
    "externalId": "701984",
    "userName": "bjensen@example.com",
    "displayName": "Babs Jensen",
    "name": {"givenName": "Barbara", "familyName": "Jensen"},
    "emails": [{"value": "bjensen@example.com", "type": "work", "primary": True}],
    "active": True,
}
_BY_TYPE: Final[dict[str, Any]] = {
    "string": "example",
    "reference": "https://example.com/",
    "binary": "ZXhhbXBsZQ==",
    "boolean": True,
    "integer": 1,
    "decimal": 1.5,
    "dateTime": "2026-01-01T00:00:00Z",
}
POLL: Final = {"maxEvents": 10, "returnImmediately": True}


def resource_example(resource_type: ResourceType) -> dict[str, Any]:
    """Return a resource of this type: what is required, and what is well known."""
    required = (e.attribute for e in resource_type.extensions if e.required)
    attributes = [a for a in resource_type.attributes if a.name != "schemas"]
    body = _object((*attributes, *required))
    return {"schemas": [resource_type.schema.id, *(name for name in body if ":" in name)], **body}


def patch_example(resource_type: ResourceType) -> dict[str, Any]:
    """Return a PATCH request that every resource of this type takes."""
    able = {a.name: a for a in resource_type.attributes if _is_plain(a) and a.mutability == "readWrite"}
    free = [a for a in able.values() if a.uniqueness == "none"]
    # All types have externalId.
    chosen = able.get("displayName") or (free[-1] if free else able["externalId"])
    value = "Babs" if chosen.name == "displayName" and chosen.type == "string" else _value(chosen)
    operation = {"op": "replace", "path": chosen.name, "value": value}
    return {"schemas": [urns.PATCH_OP], "Operations": [operation]}


def search_example(resource_type: ResourceType) -> dict[str, Any]:
    """Return a search by POST for resources of this type."""
    able = [a for a in resource_type.attributes if a.type == "string" and a.returned != "never"]
    chosen = next((a for a in able if a.required and _is_plain(a)), None)
    condition = f'{chosen.name} sw "b"' if chosen else "id pr"
    return _search(condition)


def search_all_example(registry: Registry) -> dict[str, Any]:
    """Return a search by POST over all resource types."""
    return _search(f'meta.resourceType eq "{registry.resource_types[0].name}"')


def bulk_example(registry: Registry) -> dict[str, Any]:
    """Return a Bulk request that creates a resource and changes it."""
    resource_type = registry.resource_types[0]
    # Another resource than that of the other examples, so that all can be tried in turn.
    optional = {attribute.name for attribute in resource_type.attributes if not attribute.required}
    data = {
        name: value
        for name, value in resource_example(resource_type).items()
        if name not in optional & {"externalId", "emails"}
    }
    if data.get("userName") == _VALUES["userName"]:
        data["userName"] = "alice@example.com"
    return {
        "schemas": [urns.BULK_REQUEST],
        "failOnErrors": 1,
        "Operations": [
            {"method": "POST", "path": resource_type.endpoint, "bulkId": "new", "data": data},
            {
                "method": "PATCH",
                "path": f"{resource_type.endpoint}/bulkId:new",
                "data": patch_example(resource_type),
            },
        ],
    }


def _search(condition: str) -> dict[str, Any]:
    return {"schemas": [urns.SEARCH_REQUEST], "filter": condition, "startIndex": 1, "count": 10}


def _is_plain(attribute: Attribute) -> bool:
    return not attribute.is_complex and not attribute.multi_valued


def _object(attributes: Iterable[Attribute]) -> dict[str, Any]:
    body = {}
    for attribute in attributes:
        known = _VALUES.get(attribute.name)
        if attribute.mutability == "readOnly":
            continue
        if known is not None and _fits(attribute, known):
            body[attribute.name] = known
        elif attribute.required:
            body[attribute.name] = _value(attribute)
    return body


def _value(attribute: Attribute) -> Any:
    """Return a value that fits an attribute."""
    value: Any
    if attribute.is_complex:
        # Some sub-attribute must have a value, or the whole has none.
        able = [sub for sub in attribute.sub_attributes if sub.mutability != "readOnly"]
        value = _object(able) or {sub.name: _value(sub) for sub in able[:1]}
    elif attribute.canonical_values:
        value = attribute.canonical_values[0]
    else:
        value = _BY_TYPE[attribute.type]
    return [value] if attribute.multi_valued else value


def _fits(attribute: Attribute, value: Any) -> bool:
    if isinstance(value, list) != attribute.multi_valued:
        return False
    element = value[0] if attribute.multi_valued else value
    if isinstance(element, dict):
        needed = {sub.name for sub in attribute.sub_attributes if sub.required}
        if not attribute.is_complex or needed - set(element):
            return False
        return all(
            (sub := attribute.sub_attribute(name)) and sub.mutability != "readOnly" and _fits(sub, inner)
            for name, inner in element.items()
        )
    if attribute.type != ("boolean" if isinstance(element, bool) else "string"):
        return False
    return not attribute.canonical_values or element in attribute.canonical_values
