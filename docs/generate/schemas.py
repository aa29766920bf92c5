"""docs/reference/schemas.md, from the definitions that come with the server."""

from collections.abc import Iterable, Iterator
from typing import Final

from docs.generate.markdown import document, listed, table
from schema.attribute import Attribute
from schema.registry import load_registry
from schema.resource_type import COMMON_ATTRIBUTES, ResourceType, Schema

_INTRO: Final = """
These resource types and schemas come with the server. `/ResourceTypes` and `/Schemas` answer the
definitions that are in use. `SCHEMA_PATH` replaces the definitions: see [Schemas](../how-to/schemas.md).

The columns are the characteristics of RFC 7643 section 2.2. A list is a multi-valued attribute. An empty
cell in `unique` means `none`. Default values are left out: an attribute is optional, not `caseExact`,
`readWrite` and returned by `default`, unless the table says otherwise.
"""
_COMMON: Final = """
Every resource has these attributes. `UNIQUE_EXTERNAL_ID=false` makes the uniqueness of `externalId`
`none`.
"""
_COLUMNS: Final = ("attribute", "type", "characteristics", "unique", "values", "meaning")


def page() -> str:
    """Return the page of schemas."""
    registry = load_registry(None)
    types = [_row(resource_type) for resource_type in registry.resource_types]
    parts = [
        "## Resource types",
        table(("resource type", "endpoint", "schema", "extensions"), types),
        "## Common attributes",
        _COMMON,
        _attributes(COMMON_ATTRIBUTES),
    ]
    for schema in registry.schemas:
        parts += list(_schema(schema))
    return document("Schemas", _INTRO, *parts)


def _row(resource_type: ResourceType) -> tuple[str, ...]:
    extensions = (f"`{e.schema.id}`{' (required)' if e.required else ''}" for e in resource_type.extensions)
    return (
        resource_type.name,
        f"`{resource_type.endpoint}`",
        f"`{resource_type.schema.id}`",
        "<br>".join(extensions),
    )


def _schema(schema: Schema) -> Iterator[str]:
    yield f"## {schema.name}"
    yield f"`{schema.id}`"
    yield schema.description
    common = {attribute.name for attribute in COMMON_ATTRIBUTES}
    yield _attributes(a for a in schema.attributes if a.name not in common)


def _attributes(attributes: Iterable[Attribute]) -> str:
    return table(_COLUMNS, (row for a in attributes for row in _rows(a)))


def _rows(attribute: Attribute, parent: str = "") -> Iterator[tuple[str, ...]]:
    path = f"{parent}{attribute.name}"
    kind = f"list of {attribute.type}" if attribute.multi_valued else attribute.type
    values = listed(attribute.canonical_values) or listed(attribute.reference_types)
    unique = "" if attribute.uniqueness == "none" else attribute.uniqueness
    yield (f"`{path}`", kind, _characteristics(attribute), unique, values, attribute.description)
    for sub in attribute.sub_attributes:
        yield from _rows(sub, f"{path}.")


def _characteristics(attribute: Attribute) -> str:
    words = ["required"] if attribute.required else []
    words += ["caseExact"] if attribute.case_exact else []
    words += [attribute.mutability] if attribute.mutability != "readWrite" else []
    words += [f"returned {attribute.returned}"] if attribute.returned != "default" else []
    return ", ".join(words)
