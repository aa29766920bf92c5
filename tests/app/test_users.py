"""Users over SCIM: create, read, replace, delete and list (RFC 7644 sections 3.3 to 3.6)."""

import re
from typing import Any

import pytest

from tests.conftest import USER, ScimClient, error_of

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SRAM = "urn:mace:surf.nl:sram:scim:extension:User"


def test_create_answers_with_location_version_and_meta(scim: ScimClient) -> None:
    answer = scim("POST", "/Users", {"schemas": [USER], "userName": "bjensen", "active": True})

    user = answer.json
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/scim+json"
    assert answer.headers["Location"] == user["meta"]["location"] == f"/Users/{user['id']}"
    assert answer.headers["ETag"] == user["meta"]["version"]
    assert user["meta"]["resourceType"] == "User"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", user["meta"]["created"])
    assert user["meta"]["created"] == user["meta"]["lastModified"]
    assert "etag" not in user["meta"]


def test_every_core_attribute_is_kept(scim: ScimClient) -> None:
    body = {
        "schemas": [USER, ENTERPRISE],
        "externalId": "701984",
        "userName": "bjensen@example.com",
        "name": {
            "formatted": "Ms. Barbara J Jensen, III",
            "familyName": "Jensen",
            "givenName": "Barbara",
            "middleName": "Jane",
            "honorificPrefix": "Ms.",
            "honorificSuffix": "III",
        },
        "displayName": "Babs Jensen",
        "nickName": "Babs",
        "profileUrl": "https://login.example.com/bjensen",
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": True},
            {"value": "babs@jensen.org", "type": "home", "display": "Babs"},
        ],
        "addresses": [{"type": "work", "streetAddress": "100 Universal City Plaza", "postalCode": "91608"}],
        "phoneNumbers": [{"value": "555-555-5555", "type": "work"}],
        "ims": [{"value": "someaimhandle", "type": "aim"}],
        "photos": [{"value": "https://photos.example.com/profilephoto/72930000000Ccne/F", "type": "photo"}],
        "userType": "Employee",
        "title": "Tour Guide",
        "preferredLanguage": "en-US",
        "locale": "en-US",
        "timezone": "America/Los_Angeles",
        "active": True,
        "entitlements": [{"value": "mail"}],
        "roles": [{"value": "admin", "primary": True}],
        "x509Certificates": [{"value": "MIIDQzCCAqygAwIBAgICEAAwDQYJKoZIhvcNAQEFBQAwTjELMAkGA1UE"}],
        ENTERPRISE: {"employeeNumber": "701984", "department": "Tour", "manager": {"value": "26118915"}},
    }

    created = scim("POST", "/Users", body).json
    read = scim("GET", created["meta"]["location"]).json

    assert created == read
    assert {name: read[name] for name in body} == body


def test_schemas_name_the_extensions_that_are_present(scim: ScimClient) -> None:
    user = scim.user("a", **{SRAM: {"sramInactiveDays": 3}, ENTERPRISE: {}})

    assert user["schemas"] == [USER, SRAM]
    assert ENTERPRISE not in user


@pytest.mark.sqlite
def test_by_the_letter_every_schema_must_be_one_of_the_type(make_scim: Any) -> None:
    scim = make_scim(PROFILE="strict")
    core = "urn:ietf:params:scim:schemas:core:2.0:User"

    detail = error_of(
        scim("POST", "/Users", {"schemas": [core, "urn:nope"], "userName": "a"}), 400, "invalidValue"
    )

    assert "urn:nope" in detail
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    assert scim("POST", "/Users", {"schemas": [core, enterprise], "userName": "a"}).status_code == 201


def test_only_user_name_is_required(scim: ScimClient) -> None:
    user = scim.user("bjensen")

    assert "active" not in user


def test_names_are_read_in_any_case_and_written_canonically(scim: ScimClient) -> None:
    user = scim("POST", "/Users", {"USERNAME": "a", "NAME": {"FAMILYNAME": "B"}, SRAM.upper(): {}}).json

    assert user["userName"] == "a"
    assert user["name"] == {"familyName": "B"}


def test_what_the_client_may_not_set_is_ignored(scim: ScimClient) -> None:
    user = scim.user("a", id="mine", meta={"version": "7"}, groups=[{"value": "g"}], shoeSize=43)

    assert user["id"] != "mine"
    assert user["meta"]["version"] != "7"
    assert "groups" not in user and "shoeSize" not in user


