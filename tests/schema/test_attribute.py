"""An attribute: its sub-attributes by name, and how /Schemas shows it (RFC 7643 sections 2 and 7)."""

from typing import Any

import pytest

from schema.attribute import MUTABILITIES, RETURNED, TYPES, UNIQUENESS, Attribute
from tests.schema.definitions import complex_of, many

EMAILS = many("emails", Attribute("value"), Attribute("Type"))


def test_the_defaults_are_those_of_the_rfc() -> None:
    assert Attribute("x").as_json() == {
        "name": "x",
        "type": "string",
        "multiValued": False,
        "description": "",
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
    }


@pytest.mark.parametrize(
    ("characteristic", "member", "value"),
    [
        ("type", "type", "dateTime"),
        ("multi_valued", "multiValued", True),
        ("description", "description", "Where it is."),
        ("required", "required", True),
        ("case_exact", "caseExact", True),
        ("mutability", "mutability", "immutable"),
        ("returned", "returned", "request"),
        ("uniqueness", "uniqueness", "global"),
    ],
)
def test_every_characteristic_is_shown_by_its_name(characteristic: str, member: str, value: Any) -> None:
    plain = Attribute("x").as_json()

    shown = Attribute("x", **{characteristic: value}).as_json()

    assert shown == {**plain, member: value}


@pytest.mark.parametrize(
    ("attribute", "member", "shown"),
    [
        (Attribute("x", canonical_values=("a", "b")), "canonicalValues", ["a", "b"]),
        (Attribute("x", "reference", reference_types=("User", "uri")), "referenceTypes", ["User", "uri"]),
        (EMAILS, "subAttributes", [Attribute("value").as_json(), Attribute("Type").as_json()]),
    ],
    ids=["canonical values", "reference types", "sub-attributes"],
)
def test_lists_are_shown_in_their_order_and_only_when_there_are_any(
    attribute: Attribute, member: str, shown: list[Any]
) -> None:
    assert attribute.as_json()[member] == shown
    assert member not in Attribute("x").as_json()


@pytest.mark.parametrize("name", ["type", "Type", "TYPE"])
def test_a_sub_attribute_is_found_in_any_case(name: str) -> None:
    assert EMAILS.sub_attribute(name) is EMAILS.sub_attributes[1]


@pytest.mark.parametrize("name", ["", "kind", "emails", "value.type", " type"])
def test_no_sub_attribute_has_another_name(name: str) -> None:
    assert EMAILS.sub_attribute(name) is None


def test_a_simple_attribute_has_no_sub_attribute() -> None:
    assert Attribute("x").sub_attribute("value") is None


@pytest.mark.parametrize("kind", TYPES)
def test_only_the_type_complex_is_complex(kind: str) -> None:
    assert Attribute("x", kind).is_complex is (kind == "complex")


def test_a_bare_comparison_looks_at_the_value_of_a_complex_attribute_else_at_itself() -> None:
    simple = Attribute("x")

    assert simple.compared is simple
    assert EMAILS.compared is EMAILS.sub_attributes[0]
    assert complex_of("name", Attribute("givenName")).compared is None


def test_an_attribute_is_equal_to_itself_only() -> None:
    one = Attribute("x")

    assert one != Attribute("x")
    assert {one: 1}[one] == 1


def test_the_words_of_the_characteristics_are_those_of_the_rfc() -> None:
    assert set(TYPES) == {
        *("string", "boolean", "decimal", "integer", "dateTime", "reference", "binary", "complex"),
    }
    assert set(MUTABILITIES) == {"readOnly", "readWrite", "immutable", "writeOnly"}
    assert set(RETURNED) == {"always", "never", "default", "request"}
    assert set(UNIQUENESS) == {"none", "server", "global"}
