"""USER_MAPPING and GROUP_MAPPING: attributes that follow another one at every write."""

import json
from collections.abc import Callable

import pytest

from app.settings import SettingsError
from tests.conftest import ScimClient, error_of

SRAM = "urn:mace:surf.nl:sram:scim:extension:User"


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
