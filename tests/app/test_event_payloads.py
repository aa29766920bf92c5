"""What events carry, where it is not a whole attribute that changes (RFC 9967 sections 2.1 and 2.2)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ScimClient
from tests.events import (
    BULK,
    ENTERPRISE,
    EVENT,
    PATCH_OP,
    POLL,
    kinds,
    patch,
    payload,
    sets,
)

NAME = {"givenName": "Babs", "familyName": "Jensen", "formatted": "Babs Jensen"}


@pytest.fixture
def full(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(EVENT_MODE="full", **POLL)


def operations(scim: ScimClient) -> Any:
    """Return the operations of the last event."""
    return payload(sets(scim)[-1])["data"]["Operations"]


def test_a_patch_event_names_the_sub_attributes_that_changed(polled: ScimClient) -> None:
    path = f"/Users/{polled.user('a', name=NAME)['id']}"
    patch(
        *(polled, path),
        {"op": "replace", "path": "name.givenName", "value": "Barbara"},
        {"op": "remove", "path": "name.formatted"},
        {"op": "add", "path": f"{ENTERPRISE}:manager", "value": {"value": "m"}},
    )
    patch(polled, path, {"op": "remove", "path": "name"})

    first, second = (payload(one)["attributes"] for one in sets(polled)[-2:])

    assert sorted(first) == ["name.formatted", "name.givenName", f"{ENTERPRISE}:manager"]
    assert second == ["name"]


def test_a_full_patch_event_removes_what_the_patch_removed(full: ScimClient) -> None:
    user, copy = (full.user(name, name=NAME, **{ENTERPRISE: {"department": "D"}}) for name in "ab")
    patch(
        *(full, f"/Users/{user['id']}"),
        {"op": "remove", "path": "name.formatted"},
        {"op": "replace", "path": "name", "value": {"givenName": "Barbara"}},
        {"op": "remove", "path": f"{ENTERPRISE}:department"},
    )

    patch(full, f"/Users/{copy['id']}", *operations(full))

    left, right = (full("GET", f"/Users/{one['id']}").json for one in (user, copy))
    assert left["name"] == right["name"] == {"givenName": "Barbara", "familyName": "Jensen"}
    assert ENTERPRISE not in left and ENTERPRISE not in right


def test_where_no_operation_can_say_it_a_notice_does(full: ScimClient) -> None:
    user = full.user("a")["id"]
    group = full.group("g", user)["id"]
    patch(full, f"/Users/{user}", {"op": "replace", "path": "password", "value": "the-Password-1"})
    patch(
        *(full, f"/Groups/{group}"),
        {"op": "add", "path": "members", "value": [{"value": user, "display": "Somebody"}]},
    )

    found = sets(full)
    told = [uri for one in found for uri in one["events"]]
    changed = [payload(one)["attributes"] for one in found if f"{EVENT}:prov:patch:notice" in one["events"]]

    assert f"{EVENT}:prov:patch:full" not in told
    # Not every backend keeps a `display` of the client.
    assert changed in ([["password"], ["members"]], [["password"]])


@pytest.mark.parametrize("way", ["replace", "remove", "add", "bulk"])
def test_a_display_that_changes_beside_members_makes_a_notice(full: ScimClient, way: str) -> None:
    stays, leaves, joins = (full.user(name)["id"] for name in "abc")
    path = f"/Groups/{full.group('g', stays, leaves)['id']}"
    shown = {"value": stays, "display": "x"}
    remove = {"op": "remove", "path": f'members[value eq "{leaves}"]'}
    made: dict[str, list[dict[str, Any]]] = {
        "replace": [{"op": "replace", "path": "members", "value": [shown]}],
        "remove": [{"op": "add", "path": "members", "value": [shown]}, remove],
        "add": [{"op": "add", "path": "members", "value": [shown, {"value": joins}]}],
        "bulk": [{"op": "replace", "path": "members", "value": [shown]}],
    }
    data = {"schemas": [PATCH_OP], "Operations": made[way]}

    if way == "bulk":
        operations = [{"method": "PATCH", "path": path, "data": data}]
        full("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})
    else:
        assert full("PATCH", path, data).status_code in (200, 204)

    (told,) = [one for one in sets(full) if any(":prov:patch:" in uri for uri in one["events"])]
    assert list(told["events"]) == [f"{EVENT}:prov:patch:notice"]
    assert payload(told)["attributes"] == ["members"]


def test_a_display_that_stays_makes_no_notice(full: ScimClient) -> None:
    stays, leaves = (full.user(name)["id"] for name in "ab")
    path = f"/Groups/{full.group('g', stays, leaves)['id']}"

    patch(full, path, {"op": "replace", "path": "members", "value": [{"value": stays}]})

    (told,) = [one for one in sets(full) if f"{EVENT}:prov:patch:full" in one["events"]]
    expected = [{"op": "remove", "path": f'members[value eq "{leaves}"]'}]
    assert payload(told)["data"]["Operations"] == expected


def test_what_is_returned_on_request_only_is_in_no_event(
    make_scim: Callable[..., ScimClient], tmp_path: Path
) -> None:
    shutil.copytree("schema/core", tmp_path / "core")
    file = tmp_path / "core" / "User.json"
    definition = json.loads(file.read_text())
    for attribute in definition["attributes"]:
        if attribute["name"] in ("title", "nickName"):
            attribute["returned"] = "request"
    file.write_text(json.dumps(definition))
    scim = make_scim(SCHEMA_PATH=str(tmp_path), EVENT_MODE="full", **POLL)
    path = f"/Users/{scim.user('a', nickName='N')['id']}"

    patch(
        *(scim, path),
        {"op": "replace", "path": "title", "value": "T"},
        {"op": "replace", "path": "displayName", "value": "D"},
    )

    assert operations(scim) == [{"op": "replace", "path": "displayName", "value": "D"}]
    patch(scim, path, {"op": "remove", "path": "nickName"})
    assert operations(scim) == [{"op": "remove", "path": "nickName"}]


def test_a_new_resource_is_told_with_a_path_for_each_attribute(polled: ScimClient) -> None:
    polled.user("a", password="the-Password-1", **{ENTERPRISE: {"department": "D", "costCenter": "C"}})

    (one,) = sets(polled)

    assert sorted(payload(one)["attributes"]) == [
        *("id", "password"),
        *(f"{ENTERPRISE}:costCenter", f"{ENTERPRISE}:department"),
        "userName",
    ]


def test_members_that_join_and_leave_are_known_by_external_id(polled: ScimClient) -> None:
    user = polled.user("a", externalId="a@example.com")["id"]
    group = polled.group("g", user)["id"]
    patch(polled, f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{user}"]'})

    found = [one for one in sets(polled, group) if kinds([one])[0][0].startswith("feed:")]

    subject = {"format": "scim", "uri": f"/Users/{user}", "externalId": "a@example.com", "id": user}
    assert [one["sub_id"] for one in found] == [subject, subject]


@pytest.mark.sqlite
def test_who_is_one_of_very_many_is_known_by_id_alone(polled: ScimClient) -> None:
    users = [polled.user(f"u{number}", externalId=f"x{number}")["id"] for number in range(101)]
    group = polled.group("g", *users)["id"]

    joined = [one["sub_id"] for one in sets(polled, group)][1:]

    assert joined == [{"format": "scim", "uri": f"/Users/{user}", "id": user} for user in users]


@pytest.mark.sqlite
def test_ids_are_quoted_in_operations(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(EVENT_MODE="full", USER_MAPPING='{"id": "userName"}', **POLL)
    user = scim.user('o"b')["id"]
    group, copy = (scim.group(name, user)["id"] for name in "gh")
    patch(scim, f"/Groups/{group}", {"op": "remove", "path": "members"})
    (change,) = (payload(one) for one in sets(scim) if f"{EVENT}:prov:patch:full" in one["events"])

    patch(scim, f"/Groups/{copy}", *change["data"]["Operations"])

    assert user == 'o"b'
    assert "members" not in scim("GET", f"/Groups/{copy}").json
