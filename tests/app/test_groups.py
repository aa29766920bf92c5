"""Groups, their members, and the memberships of users (RFC 7643 sections 4.1.2 and 4.2)."""

from typing import Any

import pytest

from app.protocol import representation
from storage.index.members import MemberRows
from tests.conftest import ScimClient, error_of


def test_members_are_completed_from_what_they_name(scim: ScimClient) -> None:
    user = scim.user("bjensen", displayName="Babs Jensen")
    inner = scim.group("Inner")

    group = scim.group("Tour Guides", user["id"], inner["id"])

    assert group["members"] == [
        {
            "value": user["id"],
            "$ref": f"/Users/{user['id']}",
            "type": "User",
            "display": "Babs Jensen",
        },
        {"value": inner["id"], "$ref": f"/Groups/{inner['id']}", "type": "Group", "display": "Inner"},
    ]
    assert scim("GET", group["meta"]["location"]).json == group


def test_the_client_chooses_what_is_displayed_of_a_member_and_nothing_else(scim: ScimClient) -> None:
    user = scim.user("bjensen")

    group = scim.group(
        "g", members=[{"value": user["id"], "$ref": "https://elsewhere/1", "type": "user", "display": "x"}]
    )

    assert group["members"][0]["$ref"] == f"/Users/{user['id']}"
    assert (group["members"][0]["type"], group["members"][0]["display"]) == ("User", "x")


def test_members_follow_when_the_member_changes_its_name(scim: ScimClient) -> None:
    user = scim.user("old")
    group = scim.group("g", user["id"])

    scim("PUT", user["meta"]["location"], {"userName": "new"})

    assert scim("GET", group["meta"]["location"]).json["members"][0]["display"] == "new"


@pytest.mark.parametrize("member_id", ["nope", "../Users/x", "../../elsewhere/s.json"])
def test_unknown_members_are_refused(scim: ScimClient, member_id: str) -> None:
    answer = scim("POST", "/Groups", {"displayName": "g", "members": [{"value": member_id}]})

    assert "members[0].value" in error_of(answer, 400, "invalidValue")
    assert scim("GET", "/Groups").json["totalResults"] == 0


def test_a_member_given_twice_is_one_member(scim: ScimClient) -> None:
    user = scim.user("a")

    assert len(scim.group("g", user["id"], user["id"])["members"]) == 1


def test_users_show_the_groups_they_are_in(scim: ScimClient) -> None:
    user = scim.user("a")
    assert "groups" not in scim("GET", user["meta"]["location"]).json
    inner = scim.group("Inner", user["id"])
    outer = scim.group("Outer", inner["id"])

    shown = scim("GET", user["meta"]["location"]).json["groups"]

    assert shown == [
        {"value": inner["id"], "$ref": f"/Groups/{inner['id']}", "display": "Inner", "type": "direct"},
        {"value": outer["id"], "$ref": f"/Groups/{outer['id']}", "display": "Outer", "type": "indirect"},
    ]
    assert scim("GET", "/Users").json["Resources"][0]["groups"] == shown


def test_groups_may_contain_each_other(scim: ScimClient) -> None:
    user = scim.user("a")
    first = scim.group("first", user["id"])
    second = scim.group("second", first["id"])
    body = {"displayName": "first", "members": [{"value": user["id"]}, {"value": second["id"]}]}

    assert scim("PUT", first["meta"]["location"], body).status_code == 200

    groups = scim("GET", user["meta"]["location"]).json["groups"]
    assert {group["display"]: group["type"] for group in groups} == {"first": "direct", "second": "indirect"}


def test_a_group_that_contains_itself_can_be_deleted(scim: ScimClient) -> None:
    user, group = scim.user("a"), scim.group("g")
    path = group["meta"]["location"]
    members = [{"value": group["id"]}, {"value": user["id"]}]
    assert scim("PUT", path, {"displayName": "g", "members": members}).status_code == 200

    assert scim("DELETE", path).status_code == 204

    error_of(scim("GET", path), 404)
    assert "groups" not in scim("GET", user["meta"]["location"]).json


def test_replacing_a_group_replaces_its_members(scim: ScimClient) -> None:
    first, second, third = (scim.user(name)["id"] for name in "abc")
    group = scim.group("g", first, second)
    path = group["meta"]["location"]

    body = {"displayName": "g", "members": [{"value": third}, {"value": second}]}
    changed = scim("PUT", path, body).json

    assert {member["value"] for member in changed["members"]} == {second, third}
    assert changed["meta"]["version"] != group["meta"]["version"]
    assert scim("PUT", path, body).json == changed
    assert "members" not in scim("PUT", path, {"displayName": "g"}).json


def test_deleting_a_user_takes_it_out_of_its_groups(scim: ScimClient) -> None:
    first, second = scim.user("a"), scim.user("b")
    group = scim.group("g", first["id"], second["id"])

    scim("DELETE", first["meta"]["location"])

    left = scim("GET", group["meta"]["location"]).json
    assert [member["value"] for member in left["members"]] == [second["id"]]
    assert left["meta"]["version"] != group["meta"]["version"]


