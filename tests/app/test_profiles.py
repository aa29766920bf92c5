"""What a profile changes beside the tolerances of `default` and `strict`, and its switches."""

from collections.abc import Callable
from typing import Any

import pytest

from app.configuration.settings import Settings, SettingsError
from app.protocol.profiles import (
    ANSWERS,
    PROFILES,
    TOLERANCES,
    UnknownProfile,
    fitting_profile,
    profile_of,
)
from tests.conftest import GROUP, USER, ScimClient, error_of

# Reading a request, and showing what is stored, does not depend on the backend.
pytestmark = pytest.mark.on("sqlite")

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TITLE = {"op": "replace", "path": "title", "value": "x"}
NAME = {"op": "replace", "path": "displayName", "value": "x"}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": list(operations)}


# -- the names


def test_every_profile_differs_from_every_other() -> None:
    switches = [profile_of(name).switches for name in PROFILES]

    assert len(set(switches)) == len(switches)
    assert profile_of("default").switches == set(TOLERANCES)
    assert profile_of("strict").switches == frozenset()


@pytest.mark.parametrize("switch", [*TOLERANCES, *ANSWERS])
def test_each_switch_makes_a_difference(switch: str) -> None:
    with_it, without = profile_of(f"strict,+{switch}"), profile_of(f"default,+{switch},-{switch}")

    assert with_it.switches == {switch} and switch not in without.switches
    strict = vars(profile_of("strict"))
    differences = [name for name, value in vars(with_it).items() if value != strict[name]]
    assert differences != ["switches"]


def test_the_last_style_of_locations_counts() -> None:
    assert profile_of("sram").location_style == "relative"
    assert profile_of("sram,+absolute-locations").location_style == "absolute"
    assert profile_of("sram,-relative-locations").location_style is None


@pytest.mark.parametrize(
    "text",
    ["", "Default", "azure", "default,json-strings", "default,+json", "default,", "default,+", "+app-roles"],
)
def test_a_profile_that_does_not_exist_is_said(text: str) -> None:
    with pytest.raises(UnknownProfile):
        profile_of(text)
    if text:
        with pytest.raises(SettingsError, match="PROFILE: "):
            Settings.from_env({"PROFILE": text})


def test_absolute_locations_need_a_url() -> None:
    with pytest.raises(SettingsError, match="PROFILE: absolute locations need BASE_URL"):
        Settings.from_env({"PROFILE": "default,+absolute-locations"})
    assert Settings.from_env({"PROFILE": " strict , +patch-204 "}).profile == "strict,+patch-204"


# -- what they change


def test_a_tolerance_can_be_switched_off_and_on(make_scim: Callable[..., ScimClient]) -> None:
    body = {"schemas": [USER], "userName": "a", "active": "True", "colour": "red"}

    scim = make_scim(PROFILE="default,-boolean-strings")
    error_of(scim("POST", "/Users", body), 400, "invalidValue")
    assert scim("POST", "/Users", {**body, "active": True}).status_code == 201

    scim = make_scim(PROFILE="strict,+boolean-strings")
    error_of(scim("POST", "/Users", body), 400, "invalidSyntax")
    del body["colour"]
    assert scim("POST", "/Users", {**body, "userName": "b"}).json["active"] is True


def test_interop_requires_the_path_of_an_operation(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PROFILE="interop")
    user = scim.user("a")
    path = f"/Users/{user['id']}"

    for op in ("add", "replace"):
        answer = scim("PATCH", path, patch(TITLE, {"op": op, "value": {"title": "y"}}))
        assert error_of(answer, 400, "invalidPath").startswith("Operations[1]: path is required")
    error_of(scim("PATCH", path, patch({"op": "add", "path": "colour", "value": "red"})), 400, "invalidPath")
    error_of(scim("PUT", path, {"schemas": [USER], "userName": "a", "colour": "red"}), 400, "invalidSyntax")
    error_of(scim("GET", "/Users", query_string={"filter": 'colour eq "red"'}), 400, "invalidFilter")
    assert scim("GET", path).json == user
    assert scim("PATCH", path, patch(TITLE)).json["title"] == "x"


def test_interop_requires_the_path_in_bulk_too(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PROFILE="interop")
    path = f"/Users/{scim.user('a')['id']}"
    operation = {"method": "PATCH", "path": path, "data": patch({"op": "add", "value": {"title": "y"}})}

    answer = scim(
        "POST",
        "/Bulk",
        {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [operation]},
    )

    assert answer.json["Operations"][0]["status"] == "400"
    assert answer.json["Operations"][0]["response"]["scimType"] == "invalidPath"


