"""A user and a group of one id, as other programs wrote them: each is a member as what it is."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import GROUP, ScimClient, error_of

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USERS = {"1": {"userName": "ann", "displayName": "Ann", "externalId": "x-ann"}, "2": {"userName": "bob"}}
GROUPS = {"1": {"displayName": "Crew", "externalId": "x-crew"}, "g": {"displayName": "G"}}
ANN, CREW = {"value": "1", "type": "User"}, {"value": "1", "type": "Group"}
BOTH = {("User", "1", "Ann"), ("Group", "1", "Crew")}


@pytest.fixture(params=[True, False], ids=["events", "quiet"])
def scim(request: pytest.FixtureRequest, make_scim: Callable[..., ScimClient], tmp_path: Path) -> ScimClient:
    """A client of an application on the tables or files of the earlier product.

    Without events, nobody needs to know who really joins and leaves.
    """
    for name, documents in (("Users", USERS), ("Groups", GROUPS)):
        texts = {key: json.dumps({"id": key, **document}) for key, document in documents.items()}
        if request.node.callspec.params["backend"] == "files":
            folder = tmp_path / "files" / name
            folder.mkdir(parents=True)
            for key, text in texts.items():
                (folder / key).write_text(text)
        else:
            (tmp_path / "data").mkdir(exist_ok=True)
            with sqlite3.connect(tmp_path / "data" / "scim.db") as database:
                table = f'"{name}" (id VARCHAR(255) NOT NULL PRIMARY KEY, details JSON)'
                database.execute(f"CREATE TABLE {table}")
                database.executemany(f'INSERT INTO "{name}" VALUES (?, ?)', texts.items())
    return make_scim(EMBEDDED_WORKER="false", **({"SET_POLL_ENABLED": "true"} if request.param else {}))


pytestmark = pytest.mark.on("sqlite", "files")


def shown(scim: ScimClient, group_id: str = "g") -> set[tuple[str, str, str]]:
    members = scim("GET", f"/Groups/{group_id}").json.get("members", ())
    for member in members:
        assert member["$ref"] == f"/{member['type']}s/{member['value']}"
    return {(member["type"], member["value"], member.get("display", "")) for member in members}


def groups_of_ann(scim: ScimClient) -> list[str]:
    return [group["value"] for group in scim("GET", "/Users/1").json.get("groups", ())]


def patch(scim: ScimClient, *operations: dict[str, Any], group_id: str = "g") -> None:
    answer = scim("PATCH", f"/Groups/{group_id}", {"schemas": [PATCH_OP], "Operations": list(operations)})
    assert answer.status_code in (200, 204), answer.text


def add(*members: dict[str, str]) -> dict[str, Any]:
    return {"op": "add", "path": "members", "value": list(members)}


def put(scim: ScimClient, *members: dict[str, str]) -> Any:
    answer = scim("PUT", "/Groups/g", {"schemas": [GROUP], "displayName": "G", "members": list(members)})
    assert answer.status_code == 200, answer.text
    return answer.json


def events(scim: ScimClient, feed: str = "g") -> Iterator[tuple[str, str, str]]:
    """Yield what happened in a feed: the end of the event's name, the subject's URI and externalId."""
    scim.work()
    for one in scim("GET", f"/Events/Feeds/{feed}/Stream").json["sets"]:
        for name in one["events"]:
            subject = one["sub_id"]
            yield name.rpartition(":")[2], subject["uri"], subject.get("externalId", "")


@pytest.mark.parametrize("others", [("type",), ("type", "$ref"), ("$ref",)])
def test_a_new_group_has_both(scim: ScimClient, others: tuple[str, ...]) -> None:
    named = [
        {"value": "1", "type": "User", "$ref": "/Users/1"},
        {"value": "1", "type": "Group", "$ref": "/Groups/1"},
    ]
    sent = [{name: one[name] for name in ("value", *others)} for one in named]

    group = scim.group("new", members=sent)

    assert shown(scim, group["id"]) == BOTH
    assert groups_of_ann(scim) == [group["id"]]


def test_put_decides_who_of_the_two_is_a_member(scim: ScimClient) -> None:
    version = put(scim, ANN, CREW)["meta"]["version"]

    assert shown(scim) == BOTH
    assert put(scim, CREW, ANN)["meta"]["version"] == version
    assert put(scim, ANN, {"value": "1"}, CREW)["meta"]["version"] == version
    put(scim, CREW)
    assert shown(scim) == {("Group", "1", "Crew")} and groups_of_ann(scim) == []
    # Without a type it is the one that is a member already.
    put(scim, {"value": "1"})
    assert shown(scim) == {("Group", "1", "Crew")}
    put(scim, ANN, CREW)
    put(scim, {"value": "1"})
    assert shown(scim) == {("User", "1", "Ann")} and groups_of_ann(scim) == ["g"]


def test_each_is_shown_as_the_client_says(scim: ScimClient) -> None:
    put(scim, {**ANN, "display": "Babs"}, {**CREW, "display": "Team"})

    assert shown(scim) == {("User", "1", "Babs"), ("Group", "1", "Team")}
    put(scim, {**ANN, "display": "Babs"}, {**CREW, "display": "Them"})
    assert shown(scim) == {("User", "1", "Babs"), ("Group", "1", "Them")}


def test_without_a_type_the_user_joins(scim: ScimClient) -> None:
    patch(scim, add({"value": "1"}))

    assert shown(scim) == {("User", "1", "Ann")}
    patch(scim, add({"value": "1", "$ref": "../Groups/1"}))
    assert shown(scim) == BOTH


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ([{"op": "remove", "path": 'members[value eq "1"]'}], set()),
        ([{"op": "remove", "path": 'members[value eq "1" and type eq "Group"]'}], {"User"}),
        ([{"op": "remove", "path": 'members[value eq "1" and type eq "user"]'}], {"Group"}),
        ([{"op": "remove", "path": "members", "value": [{"value": "1"}]}], set()),
        ([{"op": "remove", "path": "members", "value": [ANN]}], {"Group"}),
        ([{"op": "replace", "path": "members", "value": [CREW]}], {"Group"}),
        ([{"op": "remove", "path": 'members[value eq "1"]'}, add(CREW)], {"Group"}),
        ([{"op": "remove", "path": 'members[value eq "1"]'}, add({"value": "1"})], {"User"}),
        ([{"op": "remove", "path": 'members[type eq "User"]'}, add(ANN)], {"User", "Group"}),
        ([add(ANN, CREW), {"op": "remove", "path": 'members[type eq "Group"]'}], {"User"}),
    ],
)
def test_patch_removes_both_or_one(
    scim: ScimClient, operations: list[dict[str, Any]], left: set[str]
) -> None:
    patch(scim, add(ANN, CREW, {"value": "2"}))

    patch(scim, *operations)

    expected = {one for one in BOTH if one[0] in left}
    assert {one for one in shown(scim) if one[1] == "1"} == expected
    assert groups_of_ann(scim) == (["g"] if "User" in left else [])


@pytest.mark.parametrize("scim", [True], indirect=True)
def test_events_name_who_of_the_two_joined_and_left(scim: ScimClient) -> None:
    patch(scim, add(ANN, CREW))
    joined = set(events(scim))
    patch(scim, {"op": "remove", "path": 'members[value eq "1" and type eq "Group"]'})
    after = set(events(scim)) - joined

    assert {one for one in joined if one[0] == "add"} == {
        ("add", "/Users/1", "x-ann"),
        ("add", "/Groups/1", "x-crew"),
    }
    assert {one for one in after if one[0] == "remove"} == {("remove", "/Groups/1", "x-crew")}


def test_who_is_deleted_leaves_the_membership_of_the_other(scim: ScimClient) -> None:
    put(scim, ANN, CREW)

    assert scim("DELETE", "/Groups/1").status_code == 204
    assert shown(scim) == {("User", "1", "Ann")} and groups_of_ann(scim) == ["g"]
    answer = scim("PATCH", "/Groups/g", {"schemas": [PATCH_OP], "Operations": [add(CREW)]})
    assert "there is no Group with the id 1" in error_of(answer, 400, "invalidValue")
    assert scim("DELETE", "/Users/1").status_code == 204
    assert shown(scim) == set()


def test_filters_find_the_groups_of_one_of_the_two(scim: ScimClient) -> None:
    patch(scim, add({"value": "2"}), group_id="1")
    put(scim, CREW)

    assert scim.names('groups.value eq "g"') == ["bob"]
    put(scim, ANN)
    assert scim.names('groups.value eq "g"') == ["ann"]
    assert scim.names('members.value eq "1"', "/Groups", "displayName") == ["G"]