def test_deleting_a_group_ends_the_memberships(scim: ScimClient) -> None:
    user = scim.user("a")
    inner = scim.group("inner", user["id"])
    outer = scim.group("outer", inner["id"])

    scim("DELETE", inner["meta"]["location"])

    assert "groups" not in scim("GET", user["meta"]["location"]).json
    assert "members" not in scim("GET", outer["meta"]["location"]).json


def test_display_name_is_required(scim: ScimClient) -> None:
    assert "displayName" in error_of(scim("POST", "/Groups", {}), 400, "invalidValue")


def test_groups_are_found_by_member_and_users_by_group(scim: ScimClient) -> None:
    first, second = scim.user("a")["id"], scim.user("b")["id"]
    inner = scim.group("inner", first)
    outer = scim.group("outer", inner["id"], second)
    scim.group("empty")

    def groups(filter_text: str) -> list[str]:
        return scim.names(filter_text, "/Groups", "displayName")

    assert groups(f'members.value eq "{first}"') == groups(f'members[value eq "{first}"]') == ["inner"]
    assert groups(f'members eq "{second}"') == ["outer"]
    assert groups("members pr") == ["inner", "outer"]
    assert groups("not (members pr)") == ["empty"]
    assert groups('members.type eq "Group"') == groups('members[display eq "INNER"]') == ["outer"]
    assert groups(f'members[type eq "User" and value eq "{inner["id"]}"]') == []
    assert scim.names(f'groups.value eq "{outer["id"]}"') == ["a", "b"]
    assert scim.names('groups[display eq "outer" and type eq "direct"]') == ["b"]


def test_links_are_one_condition_among_others(scim: ScimClient) -> None:
    first, second, third = (scim.user(name)["id"] for name in "abc")
    scim.group("inner", first)
    outer = scim.group("outer", third)
    scim.group("other", second)
    scim.user("d")

    for text, names in {
        f'members.value eq "{first}" or members.value eq "{second}"': ["inner", "other"],
        f'members eq "{second}" or displayName eq "OUTER"': ["other", "outer"],
        f'members pr and (members.value eq "{first}" or members.value eq "{third}")': ["inner", "outer"],
        'members pr or displayName eq "nobody"': ["inner", "other", "outer"],
    }.items():
        assert sorted(scim.names(text, "/Groups", "displayName")) == names, text
    for text, names in {
        f'groups.value eq "{outer["id"]}" or userName eq "d"': ["c", "d"],
        f'groups.value eq "{outer["id"]}" or groups.value eq "nobody"': ["c"],
        'groups pr or userName eq "nobody"': ["a", "b", "c"],
        'groups pr and not (userName eq "a") or userName eq "nobody"': ["b", "c"],
    }.items():
        assert sorted(scim.names(text)) == names, text
        counted = scim("GET", "/Users", query_string={"filter": text, "count": 0}).json
        assert counted["totalResults"] == len(names), text


def test_members_can_be_left_out(scim: ScimClient) -> None:
    group = scim.group("g", scim.user("a")["id"])

    answer = scim("GET", f"{group['meta']['location']}?excludedAttributes=members").json

    assert answer == {name: value for name, value in group.items() if name != "members"}


def test_a_large_group_leaves_whole(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representation, "CHUNK", 100)
    members = [scim.user(f"u{number:04}")["id"] for number in range(210)]

    group = scim.group("g", *members)
    read = scim("GET", group["meta"]["location"]).json

    assert sorted(member["value"] for member in read["members"]) == sorted(members)
    assert read["meta"] == group["meta"]


def test_members_that_are_not_wanted_are_not_read(
    scim: ScimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [scim.user(name)["id"] for name in ("a", "b")]
    path = scim.group("g", ids[0])["meta"]["location"]

    def read(*_: Any) -> Any:
        raise AssertionError("the members are read")

    monkeypatch.setattr(MemberRows, "of", read)
    operation = {"op": "add", "path": "members", "value": [{"value": ids[1]}]}
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}

    for query in ("excludedAttributes=members", "attributes=displayName"):
        assert scim("GET", f"{path}?{query}").json["displayName"] == "g"
        assert scim("GET", f"/Groups?{query}").json["totalResults"] == 1
        assert scim("PATCH", f"{path}?{query}", patch).status_code == 200
    query = {"filter": f'members.value eq "{ids[1]}"', "attributes": "displayName"}
    assert scim("GET", "/Groups", query_string=query).json["totalResults"] == 1


@pytest.mark.parametrize(
    "query", ["", "attributes=members", "attributes=displayName,members.value", "excludedAttributes=meta"]
)
def test_large_groups_leave_in_chunks_with_the_same_content(
    scim: ScimClient, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    ids = [scim.user(name)["id"] for name in "abcde"]
    paths = [scim.group(name, *ids[:count])["meta"]["location"] for name, count in (("g", 5), ("h", 1))]
    asked = [*(f"{path}?{query}" for path in paths), f"/Groups?{query}", f"/?{query}&filter=id%20pr"]
    whole = [scim("GET", path).json for path in asked]

    monkeypatch.setattr(representation, "CHUNK", 2)
    answers = [scim("GET", path) for path in asked]

    # A streamed answer is not gathered to learn its length.
    assert ["Content-Length" in answer.headers for answer in answers] == [False, True, False, False]
    assert [answer.json for answer in answers] == whole
    assert [len(whole[0]["members"]), len(whole[1]["members"])] == [5, 1]