@pytest.mark.parametrize("value", [None, [], {}])
def test_null_and_empty_values_are_unassigned(scim: ScimClient, value: Any) -> None:
    user = scim.user("a", emails=value, nickName=None, name=value or {"givenName": None})

    assert not {"emails", "nickName", "name"} & set(user)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "userName"),
        ({"userName": None}, "userName"),
        ({"userName": ""}, "userName"),
        ({"userName": 7}, "userName"),
        ({"userName": "a\x00b"}, "userName"),
        ({"userName": "a", "active": "maybe"}, "active"),
        ({"userName": "a", "emails": "a@example.com"}, "emails"),
        ({"userName": "a", "emails": [{"value": 3}]}, "emails[0].value"),
        ({"userName": "a", "emails": [{"value": "b", "primary": True}] * 2 + [{"primary": True}]}, "emails"),
        ({"userName": "a", "name": "Jensen"}, "name"),
        ({"userName": "a", SRAM: {"sramInactiveDays": 1.5}}, f"{SRAM}.sramInactiveDays"),
        ({"userName": "a", SRAM: {"sramInactiveDays": 2**70}}, f"{SRAM}.sramInactiveDays"),
        ({"userName": "a", "x509Certificates": [{"value": "***"}]}, "x509Certificates[0].value"),
        ({"userName": "a", "schemas": ["urn:nope"]}, "schemas"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(
    scim: ScimClient, body: dict[str, Any], named: str
) -> None:
    answer = scim("POST", "/Users", body)

    assert error_of(answer, 400, "invalidValue").startswith(f"{named}:")
    assert scim("GET", "/Users").json["totalResults"] == 0


@pytest.mark.parametrize("raw", ['{"userName": "a', "[1]", '"text"', "", "{'a': 1}", '{"a": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(scim: ScimClient, raw: str) -> None:
    error_of(scim("POST", "/Users", data=raw), 400, "invalidSyntax")


def test_a_body_in_another_media_type_is_refused(scim: ScimClient) -> None:
    error_of(scim("POST", "/Users", data="x", headers={"Content-Type": "text/plain"}), 415)


@pytest.mark.parametrize("media_type", ["application/json", "application/scim+json; charset=utf-8"])
def test_plain_json_is_accepted(scim: ScimClient, media_type: str) -> None:
    answer = scim("POST", "/Users", data='{"userName": "a"}', headers={"Content-Type": media_type})

    assert answer.status_code == 201


def test_plain_json_is_answered_to_those_who_ask_for_it(scim: ScimClient) -> None:
    answer = scim("GET", "/Users", headers={"Accept": "application/json"})

    assert answer.headers["Content-Type"] == "application/json"


def test_boolean_strings_are_booleans(scim: ScimClient) -> None:
    assert scim.user("a", active="False")["active"] is False


def test_a_complex_value_may_come_as_json_in_a_string(scim: ScimClient) -> None:
    user = scim.user("a", roles=['{"value": "25", "display": "Admin"}'], emails=[{"value": '{"a": 1}'}])

    assert user["roles"] == [{"value": "25", "display": "Admin"}]
    assert user["emails"] == [{"value": '{"a": 1}'}]


def test_replace_clears_what_is_left_out(scim: ScimClient) -> None:
    user = scim.user("a", title="Guide", emails=[{"value": "a@example.com"}])

    answer = scim("PUT", user["meta"]["location"], {"userName": "a", "nickName": "b"})

    assert answer.status_code == 200
    assert set(answer.json) == {"schemas", "id", "userName", "nickName", "meta"}
    assert answer.json["meta"]["version"] != user["meta"]["version"]
    assert answer.json["meta"]["created"] == user["meta"]["created"]
    assert scim("GET", user["meta"]["location"]).json == answer.json


def test_replace_by_the_same_makes_no_new_version(scim: ScimClient) -> None:
    user = scim.user("a", title="Guide", password="t1meMa$heen")

    body = {"title": "Guide", "userName": "a", "password": "t1meMa$heen"}
    same = scim("PUT", user["meta"]["location"], body)

    assert same.json == user


def test_replace_of_what_is_not_there(scim: ScimClient) -> None:
    assert "nope" in error_of(scim("PUT", "/Users/nope", {"userName": "a"}), 404)


def test_replace_keeps_required_attributes_required(scim: ScimClient) -> None:
    user = scim.user("a", title="Guide")

    error_of(scim("PUT", user["meta"]["location"], {"title": "x"}), 400, "invalidValue")

    assert scim("GET", user["meta"]["location"]).json == user


def test_delete_then_nothing_is_there(scim: ScimClient) -> None:
    location = scim.user("a")["meta"]["location"]

    answer = scim("DELETE", location)

    assert (answer.status_code, answer.data) == (204, b"")
    error_of(scim("GET", location), 404)
    error_of(scim("DELETE", location), 404)
    assert scim("GET", "/Users").json["totalResults"] == 0
    scim.user("a")


@pytest.mark.parametrize("name", ["bjensen", "BJensen"])
def test_user_names_are_unique_in_any_case(scim: ScimClient, name: str) -> None:
    scim.user("bjensen")

    assert "userName" in error_of(scim("POST", "/Users", {"userName": name}), 409, "uniqueness")
    assert scim("GET", "/Users").json["totalResults"] == 1


def test_uniqueness_holds_when_replacing(scim: ScimClient) -> None:
    scim.user("a")
    other = scim.user("b")

    error_of(scim("PUT", other["meta"]["location"], {"userName": "A"}), 409, "uniqueness")

    assert scim("GET", other["meta"]["location"]).json == other


def test_external_ids_are_unique_within_a_resource_type(scim: ScimClient) -> None:
    scim.user("a", externalId="7")

    error_of(scim("POST", "/Users", {"userName": "b", "externalId": "7"}), 409, "uniqueness")
    scim.group("a", externalId="7")


def test_empty_external_ids_do_not_collide(scim: ScimClient) -> None:
    scim.user("a", externalId="")
    scim.user("b", externalId="")


@pytest.mark.sqlite
def test_password_is_kept_as_a_salted_hash_and_never_returned(scim: ScimClient, tmp_path: Any) -> None:
    user = scim.user("a", password="t1meMa$heen")

    again = scim("PUT", user["meta"]["location"], {"userName": "a", "nickName": "b"}).json

    assert "password" not in user and "password" not in again
    assert "password" not in scim("GET", "/Users?attributes=password").text
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert b"$argon2id$" in stored and b"t1meMa$heen" not in stored
    error_of(scim("GET", "/Users", query_string={"filter": "password pr"}), 400, "invalidFilter")


@pytest.mark.parametrize(
    "resource_id", ["nope", "..%2f..%2fetc%2fpasswd", "%00", "*", "a'%20OR%201=1", "%ff"]
)
def test_hostile_ids_are_just_not_found(scim: ScimClient, resource_id: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        error_of(scim(method, f"/Users/{resource_id}", {"userName": "a"} if method == "PUT" else None), 404)


def test_projection_of_single_resources_and_lists(scim: ScimClient) -> None:
    name = {"givenName": "g", "familyName": "f"}
    user = scim.user("a", title="t", name=name, **{ENTERPRISE: {"division": "d"}})
    path = user["meta"]["location"]

    def keys(query: str) -> set[str]:
        return set(scim("GET", f"{path}?{query}").json)

    assert keys("attributes=userName") == {"schemas", "id", "userName"}
    assert keys(f"attributes={ENTERPRISE}:division") == {"schemas", "id", ENTERPRISE}
    assert keys("excludedAttributes=title,meta,id") == {"schemas", "id", "userName", "name", ENTERPRISE}
    assert scim("GET", f"{path}?attributes=NAME.givenname").json["name"] == {"givenName": "g"}
    assert set(scim("GET", "/Users?attributes=title").json["Resources"][0]) == {"schemas", "id", "title"}
    error_of(scim("GET", f"{path}?attributes=title&excludedAttributes=name"), 400, "invalidValue")


def test_lists_are_paged_in_a_stable_order(scim: ScimClient) -> None:
    names = [scim.user(f"u{number}")["userName"] for number in range(5)]

    def page(query: str) -> tuple[list[str], int, int, int]:
        body = scim("GET", f"/Users?{query}").json
        shown = [user["userName"] for user in body["Resources"]]
        return shown, body["totalResults"], body["itemsPerPage"], body["startIndex"]

    assert page("") == (names, 5, 5, 1)
    assert page("startIndex=2&count=2") == (names[1:3], 5, 2, 2)
    assert page("startIndex=0&count=1") == (names[:1], 5, 1, 1)
    assert page("startIndex=-3&count=-1") == ([], 5, 0, 1)
    assert page("count=0") == ([], 5, 0, 1)
    assert page("startIndex=6") == ([], 5, 0, 6)
    assert page("startIndex=99999999999999&count=1")[0] == []


@pytest.mark.parametrize("query", ["startIndex=abc", "count=1.5", "count=1e3"])
def test_page_numbers_are_integers(scim: ScimClient, query: str) -> None:
    assert query.split("=")[0] in error_of(scim("GET", f"/Users?{query}"), 400, "invalidValue")


def test_page_size_is_a_limit(make_scim: Any) -> None:
    scim = make_scim(PAGE_SIZE="2")
    for name in "abc":
        scim.user(name)

    answer = scim("GET", "/Users?count=1000").json

    assert (answer["itemsPerPage"], answer["totalResults"]) == (2, 3)
    assert scim("GET", "/ServiceProviderConfig").json["filter"]["maxResults"] == 2


def test_conditional_requests(scim: ScimClient) -> None:
    user = scim.user("a")
    path, version = user["meta"]["location"], user["meta"]["version"]

    same = scim("GET", path, headers={"If-None-Match": version})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", version)
    assert scim("GET", path, headers={"If-None-Match": 'W/"0"'}).status_code == 200
    assert scim("GET", path, headers={"If-Match": version}).status_code == 200
    error_of(scim("GET", path, headers={"If-Match": 'W/"0"'}), 412)
    error_of(scim("PUT", path, {"userName": "b"}, headers={"If-Match": 'W/"0"'}), 412)
    error_of(scim("DELETE", path, headers={"If-Match": 'W/"0"'}), 412)
    for known in ("*", version):
        error_of(scim("PUT", path, {"userName": "b"}, headers={"If-None-Match": known}), 412)
    for matching in (version, "*", f'"x", {version}', version.removeprefix("W/")):
        assert scim("PUT", path, {"userName": "a"}, headers={"If-Match": matching}).status_code == 200
    assert scim("DELETE", path, headers={"If-Match": version}).status_code == 204