@pytest.mark.parametrize(
    ("profile", "of_user", "of_group"),
    [
        ("default", 200, 200),
        ("entra", 200, 204),
        ("default,+patch-204", 204, 204),
        ("entra,-group-patch-204", 200, 200),
    ],
)
def test_the_answer_to_a_patch_belongs_to_the_profile(
    make_scim: Callable[..., ScimClient], profile: str, of_user: int, of_group: int
) -> None:
    scim = make_scim(PROFILE=profile)
    user, group = scim.user("a"), scim.group("g")

    for operation, resource, status in ((TITLE, user, of_user), (NAME, group, of_group)):
        path = resource["meta"]["location"]
        answer = scim("PATCH", path, patch(operation))
        now = scim("GET", path)
        assert answer.status_code == status
        assert answer.headers["ETag"] == now.headers["ETag"] != resource["meta"]["version"]
        assert answer.headers["Location"] == path
        assert now.json[operation["path"]] == "x"
        # A client that names attributes wants to see them.
        assert scim("PATCH", f"{path}?attributes=id", patch(operation)).json["id"] == resource["id"]


def test_an_asynchronous_patch_is_answered_by_the_profile(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(PROFILE="default,+patch-204", ASYNC_REQUEST="long")
    user = scim.user("a")

    answer = scim("PATCH", user["meta"]["location"], patch(TITLE), {"Prefer": "respond-async, wait=15"})

    assert answer.status_code == 204
    assert answer.headers["Location"] == user["meta"]["location"]


def test_members_are_shown_on_request(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PROFILE="default,+members-on-request")
    user = scim.user("a")
    group = scim("POST", "/Groups", {"displayName": "g", "members": [{"value": user["id"]}]}).json
    path = f"/Groups/{group['id']}"

    assert "members" not in group
    assert "members" not in scim("GET", path).json
    assert "members" not in scim("GET", f"{path}?excludedAttributes=externalId").json
    assert "members" not in scim("GET", "/Groups").json["Resources"][0]
    assert [one["value"] for one in scim("GET", f"{path}?attributes=members").json["members"]] == [user["id"]]
    assert scim("GET", "/Groups?attributes=members.value").json["Resources"][0]["members"] == [
        {"value": user["id"]}
    ]
    # The membership is there: it is only not shown.
    assert scim("GET", f"/Users/{user['id']}").json["groups"][0]["value"] == group["id"]
    found = scim("GET", "/Groups", query_string={"filter": f'members.value eq "{user["id"]}"'}).json
    assert found["totalResults"] == 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["at once", "async"])
def test_the_style_of_locations_belongs_to_the_profile(
    make_scim: Callable[..., ScimClient], asynchronous: bool
) -> None:
    settings = {
        "BASE_URL": "https://scim.example.com",
        "BASE_PATH": "/v2",
        "LOCATION_STYLE": "absolute",
        "ASYNC_REQUEST": "long",
    }
    headers = {"Prefer": "respond-async, wait=15"} if asynchronous else {}
    for profile, prefix in (
        ("default", "https://scim.example.com/v2"),
        ("sram", "/v2"),
        ("sram,+absolute-locations", "https://scim.example.com/v2"),
    ):
        scim = make_scim(PROFILE=profile, **settings)
        user = scim("POST", "/Users", {"schemas": [USER], "userName": f"a of {profile}"}, headers)
        members = [{"value": user.json["id"]}]
        group = {"schemas": [GROUP], "displayName": "g", "members": members}
        group = scim("POST", "/Groups", group, headers).json

        location = f"{prefix}/Users/{user.json['id']}"
        assert user.headers["Location"] == user.json["meta"]["location"] == location
        assert group["members"][0]["$ref"] == location
        assert scim("GET", f"/Users/{user.json['id']}").json["groups"][0]["$ref"] == (
            f"{prefix}/Groups/{group['id']}"
        )
        # A client may hand the reference back.
        again = scim("PUT", f"/Groups/{group['id']}", group)
        assert again.json["members"][0]["$ref"] == location


@pytest.mark.parametrize(
    ("used", "text"),
    [
        ((), "strict"),
        (("boolean-strings", "operation-case"), "entra"),
        (("read-only-in-patch",), "okta"),
        (("manager-id",), "onelogin"),
        (("manager-id", "operation-case"), "onelogin,+operation-case"),
        (("manager-id", "app-roles", "single-objects"), "onelogin,+app-roles,+single-objects"),
        (("manager-id", "app-roles", "single-objects", "read-only-in-patch"), "default"),
        (("a deviation of a later release",), "strict"),
        (tuple(TOLERANCES), "default"),
    ],
)
def test_the_profile_that_fits_has_all_that_was_used(used: tuple[str, ...], text: str) -> None:
    found = fitting_profile(frozenset(used))

    assert found == text
    assert set(used) & set(TOLERANCES) <= profile_of(found).switches
