"""Complex values that hold nothing: which are absent, and which are refused (RFC 7643 section 2.5)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import GROUP, USER, ScimClient, error_of

# These backends keep values in different ways.
pytestmark = pytest.mark.on("sqlite", "mongodb", "ldap")

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SRAM = "urn:mace:surf.nl:sram:scim:extension:Group"
MANAGER = f"{ENTERPRISE}:manager"


def patched(scim: ScimClient, resource: dict[str, Any], *operations: dict[str, Any]) -> Any:
    return scim("PATCH", resource["meta"]["location"], {"schemas": [PATCH_OP], "Operations": operations})


def person(scim: ScimClient, **attributes: Any) -> dict[str, Any]:
    extension = {ENTERPRISE: {"department": "Tours", "manager": {"value": "26"}}}
    return scim.user("anna", schemas=[USER, ENTERPRISE], **extension, **attributes)


@pytest.fixture(params=["default", "strict"])
def either(make_scim: Callable[..., ScimClient], request: pytest.FixtureRequest) -> ScimClient:
    """A client under each of the profiles."""
    return make_scim(PROFILE=request.param)


# -- nothing but unknown sub-attributes


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "members", "value": [{"id": "7"}]},
        {"op": "replace", "path": "members", "value": {"id": "7"}},
        {"op": "replace", "value": {"members": [{"id": "7"}]}},
        {"op": "add", "path": "members", "value": [{"id": "7"}]},
        {"op": "add", "value": {"members": [{"id": "7"}]}},
    ],
)
def test_members_by_an_unknown_key_are_refused_and_stay(
    either: ScimClient, operation: dict[str, Any]
) -> None:
    group = either.group("g", either.user("a")["id"])

    detail = error_of(patched(either, group, operation), 400, "invalidValue")

    assert "members[0]: id is not a sub-attribute" in detail
    assert either("GET", group["meta"]["location"]).json == group


def test_values_are_not_removed_by_an_unknown_key(scim: ScimClient) -> None:
    user = person(scim, emails=[{"value": "a@x"}])
    group = scim.group("g", user["id"])

    for resource, path in ((user, "emails"), (group, "members")):
        operation = {"op": "remove", "path": path, "value": [{"id": "7"}]}
        detail = error_of(patched(scim, resource, operation), 400, "invalidValue")
        assert "id is not a sub-attribute" in detail
    assert scim("GET", group["meta"]["location"]).json == group


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"phoneNumbers": [{"number": "3"}]}, "phoneNumbers[0]: number"),
        ({"emails": [{"value": "a@x"}, {"mail": "b@x"}]}, "emails[1]: mail"),
        ({"addresses": [{"town": "Oslo", "value": None}]}, "addresses[0]: town"),
        ({"roles": [{"name": "r"}]}, "roles[0]: name"),
        ({"name": {"surname": "x"}}, "name: surname"),
        ({ENTERPRISE: {"manager": {"boss": "7"}}}, f"{ENTERPRISE}.manager: boss"),
    ],
)
def test_a_value_of_unknown_sub_attributes_is_refused_by_every_verb(
    either: ScimClient, attributes: dict[str, Any], named: str
) -> None:
    user = person(either, phoneNumbers=[{"value": "1"}], name={"familyName": "Berg"})
    body = {"schemas": [USER, ENTERPRISE], "userName": "anna", **attributes}
    other = {**body, "userName": "other"}

    answers = [
        either("POST", "/Users", other),
        either("PUT", user["meta"]["location"], body),
        patched(either, user, {"op": "replace", "value": attributes}),
        patched(either, user, {"op": "add", "value": attributes}),
    ]
    results = either(
        "POST",
        "/Bulk",
        {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [{"method": "POST", "path": "/Users", "bulkId": "a", "data": other}],
        },
    ).json["Operations"]

    place, key = named.split(": ")
    for answer in answers:
        detail = error_of(answer, 400, "invalidValue")
        assert f"{key} is not a sub-attribute" in detail
        assert place.rpartition(".")[2] in detail
    assert results[0]["response"]["scimType"] == "invalidValue"
    assert either("GET", user["meta"]["location"]).json == user
    assert either("GET", "/Users").json["totalResults"] == 1


def test_a_value_with_nothing_in_it_is_unassigned_as_null_is(either: ScimClient) -> None:
    nothing = [None, {}, {"value": None}, {"id": None}]
    body = {"schemas": [USER], "userName": "a", "name": {}, "phoneNumbers": [*nothing, {"id": 7}]}

    assert "phoneNumbers[4]: id" in error_of(either("POST", "/Users", body), 400, "invalidValue")
    user = either("POST", "/Users", {**body, "phoneNumbers": [*nothing, {"value": "1"}]}).json

    assert user["phoneNumbers"] == [{"value": "1"}]
    assert "name" not in user
    changed = patched(either, user, {"op": "replace", "path": "phoneNumbers", "value": [{}]})
    assert "phoneNumbers" not in changed.json


def test_unknown_attributes_are_ignored_beside_known_ones_and_in_extensions(scim: ScimClient) -> None:
    unknown = {"emails": [{"value": "a@x", "verified": True}], ENTERPRISE: {"custom": "x"}}

    error_of(scim("POST", "/Users", {"userName": "a", **unknown, "name": {"nick": "b"}}), 400, "invalidValue")
    user = scim.user("a", **unknown, name={"familyName": "Berg", "nick": "b"})

    assert (user["emails"], user["name"]) == ([{"value": "a@x"}], {"familyName": "Berg"})
    assert ENTERPRISE not in user


# -- "" as a value


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": MANAGER, "value": {"value": ""}},
        {"op": "replace", "path": MANAGER, "value": {"Value": "", "$ref": "", "displayName": "Boss"}},
        {"op": "replace", "path": MANAGER, "value": ""},
        {"op": "replace", "path": f"{MANAGER}.value", "value": ""},
        {"op": "add", "path": MANAGER, "value": ""},
        {"op": "add", "path": MANAGER, "value": {"value": ""}},
        {"op": "add", "path": MANAGER, "value": [{"value": ""}]},
        {"op": "add", "path": MANAGER, "value": {"managerId": ""}},
        {"op": "replace", "value": {MANAGER: ""}},
        {"op": "replace", "value": {ENTERPRISE: {"manager": {"value": ""}}}},
        {"op": "replace", "path": ENTERPRISE, "value": {"manager": {"value": ""}}},
    ],
)
def test_an_empty_manager_is_none(scim: ScimClient, operation: dict[str, Any]) -> None:
    changed = patched(scim, person(scim), operation)

    assert changed.json[ENTERPRISE] == {"department": "Tours"}
    assert scim.names(f"{MANAGER} pr") == []


def test_empty_values_are_absent_in_a_whole_resource(scim: ScimClient) -> None:
    user = person(scim)
    body = {
        "userName": "anna",
        "emails": [{"type": "work", "value": ""}, {"value": "a@x"}],
        "phoneNumbers": [{"type": "work", "primary": "true", "display": "Work", "value": ""}],
        "x509Certificates": [{"value": ""}],
        ENTERPRISE: {"manager": {"value": ""}},
    }

    kept = scim("PUT", user["meta"]["location"], body).json
    created = scim("POST", "/Users", {**body, "userName": "other"}).json

    for resource in (kept, created):
        assert resource["emails"] == [{"value": "a@x"}]
        assert not {"phoneNumbers", "x509Certificates", ENTERPRISE} & set(resource)


def test_members_with_an_empty_value_are_none(scim: ScimClient) -> None:
    user = scim.user("a")
    members = [{"value": "", "display": "nobody", "$ref": None}, {"value": user["id"]}]

    group = scim("POST", "/Groups", {"schemas": [GROUP], "displayName": "g", "members": members}).json

    assert [member["value"] for member in group["members"]] == [user["id"]]
    added = patched(scim, group, {"op": "add", "path": "members", "value": [{"value": ""}]})
    assert added.json == group


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": 'emails[type eq "work"].value', "value": ""},
        {"op": "replace", "path": 'emails[type eq "work"]', "value": {"type": "work", "value": ""}},
        {"op": "replace", "path": "emails", "value": [{"type": "work", "value": ""}]},
        {"op": "replace", "path": "emails.value", "value": ""},
        {"op": "replace", "value": {'emails[type eq "work"].value': ""}},
        {"op": "replace", "path": "emails", "value": {"value": ""}},
    ],
)
def test_an_element_whose_value_becomes_empty_goes(scim: ScimClient, operation: dict[str, Any]) -> None:
    user = person(scim, emails=[{"type": "work", "value": "a@x", "primary": True}])

    assert "emails" not in patched(scim, user, operation).json


def test_an_element_stays_when_its_value_is_removed(scim: ScimClient) -> None:
    emails = [{"type": "work", "value": "a@x"}, {"type": "home", "value": "b@x"}]
    user = person(scim, emails=emails)

    changed = patched(
        scim,
        user,
        {"op": "remove", "path": 'emails[type eq "work"].value'},
        {"op": "replace", "path": 'emails[type eq "home"].value', "value": ""},
    )

    assert changed.json["emails"] == [{"type": "work"}]


def test_plain_text_stays_empty_as_it_was_sent(scim: ScimClient) -> None:
    phones = [{"value": ""}]
    user = person(scim, title="", name={"givenName": "", "familyName": "Berg"}, phoneNumbers=phones)
    group = scim("POST", "/Groups", {"displayName": "g", SRAM: {"links": [{"name": "logo", "value": ""}]}})

    assert user["title"] == "" and "phoneNumbers" not in user
    assert user["name"] == {"givenName": "", "familyName": "Berg"}
    assert group.json[SRAM]["links"] == [{"name": "logo", "value": ""}]


def test_by_the_letter_an_empty_value_is_a_value(make_scim: Callable[..., ScimClient]) -> None:
    lenient = make_scim()
    assert "emails" not in lenient.user("b", emails=[{"type": "work", "value": ""}])
    scim = make_scim(PROFILE="strict")
    user = person(scim, emails=[{"type": "work", "value": ""}])

    assert user["emails"] == [{"type": "work", "value": ""}]
    changed = patched(scim, user, {"op": "replace", "path": MANAGER, "value": {"value": ""}})
    assert changed.json[ENTERPRISE]["manager"] == {"value": ""}
    body = {"schemas": [GROUP], "displayName": "g", "members": [{"value": ""}]}
    assert "members[0].value" in error_of(scim("POST", "/Groups", body), 400, "invalidValue")


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("emails", '[{"value": "b@x"}, {"value": "c@x"}]', [{"value": "b@x"}, {"value": "c@x"}]),
        ("emails", '{"value": "b@x"}', [{"value": "b@x"}]),
        ("emails", "[]", None),
        ("roles", "[]", None),
        (ENTERPRISE, '{"department": "d"}', {"department": "d"}),
        (ENTERPRISE, "", None),
    ],
)
def test_json_in_a_string_is_read_alike_by_every_verb(
    scim: ScimClient, name: str, text: str, kept: Any
) -> None:
    before = {"emails": [{"value": "a@x"}], ENTERPRISE: {"department": "c"}}

    assert scim.user("created", **{name: text}).get(name) == kept
    for number, operation in enumerate([{"path": name, "value": text}, {"value": {name: text}}]):
        user = scim.user(f"changed{number}", **before)
        body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", **operation}]}
        changed = scim("PATCH", user["meta"]["location"], body)
        assert changed.status_code == 200, changed.text
        assert changed.json.get(name) == kept
        body = {"userName": user["userName"], name: text}
        assert scim("PUT", user["meta"]["location"], body).json.get(name) == kept
