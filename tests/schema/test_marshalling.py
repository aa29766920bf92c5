"""The marshmallow Schema of a resource type: fields, their characteristics, and names of components."""

import re
from typing import Any

import pytest
from marshmallow import Schema, fields

from schema.attribute import Attribute
from schema.marshalling import marshmallow_schema
from schema.registry import load_registry
from schema.resource_type import ResourceType
from schema.resource_type import Schema as Definition
from schema.resource_type import SchemaExtension
from tests.schema.definitions import BADGE, PERSON_TYPE, TEAM_TYPE, WORK, complex_of

# OpenAPI 3.0, Components Object.
COMPONENT = re.compile(r"[a-zA-Z0-9.\-_]+")


def by_key(made: type[Schema]) -> dict[str, fields.Field[Any]]:
    return {str(field.data_key): field for field in made().fields.values()}


def nested_in(made: type[Schema]) -> list[type[Schema]]:
    """Return a Schema and every one within it."""
    found = [made]
    for field in made().fields.values():
        inner = field.inner if isinstance(field, fields.List) else field
        if isinstance(inner, fields.Nested):
            found += nested_in(inner.nested)  # type: ignore[arg-type]
    return found


PERSON_FIELDS = by_key(marshmallow_schema(PERSON_TYPE))


def test_there_is_a_field_for_every_attribute_and_extension() -> None:
    assert list(PERSON_FIELDS) == [a.name for a in PERSON_TYPE.attributes] + [WORK, BADGE]


def test_the_names_of_fields_have_no_dot() -> None:
    assert not any("." in name for name in marshmallow_schema(PERSON_TYPE)().fields)


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("title", fields.String, None),
        ("active", fields.Boolean, None),
        ("age", fields.Integer, None),
        ("height", fields.Float, None),
        ("born", fields.String, "date-time"),
        ("photo", fields.String, "byte"),
        ("profileUrl", fields.String, "uri"),
        ("name", fields.Nested, None),
        ("emails", fields.List, None),
        (WORK, fields.Nested, None),
    ],
)
def test_a_field_is_of_the_type_of_its_attribute(name: str, kind: type, shape: str | None) -> None:
    assert type(PERSON_FIELDS[name]) is kind
    assert PERSON_FIELDS[name].metadata.get("format") == shape


@pytest.mark.parametrize(("name", "inner"), [("tags", fields.String), ("scores", fields.Integer)])
def test_a_multi_valued_attribute_is_a_list_of_its_type(name: str, inner: type) -> None:
    field = PERSON_FIELDS[name]

    assert isinstance(field, fields.List) and type(field.inner) is inner


@pytest.mark.parametrize(
    ("name", "required", "dump_only", "load_only"),
    [
        ("userName", True, False, False),
        # The server adds it.
        ("schemas", False, False, False),
        ("title", False, False, False),
        ("id", False, True, False),
        ("groups", False, True, False),
        ("serial", False, False, False),
        ("password", False, False, True),
    ],
)
def test_who_may_write_and_read_is_said(name: str, required: bool, dump_only: bool, load_only: bool) -> None:
    field = PERSON_FIELDS[name]

    assert (field.required, field.dump_only, field.load_only) == (required, dump_only, load_only)


def test_a_required_extension_is_required() -> None:
    assert by_key(marshmallow_schema(TEAM_TYPE))[TEAM_TYPE.extensions[0].schema.id].required
    assert not PERSON_FIELDS[WORK].required


@pytest.mark.parametrize(
    ("description", "values", "said"),
    [
        ("", (), ""),
        ("A.", (), "A."),
        ("", ("a", "b"), "Canonical values: a, b."),
        ("A.", ("a",), "A. Canonical values: a."),
    ],
)
def test_the_description_names_the_canonical_values(
    description: str, values: tuple[str, ...], said: str
) -> None:
    attribute = Attribute("x", description=description, canonical_values=values)
    made = ResourceType("T", "/Ts", "", Definition("urn:example:t", "T", "", (attribute,)))

    assert by_key(marshmallow_schema(made))["x"].metadata["description"] == said


def test_components_are_named_by_their_type_their_extension_and_their_attribute() -> None:
    assert [made.__name__ for made in nested_in(marshmallow_schema(PERSON_TYPE))] == [
        *("Person", "PersonMeta", "PersonName", "PersonEmails", "PersonPhones", "PersonVisits"),
        *("PersonCard", "PersonVault", "PersonGroups", "PersonWork", "PersonWorkManager", "PersonBadge"),
    ]


@pytest.mark.parametrize("name", ["Lab", "Émilie's \"lab\"", "Where / it is", "实验室", "$"])
def test_the_names_of_components_have_the_characters_that_openapi_allows(name: str) -> None:
    inside = complex_of("$where", Attribute("value"))
    extension = SchemaExtension(Definition("urn:example:ext:lab~1", name, "", (inside,)))
    made = ResourceType("A$b", "/As", "", Definition("urn:example:a", "A", "", (inside,)), (extension,))

    names = [found.__name__ for found in nested_in(marshmallow_schema(made))]

    assert all(COMPONENT.fullmatch(found) for found in names)
    assert len(set(names)) == len(names)


def test_no_two_components_of_the_server_share_a_name() -> None:
    names = [
        made.__name__
        for resource_type in load_registry().resource_types
        for made in nested_in(marshmallow_schema(resource_type))
    ]

    assert len(set(names)) == len(names)
