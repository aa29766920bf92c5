"""Bulk (RFC 7644 section 3.7): all methods, references, errors, limits."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ScimClient, error_of

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def bulk(scim: ScimClient, *operations: Any, **more: Any) -> list[dict[str, Any]]:
    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": list(operations), **more})
    assert answer.status_code == 200, answer.text
    assert answer.json["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]
    results: list[dict[str, Any]] = answer.json["Operations"]
    return results


def post(bulk_id: str, path: str = "/Users", **data: Any) -> dict[str, Any]:
    return {"method": "POST", "path": path, "bulkId": bulk_id, "data": data}


def statuses(results: list[dict[str, Any]]) -> list[str]:
    return [result["status"] for result in results]


def test_every_method_and_what_is_said_of_each(scim: ScimClient) -> None:
    first, second, third = scim.user("a"), scim.user("b"), scim.user("c")
    patch = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": "x"}]}

    results = bulk(
        scim,
        post("qwerty", userName="Alice"),
        {"method": "PUT", "path": first["meta"]["location"], "data": {"userName": "Bob"}},
        {"method": "PATCH", "path": second["meta"]["location"], "data": patch},
        {"method": "DELETE", "path": third["meta"]["location"]},
    )

    assert statuses(results) == ["201", "200", "200", "204"]
    assert [result["method"] for result in results] == ["POST", "PUT", "PATCH", "DELETE"]
    assert results[0]["bulkId"] == "qwerty"
    for result in results[:3]:
        resource = scim("GET", result["location"]).json
        assert resource["meta"]["version"] == result["version"]
        assert resource["meta"]["location"] == result["location"]
    assert results[3]["location"] == third["meta"]["location"]
    assert scim("GET", third["meta"]["location"]).status_code == 404


def test_the_readme_example_of_the_product_we_replace(scim: ScimClient) -> None:
    patch = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "active", "value": False}]}

    results = bulk(
        scim,
        post("newuser", userName="alice", active=True),
        {"method": "PATCH", "path": "/Users/bulkId:newuser", "data": patch},
        failOnErrors=1,
    )

    assert statuses(results) == ["201", "200"]
    assert scim("GET", results[0]["location"]).json["active"] is False


@pytest.mark.parametrize("group_first", [False, True])
def test_a_reference_in_data_is_resolved_forwards_and_backwards(
    scim: ScimClient, group_first: bool
) -> None:
    user = post("u", userName="alice")
    group = post("g", "/Groups", displayName="Tour Guides", members=[{"type": "User", "value": "bulkId:u"}])

    results = bulk(scim, *((group, user) if group_first else (user, group)))

    assert statuses(results) == ["201", "201"]
    by_id = {result["bulkId"]: result["location"] for result in results}
    assert [r["bulkId"] for r in results] == (["g", "u"] if group_first else ["u", "g"])
    members = scim("GET", by_id["g"]).json["members"]
    assert [member["$ref"] for member in members] == [by_id["u"]]


def test_resources_may_refer_to_each_other_in_a_circle(scim: ScimClient) -> None:
    results = bulk(
        scim,
        post("a", "/Groups", displayName="Group A", members=[{"value": "bulkId:b"}]),
        post("b", "/Groups", displayName="Group B", members=[{"value": "bulkId:a"}]),
    )

    assert statuses(results) == ["201", "201"]
    first, second = (scim("GET", result["location"]).json for result in results)
    assert [member["value"] for member in first["members"]] == [second["id"]]
    assert [member["value"] for member in second["members"]] == [first["id"]]
    assert [result["version"] for result in results] == [r["meta"]["version"] for r in (first, second)]


def test_a_manager_may_be_created_in_the_same_request(scim: ScimClient) -> None:
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

    results = bulk(
        scim,
        post("worker", userName="w", **{enterprise: {"manager": {"value": "bulkId:boss"}}}),
        post("boss", userName="b"),
    )

    manager = scim("GET", results[0]["location"]).json[enterprise]["manager"]["value"]
    assert results[1]["location"].endswith(manager)


def test_one_bad_operation_does_not_harm_the_others(scim: ScimClient) -> None:
    scim.user("taken")

    results = bulk(
        scim,
        post("1", userName="a"),
        {"method": "POST", "path": "/Users", "bulkId": "2", "data": [1]},
        post("3", userName="taken"),
        post("4", userName='q"q'),
        post("5", "/Nope", userName="x"),
        {"method": "POST", "path": "/Users", "data": {"userName": "y"}},
        {"method": "MOVE", "path": "/Users/x"},
        {"method": "DELETE", "path": "/Users/x"},
        {"method": "DELETE", "path": "/Users"},
        {"method": "PUT", "path": "/Users/bulkId:nope", "data": {"userName": "z"}},
        post("6", "/Groups", displayName="g", members=[{"value": "bulkId:3"}]),
        {"method": "PUT"},
        post("7", userName="b", title=["x"]),
        post("1", userName="c"),
    )

    expected = "201 400 409 201 404 400 400 404 405 400 400 400 400 400".split()
    assert statuses(results) == expected
    for result in results:
        if int(result["status"]) >= 400:
            assert result["response"]["status"] == result["status"]
            assert result["response"]["detail"]
        else:
            assert "response" not in result
    assert results[2]["response"]["scimType"] == "uniqueness"
    assert sorted(scim.names("id pr")) == ["a", 'q"q', "taken"]
    assert scim("GET", "/Groups").json["totalResults"] == 0


def test_fail_on_errors_stops(scim: ScimClient) -> None:
    bad = {"method": "DELETE", "path": "/Users/x"}

    assert statuses(bulk(scim, post("1", userName="a"), bad, post("2", userName="b"), failOnErrors=1)) == [
        "201",
        "404",
    ]
    more = bulk(scim, bad, post("3", userName="c"), bad, bad, failOnErrors=2)
    assert statuses(more) == ["404", "201", "404"]
    assert scim.names("id pr") == ["a", "c"]


def test_versions_are_conditions(scim: ScimClient) -> None:
    user = scim.user("a")
    path, version = user["meta"]["location"], user["meta"]["version"]

    results = bulk(
        scim,
        {"method": "PUT", "path": path, "version": 'W/"0"', "data": {"userName": "b"}},
        {"method": "PUT", "path": path, "version": version, "data": {"userName": "b"}},
        {"method": "DELETE", "path": path, "version": version},
        {"method": "DELETE", "path": path, "version": 7},
    )

    assert statuses(results) == ["412", "200", "412", "400"]


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        ({"schemas": ["urn:nope"], "Operations": []}, "invalidSyntax"),
        ({"schemas": [BULK], "Operations": {}}, "invalidSyntax"),
        ({"schemas": [BULK], "Operations": [1]}, "invalidSyntax"),
        ({"schemas": [BULK], "Operations": [], "failOnErrors": -1}, "invalidValue"),
        ({"schemas": [BULK], "Operations": [], "failOnErrors": "1"}, "invalidValue"),
    ],
)
def test_what_is_no_bulk_request_is_refused(scim: ScimClient, body: dict[str, Any], scim_type: str) -> None:
    error_of(scim("POST", "/Bulk", body), 400, scim_type)


def test_limits_are_named(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(BULK_MAX_OPERATIONS="2", BULK_MAX_PAYLOAD_SIZE="2000")
    operations = [post(str(number), userName=str(number)) for number in range(3)]

    too_many = error_of(scim("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}), 413, "tooMany")
    large = {"schemas": [BULK], "Operations": [post("x", userName="x", title="x" * 2000)]}
    too_large = error_of(scim("POST", "/Bulk", large), 413, "tooLarge")

    assert "2" in too_many and "2000" in too_large
    assert scim("GET", "/Users").json["totalResults"] == 0
    config = scim("GET", "/ServiceProviderConfig").json["bulk"]
    assert config == {"supported": True, "maxOperations": 2, "maxPayloadSize": 2000}


def test_a_thousand_operations(scim: ScimClient) -> None:
    results = bulk(scim, *[post(str(number), userName=f"u{number}") for number in range(1000)])

    assert set(statuses(results)) == {"201"}
    assert scim("GET", "/Users").json["totalResults"] == 1000


def test_me_is_not_implemented_for_an_api_key(scim: ScimClient) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        error_of(scim(method, "/Me", {} if method != "GET" else None), 501)


CIRCLES: dict[str, tuple[dict[str, Any], ...]] = {
    "two": (
        post("a", "/Groups", displayName="Group A", members=[{"value": "bulkId:b"}]),
        post("b", "/Groups", displayName="Group B", members=[{"value": "bulkId:a"}]),
    ),
    "itself": (post("b", "/Groups", displayName="Group B", members=[{"value": "bulkId:b"}]),),
    "three": (
        post("a", "/Groups", displayName="Group A", members=[{"value": "bulkId:b"}, {"value": "bulkId:c"}]),
        post("b", "/Groups", displayName="Group B", members=[{"value": "bulkId:c"}]),
        post("c", "/Groups", displayName="Group C", members=[{"value": "bulkId:a"}]),
    ),
}
RENAMED = {"displayName": "Renamed", "members": []}
LATER: dict[str, dict[str, Any]] = {
    "patch": {
        "method": "PATCH",
        "path": "/Groups/bulkId:b",
        "data": {
            "schemas": [PATCH_OP],
            "Operations": [
                {"op": "replace", "path": "displayName", "value": "Renamed"},
                {"op": "remove", "path": "members"},
            ],
        },
    },
    "put": {"method": "PUT", "path": "/Groups/bulkId:b", "data": RENAMED},
    "delete": {"method": "DELETE", "path": "/Groups/bulkId:b"},
}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("circle", CIRCLES)
def test_what_follows_a_circle_is_not_undone_by_it(scim: ScimClient, circle: str, later: str) -> None:
    results = bulk(scim, *CIRCLES[circle], LATER[later])

    done = ["201"] * len(CIRCLES[circle])
    assert statuses(results) == [*done, "204" if later == "delete" else "200"]
    found = scim("GET", results[-1]["location"])
    if later == "delete":
        assert found.status_code == 404
    else:
        assert found.json["displayName"] == "Renamed" and not found.json.get("members")
        assert found.json["meta"]["version"] == results[-1]["version"]


@pytest.mark.parametrize("fails_first", [False, True])
def test_what_refers_to_a_resource_that_could_not_be_created_does_not_stay(
    scim: ScimClient, fails_first: bool
) -> None:
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    scim.user("there")
    circle = [
        post("a", userName="there", **{enterprise: {"manager": {"value": "bulkId:b"}}}),
        post("b", userName="b", **{enterprise: {"manager": {"value": "bulkId:a"}}}),
        post("c", userName="c"),
    ]
    if fails_first:
        circle[:2] = circle[1::-1]

    results = bulk(scim, *circle)

    assert statuses(results) == (["400", "409", "201"] if fails_first else ["409", "400", "201"])
    assert all("location" not in one and "version" not in one for one in results[:2])
    assert sorted(scim.names("userName pr")) == ["c", "there"]
