"""USER_MAPPING and GROUP_MAPPING: attributes that follow another one at every write."""

import json
from collections.abc import Callable

import pytest

from app.configuration.settings import SettingsError
from tests.app.test_bulk import PATCH_OP, bulk, post
from tests.conftest import ScimClient, error_of

# Backends that take ids from us; the others give each resource one of their own.
TAKES_IDS = pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb", "ldap")
SRAM = "urn:mace:surf.nl:sram:scim:extension:User"
BY_NAME = {"USER_MAPPING": '{"id": "userName"}', "GROUP_MAPPING": '{"id": "displayName"}'}


@pytest.mark.parametrize("source", ["sram_user_extension.eduPersonUniqueId", f"{SRAM}:eduPersonUniqueId"])
def test_an_attribute_follows_another(make_scim: Callable[..., ScimClient], source: str) -> None:
    scim = make_scim(USER_MAPPING=json.dumps({"userName": source, "name.formatted": "displayName"}))

    user = scim.user("a", displayName="A", **{SRAM: {"eduPersonUniqueId": "x@y"}})
    other = scim.user("b")
    changed = scim("PUT", user["meta"]["location"], {"userName": "c", SRAM: {"eduPersonUniqueId": "z"}}).json

    assert (user["userName"], user["name"]) == ("x@y", {"formatted": "A"})
    assert other["userName"] == "b"
    assert changed["userName"] == "z"


def test_ids_can_be_made_of_an_attribute(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(USER_MAPPING='{"id": "userName"}')

    user = scim.user("bj@example.com")

    assert user["id"] == "bj@example.com"
    assert scim("GET", user["meta"]["location"]).json == user


@pytest.mark.parametrize("name", ["../../pwned", "../Groups/x", "..", ".", "a/b", "a\\b", "a?b", "\n"])
def test_ids_that_are_no_path_segment_are_refused(make_scim: Callable[..., ScimClient], name: str) -> None:
    scim = make_scim(USER_MAPPING='{"id": "userName"}')

    assert "userName" in error_of(scim("POST", "/Users", {"userName": name}), 400, "invalidValue")


def test_a_mapping_that_does_not_fit_stops_the_start(make_scim: Callable[..., ScimClient]) -> None:
    with pytest.raises(SettingsError) as caught:
        make_scim(USER_MAPPING='{"userName": "nope"}', GROUP_MAPPING='{"members": "displayName"}')

    assert [problem.split(":")[0] for problem in caught.value.problems] == ["USER_MAPPING", "GROUP_MAPPING"]


@TAKES_IDS
def test_no_two_resources_have_one_id(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**BY_NAME)
    user = scim.user("admin")

    problem = error_of(scim("POST", "/Groups", {"displayName": "admin"}), 409, "uniqueness")

    assert "id" in problem
    assert scim("GET", "/Groups").json["totalResults"] == 0
    group = scim.group("staff", "admin")
    assert group["members"][0]["$ref"] == user["meta"]["location"]
    error_of(scim("POST", "/Users", {"userName": "staff"}), 409, "uniqueness")
    assert scim("DELETE", user["meta"]["location"]).status_code == 204
    scim.group("admin")
    error_of(scim("POST", "/Users", {"userName": "admin"}), 409, "uniqueness")


@TAKES_IDS
def test_an_id_stays_when_the_attribute_that_it_was_made_of_changes(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(**BY_NAME)
    user = scim.user("a")
    operation = {"op": "replace", "path": "userName", "value": "b"}

    changed = scim("PATCH", user["meta"]["location"], {"schemas": [PATCH_OP], "Operations": [operation]})

    assert (changed.json["id"], changed.json["userName"]) == ("a", "b")
    # The name is free again, and the id is not.
    error_of(scim("POST", "/Users", {"userName": "a"}), 409, "uniqueness")
    error_of(scim("POST", "/Groups", {"displayName": "a"}), 409, "uniqueness")
    scim.group("b")


@TAKES_IDS
def test_bulk_makes_no_two_resources_of_one_id(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**BY_NAME)

    results = bulk(scim, post("u", userName="x"), post("g", "/Groups", displayName="x"))

    assert [result["status"] for result in results] == ["201", "409"]
    assert scim("GET", "/Groups").json["totalResults"] == 0
