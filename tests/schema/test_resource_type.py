"""Paths of attributes, and a resource type on itself (RFC 7643 section 6, RFC 7644 section 3.10)."""

from typing import Any

import pytest

from schema.attribute import Attribute
from schema.resource_type import (
    COMMON_ATTRIBUTES,
    AttributePath,
    ResourceType,
    Schema,
    common_attributes,
    sub_values,
)
from tests.schema.definitions import (
    BADGE,
    BUDGET,
    PERSON,
    PERSON_TYPE,
    TEAM_TYPE,
    WORK,
    many,
)


def path_of(text: str) -> AttributePath:
    found = PERSON_TYPE.path(text)
    assert found is not None, text
    return found


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("userName", "userName"),
        ("USERNAME", "userName"),
        ("id", "id"),
        ("schemas", "schemas"),
        ("externalid", "externalId"),
        ("meta.lastmodified", "meta.lastModified"),
        ("name", "name"),
        ("Name.FamilyName", "name.familyName"),
        ("emails.VALUE", "emails.value"),
        ("tags.VALUE", "tags"),
        ("schemas.value", "schemas"),
        ("groups.$REF", "groups.$ref"),
        (f"{PERSON}:userName", "userName"),
        (f"{PERSON.upper()}:NAME.givenname", "name.givenName"),
        (f"{PERSON}.userName", "userName"),
        (f"{PERSON}:id", "id"),
        (WORK, WORK),
        (WORK.upper(), WORK),
        (f"{WORK}:department", f"{WORK}:department"),
        (f"{WORK.upper()}:DEPARTMENT", f"{WORK}:department"),
        (f"{WORK}.department", f"{WORK}:department"),
        (f"{WORK}:manager.Value", f"{WORK}:manager.value"),
        (BADGE, BADGE),
        (f"{BADGE}:number", f"{BADGE}:number"),
    ],
)
def test_a_path_is_found_in_any_case_and_written_as_the_schema_does(text: str, canonical: str) -> None:
    assert path_of(text).text == canonical


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ":", "department", "userName.value", "name.", "name.x", ".name", "emails.value.x"),
        *(" userName", "userName ", "name familyName", "emails[0]", "familyName"),
        *(PERSON, f"{PERSON}:", f"{PERSON}:department", f"{PERSON}x:userName", f"{PERSON}userName"),
        *(f"{WORK}:", f"{WORK}:userName", f"{WORK}:manager.x", f"{WORK}:name.familyName"),
        *(f"{BADGE}:department", f"{BUDGET}:amount", "urn:example:other:userName"),
    ],
)
def test_a_path_to_no_attribute_is_not_found(text: str) -> None:
    assert PERSON_TYPE.path(text) is None
    assert PERSON_TYPE.path(text) is None, "nor when it is asked for again"


@pytest.mark.parametrize("text", [p.text for p in PERSON_TYPE.simple_paths])
def test_the_text_of_every_path_leads_back_to_it(text: str) -> None:
    assert path_of(text).text == text
    assert path_of(text.upper()) == path_of(text.lower()) == path_of(text)


@pytest.mark.parametrize(
    ("text", "leaf", "extension"),
    [
        ("title", "title", None),
        ("name.familyName", "familyName", None),
        (f"{WORK}:department", "department", WORK),
        (f"{WORK}:manager.value", "value", WORK),
        (WORK, WORK, None),
    ],
)
def test_a_path_ends_at_its_leaf_within_its_extension(text: str, leaf: str, extension: str | None) -> None:
    assert (path_of(text).leaf.name, path_of(text).extension) == (leaf, extension)


RESOURCE = {
    "userName": "anna",
    "tags": ["a", "b"],
    "active": False,
    "name": {"familyName": "Berg"},
    "emails": [{"value": "a@x", "type": "work"}, {"type": "home"}, {"value": "b@x"}],
    WORK: {"department": "Tours", "shifts": ["day"], "manager": {"value": "7"}},
}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("userName", ["anna"]),
        ("tags", ["a", "b"]),
        ("active", [False]),
        ("title", []),
        ("name", [{"familyName": "Berg"}]),
        ("name.familyName", ["Berg"]),
        ("name.givenName", []),
        ("emails.value", ["a@x", "b@x"]),
        ("emails.type", ["work", "home"]),
        ("phones.value", []),
        (WORK, [RESOURCE[WORK]]),
        (f"{WORK}:department", ["Tours"]),
        (f"{WORK}:shifts", ["day"]),
        (f"{WORK}:manager.value", ["7"]),
        (f"{WORK}:costCenter", []),
        (BADGE, []),
        (f"{BADGE}:number", []),
    ],
)
def test_the_values_at_the_end_of_a_path_come_in_order(text: str, values: list[Any]) -> None:
    assert path_of(text).values(RESOURCE) == values


def test_the_elements_are_those_of_the_attribute_and_not_of_its_sub_attribute() -> None:
    assert path_of("emails.value").elements(RESOURCE) == RESOURCE["emails"]
    assert path_of("name.familyName").elements(RESOURCE) == [{"familyName": "Berg"}]
    assert path_of("phones.value").elements(RESOURCE) == []


def test_the_holder_of_an_attribute_is_its_extension_or_the_resource() -> None:
    assert path_of("title").holder(RESOURCE) is RESOURCE
    assert path_of(WORK).holder(RESOURCE) is RESOURCE
    assert path_of(f"{WORK}:department").holder(RESOURCE) is RESOURCE[WORK]
    assert path_of(f"{BADGE}:number").holder(RESOURCE) == {}


