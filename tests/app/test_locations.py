"""The header Location: where the resource in an answer is (RFC 7644 sections 3.3 to 3.5)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ScimClient

STYLES: dict[str, dict[str, str]] = {
    "relative": {},
    "below a path": {"BASE_PATH": "/v2"},
    "absolute": {"BASE_PATH": "/v2", "BASE_URL": "https://scim.example.com", "LOCATION_STYLE": "absolute"},
}
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
REPLACE = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "externalId", "value": "x"}]}


@pytest.fixture(params=STYLES.values(), ids=list(STYLES))
def located(request: pytest.FixtureRequest, make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(**request.param)


def test_every_answer_with_a_resource_says_where_it_is(located: ScimClient) -> None:
    for endpoint, body in (("/Users", {"userName": "a"}), ("/Groups", {"displayName": "a"})):
        created = located("POST", endpoint, body)
        location = created.json["meta"]["location"]
        path = f"{endpoint}/{created.json['id']}"
        answers = [created, located("GET", path), located("HEAD", path)]
        answers += [located("PUT", path, body), located("PATCH", path, REPLACE)]
        # Also where the answer does not have `meta`.
        answers += [located("GET", f"{path}?attributes=id")]

        assert [answer.headers.get("Location") for answer in answers] == [location] * len(answers)


def test_discovery_says_where_each_resource_is(located: ScimClient) -> None:
    paths = ["/ServiceProviderConfig", "/ResourceTypes/user", "/ResourceTypes/Group"]
    paths += [f"/Schemas/{schema['id'].upper()}" for schema in located("GET", "/Schemas").json["Resources"]]

    for path in paths:
        answer = located("GET", path)
        assert answer.headers.get("Location") == answer.json["meta"]["location"]
        assert located("HEAD", path).headers.get("Location") == answer.json["meta"]["location"]


def test_a_patch_that_does_not_repeat_the_group_says_where_it_is(scim: ScimClient) -> None:
    group = scim.group("g", *[scim.user(f"u{number}")["id"] for number in range(101)])

    answer = scim("PATCH", group["meta"]["location"], REPLACE)

    assert answer.status_code == 204
    assert answer.headers.get("Location") == group["meta"]["location"]


def test_an_answer_without_a_resource_or_with_many_has_no_location(scim: ScimClient) -> None:
    user: dict[str, Any] = scim.user("a")
    path = user["meta"]["location"]
    one = scim("GET", path)
    unchanged = scim("GET", path, headers={"If-None-Match": user["meta"]["version"]})
    stale = scim("PUT", path, {"userName": "b"}, headers={"If-Match": 'W/"0"'})
    lists = [scim("GET", f"{path}?filter=id+pr") for path in ("/Users", "/")]
    lists += [scim("GET", path) for path in ("/ResourceTypes", "/Schemas")]

    answers = [unchanged, stale, *lists, scim("DELETE", path), scim("GET", path)]

    assert [answer.status_code for answer in answers] == [304, 412, 200, 200, 200, 200, 204, 404]
    assert "Location" in one.headers
    assert not any("Location" in answer.headers for answer in answers)
