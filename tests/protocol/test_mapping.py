"""Attributes that take their value from another one at every write."""

from copy import deepcopy
from typing import Any

import pytest

from app.protocol.mapping import AttributeMapping
from schema.errors import InvalidValue
from tests.protocol.samples import BABS, CORE, DEVICE, ENTERPRISE, GROUP, OWNER, PRINTER, SRAM, USER

SRAM_GROUP = "urn:mace:surf.nl:sram:scim:extension:Group"
UNIQUE = {**BABS, "schemas": [CORE, SRAM], SRAM: {"eduPersonUniqueId": "uid@sram"}}


@pytest.mark.parametrize(
    ("target", "source", "changes"),
    [
        ("displayName", "userName", {"displayName": "bjensen"}),
        ("DISPLAYNAME", f"{CORE}:USERNAME", {"displayName": "bjensen"}),
        ("title", "userName", {"title": "bjensen"}),
        ("displayName", "name.givenName", {"displayName": "Barbara"}),
        ("name.givenName", "userName", {"name": {"familyName": "Jensen", "givenName": "bjensen"}}),
        ("displayName", "emails.value", {"displayName": "bjensen@example.com"}),
        ("externalId", f"{SRAM}:eduPersonUniqueId", {"externalId": "uid@sram"}),
        ("externalId", "sram_user_extension.eduPersonUniqueId", {"externalId": "uid@sram"}),
        ("externalId", "SRAM_User_Extension.eduPersonUniqueId", {"externalId": "uid@sram"}),
        (f"{ENTERPRISE}:division", "title", {ENTERPRISE: {**BABS[ENTERPRISE], "division": "Guide"}}),
        ("displayName", "nickName", {}),
        ("title", f"{SRAM}:voPersonExternalId", {}),
    ],
)
def test_a_target_takes_the_first_value_of_its_source(
    target: str, source: str, changes: dict[str, Any]
) -> None:
    resource = deepcopy(UNIQUE)
    if ENTERPRISE in changes:
        changes["schemas"] = [CORE, SRAM, ENTERPRISE]

    AttributeMapping(USER, {target: source}).apply(resource)

    assert resource == {**UNIQUE, **changes}


def test_a_target_makes_what_is_to_hold_it() -> None:
    resource: dict[str, Any] = {"schemas": [CORE], "userName": "u"}
    sources = {f"{SRAM}:eduPersonUniqueId": "userName", "name.formatted": "userName"}

    AttributeMapping(USER, sources).apply(resource)

    assert resource == {
        "schemas": [CORE, SRAM],
        "userName": "u",
        SRAM: {"eduPersonUniqueId": "u"},
        "name": {"formatted": "u"},
    }


def test_the_extension_of_a_group_is_found_by_its_older_name() -> None:
    group = {"schemas": [SRAM_GROUP], "displayName": "g", SRAM_GROUP: {"urn": "urn:g"}}

    AttributeMapping(GROUP, {"externalId": "sram_group_extension.urn"}).apply(group)

    assert group["externalId"] == "urn:g"


def test_targets_are_the_paths_that_are_copied_to() -> None:
    mapping = AttributeMapping(USER, {"ID": "userName", "displayname": "userName", "name.givenName": "title"})

    assert mapping.targets == {"displayName", "name.givenName"}
    assert AttributeMapping(USER, {}).targets == frozenset()


@pytest.mark.parametrize(
    ("target", "source", "problem"),
    [
        ("shoe", "userName", "shoe is not an attribute of User"),
        ("title", "shoe.size", "shoe.size is not an attribute of User"),
        ("title", "other_user_extension.x", "other_user_extension.x is not an attribute of User"),
        ("meta.version", "userName", "meta.version is readOnly or multi-valued"),
        ("groups", "emails", "groups is readOnly or multi-valued"),
        ("emails.value", "userName", "emails.value is readOnly or multi-valued"),
        ("active", "userName", "active and userName must have the same simple type"),
        ("name", "name", "name and name must have the same simple type"),
        ("title", "name", "title and name must have the same simple type"),
        ("title", "active", "title and active must have the same simple type"),
    ],
)
def test_a_mapping_that_cannot_be_done_is_refused(target: str, source: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        AttributeMapping(USER, {target: source})

    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("source", "resource", "new_id"),
    [
        ("userName", {"userName": "bjensen"}, "bjensen"),
        ("userName", {"userName": "b@x.org"}, "b@x.org"),
        ("userName", {"userName": "é"}, "é"),
        ("userName", {"userName": "..."}, "..."),
        ("userName", {"userName": "x" * 200}, "x" * 200),
        ("externalId", {"userName": "bjensen"}, None),
        ("emails.value", {"emails": [{"type": "x"}, {"value": "a"}, {"value": "b"}]}, "a"),
    ],
)
def test_an_id_is_made_of_the_first_value(source: str, resource: dict[str, Any], new_id: str | None) -> None:
    mapping = AttributeMapping(USER, {"id": source})
    before = deepcopy(resource)

    mapping.apply(resource)

    assert mapping.new_id(resource) == new_id
    assert resource == before


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "a?b", "a#b", "a%b", "a b", "a\nb", "\x7f", "x" * 201]
)
def test_an_id_that_cannot_stand_in_a_url_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="^userName: cannot be used as an id in URLs"):
        AttributeMapping(USER, {"id": "userName"}).new_id({"userName": name})


def test_an_id_is_text() -> None:
    with pytest.raises(InvalidValue, match="^active: cannot be used"):
        AttributeMapping(USER, {"id": "active"}).new_id({"active": True})


def test_without_mapping_there_is_no_id() -> None:
    assert AttributeMapping(USER, {"title": "userName"}).new_id(BABS) is None


def test_extensions_of_any_schema_are_mapped() -> None:
    printer = deepcopy(PRINTER)

    AttributeMapping(DEVICE, {f"{OWNER}:name": "serial"}).apply(printer)

    assert printer == {**PRINTER, OWNER: {"name": "S1"}}
