"""What a client says of the type of a member must be so (RFC 7643 section 4.2)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.app.test_bulk import PATCH_OP, bulk
from tests.conftest import ScimClient, error_of

URL = "https://scim.example.com"

# Each names the user as a group, or as what no resource is.
WRONG: tuple[dict[str, str], ...] = (
    {"type": "Group"},
    {"type": "group"},
    {"type": "Robot"},
    {"$ref": "/Groups/{id}"},
    {"$ref": "../Groups/{id}"},
    {"$ref": f"{URL}/scim/Groups/{{id}}"},
    {"type": "Group", "$ref": "/Users/{id}"},
)
# Each is true, or says nothing that the service provider could know.
RIGHT: tuple[dict[str, Any], ...] = (
    {"type": "user"},
    {"type": "", "$ref": None},
    {"$ref": "/Users/{id}"},
    {"$ref": "https://idp.example.com/Groups/{id}"},
    {"$ref": "../Groups/another"},
    {"$ref": "Group"},
)


@pytest.fixture
def located(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(BASE_URL=URL, BASE_PATH="/scim", LOCATION_STYLE="absolute")


def member_of(said: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    told = {key: value.replace("{id}", user["id"]) if value else value for key, value in said.items()}
    return {"value": user["id"], **told}


@pytest.mark.parametrize("said", WRONG)
def test_a_member_of_another_type_than_it_has_is_refused(
    located: ScimClient, said: dict[str, str]
) -> None:
    user, other = located.user("a"), located.user("b")
    group = located.group("g", other["id"])
    full = located.group("full", user["id"])
    member = member_of(said, user)
    body = {"displayName": "h", "members": [member]}
    patches = [{"op": op, "path": "members", "value": [member]} for op in ("add", "replace")]

    answers = [located("POST", "/Groups", body)]
    answers += [located("PUT", f"/Groups/{one['id']}", body) for one in (group, full)]
    for patch in patches:
        message = {"schemas": [PATCH_OP], "Operations": [patch]}
        answers.append(located("PATCH", f"/Groups/{group['id']}", message))
    results = bulk(located, {"method": "POST", "path": "/Groups", "bulkId": "h", "data": body})

    for answer in answers:
        assert user["id"] in error_of(answer, 400, "invalidValue")
    assert results[0]["status"] == "400"
    assert located("GET", f"/Groups/{group['id']}").json == group
    assert located("GET", f"/Groups/{full['id']}").json == full
    assert located("GET", "/Groups").json["totalResults"] == 2


@pytest.mark.parametrize("said", RIGHT)
def test_what_is_true_or_says_nothing_is_accepted(located: ScimClient, said: dict[str, Any]) -> None:
    user = located.user("a")

    group = located.group("g", members=[member_of(said, user)])

    (member,) = group["members"]
    assert (member["type"], member["$ref"]) == ("User", user["meta"]["location"])
    again = located("PUT", f"/Groups/{group['id']}", group)
    assert again.json["meta"]["version"] == group["meta"]["version"]


def test_members_of_one_id_and_two_types_must_both_exist(scim: ScimClient) -> None:
    user = scim.user("a")
    members = [{"value": user["id"], "type": "User"}, {"value": user["id"], "type": "Group"}]

    answer = scim("POST", "/Groups", {"displayName": "g", "members": members})

    detail = error_of(answer, 400, "invalidValue")
    assert detail == f"members[1].value: there is no Group with the id {user['id']}"


@pytest.mark.sqlite
def test_a_request_for_later_is_refused_when_it_is_carried_out(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    user = scim.user("a")
    body = {"displayName": "g", "members": [{"value": user["id"], "type": "Group"}]}

    accepted = scim("POST", "/Groups", body, headers={"Prefer": "respond-async"})
    scim.work()

    assert accepted.status_code == 202
    result = scim("GET", accepted.headers["Location"]).json
    assert (result["status"], result["response"]["scimType"]) == ("400", "invalidValue")


@pytest.mark.parametrize(
    "condition", ['$ref eq "{ref}"', '$ref ew "{id}"', '$ref eq "{ref}" and type eq "User"']
)
@pytest.mark.parametrize("style", ["relative", "absolute"])
@pytest.mark.parametrize("joined", ["before", "in the request"])
def test_a_path_selects_members_by_their_location(
    make_scim: Callable[..., ScimClient], condition: str, style: str, joined: str
) -> None:
    scim = make_scim(BASE_URL=URL, BASE_PATH="/scim", LOCATION_STYLE=style)
    user, other = scim.user("a"), scim.user("b")
    ids = [other["id"], user["id"]] if joined == "before" else [other["id"]]
    group = scim.group("g", *ids)
    condition = condition.format(ref=user["meta"]["location"], id=user["id"])
    operations: list[dict[str, Any]] = [{"op": "remove", "path": f"members[{condition}]"}]
    if joined == "before":
        assert scim.names(f"members[{condition}]", "Groups", "displayName") == ["g"]
    else:
        operations.insert(0, {"op": "add", "path": "members", "value": [{"value": user["id"]}]})

    answer = scim("PATCH", f"/Groups/{group['id']}", {"schemas": [PATCH_OP], "Operations": operations})

    assert [member["value"] for member in answer.json["members"]] == [other["id"]], answer.text
    shown = {"op": "remove", "path": f'members[$ref eq "{other["meta"]["location"]}x"]'}
    again = scim("PATCH", f"/Groups/{group['id']}", {"schemas": [PATCH_OP], "Operations": [shown]})
    assert [member["value"] for member in again.json["members"]] == [other["id"]]


def test_a_path_selects_by_display_who_joins_in_the_same_request(scim: ScimClient) -> None:
    user, other = scim.user("a", displayName="Anne"), scim.user("b", displayName="Ben")
    group = scim.group("g", other["id"])
    operations = [
        {"op": "add", "path": "members", "value": [{"value": user["id"]}]},
        {"op": "remove", "path": 'members[display eq "Anne"]'},
    ]

    answer = scim("PATCH", f"/Groups/{group['id']}", {"schemas": [PATCH_OP], "Operations": operations})

    assert [member["value"] for member in answer.json["members"]] == [other["id"]]
