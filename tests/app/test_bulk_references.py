"""References by bulkId (RFC 7644 section 3.7.2): wherever they stand, however many there are."""

from typing import Any

import pytest

from tests.app.test_bulk import PATCH_OP, bulk, post, statuses
from tests.conftest import ScimClient

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def patch(path: str, *operations: dict[str, Any]) -> dict[str, Any]:
    return {"method": "PATCH", "path": path, "data": {"schemas": [PATCH_OP], "Operations": [*operations]}}


def member_ids(scim: ScimClient, location: str) -> list[str]:
    return [member["value"] for member in scim("GET", location).json.get("members", [])]


@pytest.mark.parametrize("step", [1, -1])
def test_a_thousand_groups_may_each_refer_to_the_next(scim: ScimClient, step: int) -> None:
    count = 1000 if scim.app.extensions["scim.storage"].capabilities.transactions else 60
    groups = [
        post(f"g{i}", "/Groups", displayName=f"g{i}", members=[{"value": f"bulkId:g{i + 1}"}])
        for i in range(count)
    ]
    groups[-1]["data"].pop("members")

    results = bulk(scim, *groups[::step])

    assert statuses(results) == ["201"] * count
    results = results[::step]
    for number in (0, count // 2, count - 2):
        (member_id,) = member_ids(scim, results[number]["location"])
        assert results[number + 1]["location"].endswith(f"/{member_id}")


def test_a_circle_may_be_as_large_as_the_request(scim: ScimClient) -> None:
    count = 1000 if scim.app.extensions["scim.storage"].capabilities.transactions else 30
    circle = [
        post(f"g{i}", "/Groups", displayName=f"g{i}", members=[{"value": f"bulkId:g{(i + 1) % count}"}])
        for i in range(count)
    ]

    results = bulk(scim, *circle)

    assert statuses(results) == ["201"] * count
    (member_id,) = member_ids(scim, results[-1]["location"])
    assert results[0]["location"].endswith(f"/{member_id}")


@pytest.mark.parametrize("reference", ["bulkId:u2", "BULKID:u2", "bulkid:u2"])
def test_a_reference_in_the_filter_of_a_path_is_resolved(scim: ScimClient, reference: str) -> None:
    results = bulk(
        scim,
        patch("/Groups/bulkId:g", {"op": "remove", "path": f'members[value eq "{reference}"]'}),
        post("g", "/Groups", displayName="g", members=[{"value": "bulkId:u1"}, {"value": "bulkId:u2"}]),
        post("u1", userName="u1"),
        post("u2", userName="u2"),
    )

    assert statuses(results) == ["200", "201", "201", "201"]
    (member_id,) = member_ids(scim, results[1]["location"])
    assert results[2]["location"].endswith(f"/{member_id}")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": 'members[value eq "bulkId:nope"]'},
        {"op": "remove", "path": 'members[not (value eq "bulkId:U")]'},
        {"op": "remove", "path": "members", "value": [{"value": "bulkId:nope"}]},
        {"op": "remove", "path": "members", "value": ["bulkId:nope"]},
        {"op": "add", "path": "members", "value": [{"$ref": "../Users/bulkId:nope"}]},
        {"op": "add", "value": {"members.value": "bulkId:nope"}},
    ],
)
def test_a_reference_to_nothing_fails_its_operation(scim: ScimClient, operation: dict[str, Any]) -> None:
    user = scim.user("a")
    group = scim.group("g", user["id"])

    results = bulk(scim, post("u", userName="u"), patch(group["meta"]["location"], operation))

    assert statuses(results) == ["201", "400"]
    assert "bulkId:" in results[1]["response"]["detail"]
    assert member_ids(scim, group["meta"]["location"]) == [user["id"]]


@pytest.mark.parametrize(
    "member",
    [{"$ref": "bulkId:u"}, {"$ref": "../Users/bulkId:u"}, {"$ref": "https://example.com/Users/bulkId:u"}],
)
def test_a_reference_at_the_end_of_a_uri_is_resolved(scim: ScimClient, member: dict[str, str]) -> None:
    results = bulk(scim, post("g", "/Groups", displayName="g", members=[member]), post("u", userName="u"))

    assert statuses(results) == ["201", "201"]
    (member_id,) = member_ids(scim, results[0]["location"])
    assert results[1]["location"].endswith(f"/{member_id}")


def test_a_bulk_id_may_hold_any_character(scim: ScimClient) -> None:
    name = 'the "first" one: é'

    results = bulk(
        scim,
        post("g", "/Groups", displayName="g", members=[{"value": f"bulkId:{name}"}]),
        patch(
            "/Groups/bulkId:g",
            {"op": "remove", "path": 'members[value eq "bulkId:the \\"first\\" one: é"]'},
        ),
        post(name, userName="u"),
    )

    assert statuses(results) == ["201", "200", "201"]
    assert member_ids(scim, results[0]["location"]) == []


def test_text_that_names_no_operation_stays_text(scim: ScimClient) -> None:
    rename = {"op": "replace", "path": "displayName", "value": "bulkId:other"}

    results = bulk(
        scim,
        post("u", userName="bulkId:text", title="bulkId:more"),
        patch("/Users/bulkId:u", rename),
    )

    assert statuses(results) == ["201", "200"]
    user = scim("GET", results[0]["location"]).json
    assert [user[name] for name in ("userName", "title", "displayName")] == [
        "bulkId:text",
        "bulkId:more",
        "bulkId:other",
    ]


@pytest.mark.parametrize("manager", ["bulkId:nope", {"value": "bulkId:nope"}])
def test_a_manager_that_no_operation_creates_is_refused(scim: ScimClient, manager: Any) -> None:
    worker = post("w", userName="w", **{ENTERPRISE: {"manager": manager}})
    made = post("b", userName="b")

    results = bulk(
        scim,
        worker,
        made,
        patch("/Users/bulkId:b", {"op": "add", "path": f"{ENTERPRISE}:manager", "value": manager}),
    )

    assert statuses(results) == ["400", "201", "400"]
