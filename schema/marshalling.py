"""From a resource type to a marshmallow Schema, which describes the API (RFC 7643 section 7)."""

import re
from collections.abc import Iterable
from typing import Any

from marshmallow import Schema, fields

from schema.attribute import Attribute
from schema.resource_type import ResourceType

_FIELDS: dict[str, type[fields.Field[Any]]] = {
    "string": fields.String,
    "reference": fields.String,
    "binary": fields.String,
    "boolean": fields.Boolean,
    "integer": fields.Integer,
    "decimal": fields.Float,
    "dateTime": fields.String,
}

_NO_COMPONENT = re.compile(r"[^\w.-]", re.ASCII)


def marshmallow_schema(resource_type: ResourceType) -> type[Schema]:
    """Return a Schema class with a field for every attribute and extension of the type.

    Fields have plain names and the attribute as `data_key`: marshmallow takes a dot in a field's
    name, as URNs have them, for nesting.
    """
    extensions = tuple(extension.attribute for extension in resource_type.extensions)
    labels = {e.schema.id: _label(e.schema.name) for e in resource_type.extensions}
    return _object(resource_type.name, (*resource_type.attributes, *extensions), labels)


def _label(text: str) -> str:
    # The names of the components of an OpenAPI document are of few characters.
    return _NO_COMPONENT.sub("", text)


def _object(name: str, attributes: Iterable[Attribute], labels: dict[str, str]) -> type[Schema]:
    members = {
        f"field_{position}": _field(name, attribute, labels) for position, attribute in enumerate(attributes)
    }
    return Schema.from_dict(members, name=_label(name))


def _field(parent: str, attribute: Attribute, labels: dict[str, str]) -> fields.Field[Any]:
    options: dict[str, Any] = {
        "data_key": attribute.name,
        "required": attribute.required and attribute.name != "schemas",
        "dump_only": attribute.mutability == "readOnly",
        "load_only": attribute.mutability == "writeOnly",
    }
    description = attribute.description
    if attribute.canonical_values:
        description = f"{description} Canonical values: {', '.join(attribute.canonical_values)}.".strip()
    metadata: dict[str, Any] = {"description": description}
    if attribute.type in ("dateTime", "binary", "reference"):
        metadata["format"] = {"dateTime": "date-time", "binary": "byte", "reference": "uri"}[attribute.type]
    if attribute.is_complex:
        label = labels.get(attribute.name) or attribute.name[0].upper() + attribute.name[1:]
        inner: Any = fields.Nested(_object(parent + label, attribute.sub_attributes, labels))
    else:
        inner = _FIELDS[attribute.type]()
    if attribute.multi_valued:
        return fields.List(inner, metadata=metadata, **options)
    if attribute.is_complex:
        return fields.Nested(inner.nested, metadata=metadata, **options)
    return _FIELDS[attribute.type](metadata=metadata, **options)