@pytest.mark.parametrize("stored", [None, "text", 7, ["a"]], ids=repr)
def test_an_extension_that_is_no_object_holds_nothing(stored: Any) -> None:
    assert path_of(f"{WORK}:department").values({WORK: stored}) == []


def test_sub_values_pass_over_elements_that_are_no_objects_and_open_lists() -> None:
    elements = [{"value": "a"}, "text", None, {"value": None}, {"value": ["b", "c"]}, {}, {"Value": "d"}]

    assert list(sub_values(elements, Attribute("value"))) == ["a", "b", "c"]


@pytest.mark.parametrize("urn", [WORK, WORK.lower(), WORK.upper()])
def test_an_extension_is_found_by_its_urn_in_any_case(urn: str) -> None:
    assert PERSON_TYPE.extension(urn) is PERSON_TYPE.extensions[0]


@pytest.mark.parametrize("urn", ["", PERSON, BUDGET, f"{WORK}:department"])
def test_no_other_urn_is_an_extension(urn: str) -> None:
    assert PERSON_TYPE.extension(urn) is None


def test_the_object_of_an_extension_is_a_complex_attribute_with_the_urn_as_its_name() -> None:
    attribute = TEAM_TYPE.extensions[0].attribute

    assert (attribute.name, attribute.type, attribute.required) == (BUDGET, "complex", True)
    assert attribute.sub_attributes == TEAM_TYPE.extensions[0].schema.attributes
    assert not PERSON_TYPE.extensions[0].attribute.required


def test_the_common_attributes_come_first_and_no_schema_changes_them() -> None:
    own = (Attribute("ID", "integer"), Attribute("room"))
    made = ResourceType("Device", "/Devices", "", Schema("urn:example:device", "Device", "", own))

    assert made.attributes == (*COMMON_ATTRIBUTES, own[1])


@pytest.mark.parametrize(("unique", "uniqueness"), [(True, "server"), (False, "none")])
def test_external_id_is_unique_only_where_the_installation_says_so(unique: bool, uniqueness: str) -> None:
    common = {attribute.name: attribute for attribute in common_attributes(unique_external_id=unique)}

    assert common["externalId"].uniqueness == uniqueness
    assert common["externalId"].case_exact
    assert common["id"].uniqueness == "server"
    assert list(common) == ["schemas", "id", "externalId", "meta"]


def test_simple_paths_are_those_that_hold_values() -> None:
    texts = [path.text for path in TEAM_TYPE.simple_paths]

    assert texts == [
        *("schemas", "id", "externalId"),
        *("meta.resourceType", "meta.created", "meta.lastModified", "meta.location", "meta.version"),
        *("displayName", "members.value", "members.$ref", "members.type", f"{BUDGET}:amount"),
    ]


def test_unique_paths_are_of_the_core_and_of_extensions_without_id() -> None:
    texts = [path.text for path in PERSON_TYPE.unique_paths]

    assert texts == ["externalId", "userName", f"{WORK}:employeeNumber"]


@pytest.mark.parametrize(
    ("resource", "shown"),
    [
        ({"displayName": "Anna", "userName": "a"}, "Anna"),
        ({"displayName": "", "userName": "a"}, "a"),
        ({"displayName": 7, "userName": "a"}, "a"),
        ({"userName": "a", "externalId": "e"}, "a"),
        ({"externalId": "e", WORK: {"employeeNumber": "12"}}, "12"),
        ({"externalId": "e", "userName": 7}, None),
        ({}, None),
    ],
)
def test_a_resource_is_shown_by_its_display_name_else_by_a_unique_name(
    resource: dict[str, Any], shown: str | None
) -> None:
    assert PERSON_TYPE.display(resource) == shown


def test_members_and_memberships_are_known_by_their_references() -> None:
    assert TEAM_TYPE.members is TEAM_TYPE.schema.attributes[1]
    assert TEAM_TYPE.memberships is None
    assert PERSON_TYPE.members is None
    assert PERSON_TYPE.memberships is not None
    assert PERSON_TYPE.memberships.name == "groups"


REFERENCE = Attribute("$ref", "reference", reference_types=("Team",))


@pytest.mark.parametrize(
    "attribute",
    [
        many("x", REFERENCE),
        many("x", Attribute("value")),
        many("x", Attribute("value"), Attribute("$ref", "reference", reference_types=("external", "uri"))),
        many("x", Attribute("value"), Attribute("$ref", "reference")),
        Attribute("x", "complex", sub_attributes=(Attribute("value"), REFERENCE)),
    ],
    ids=["no value", "no reference", "to the outside", "to nothing", "single value"],
)
def test_an_attribute_that_cannot_name_resources_is_no_link(attribute: Attribute) -> None:
    made = ResourceType("Device", "/Devices", "", Schema("urn:example:device", "Device", "", (attribute,)))

    assert made.members is None
    assert made.memberships is None


def test_secret_paths_are_those_that_are_never_returned() -> None:
    texts = {path.text for path in PERSON_TYPE.secret_paths}

    assert {"password", "card.code", f"{WORK}:pin"} <= texts
    assert not texts & {"userName", "diary", "serial", f"{WORK}:salary"}
