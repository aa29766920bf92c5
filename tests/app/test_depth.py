"""Bodies nested too deeply are refused where they are read, and change nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from app.configuration.settings import Settings, SettingsError
from tests.app.test_bulk import BULK, PATCH_OP
from tests.conftest import KEY, ScimClient, error_of

# Reading a request does not depend on the backend.
pytestmark = pytest.mark.on("sqlite")

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
DEPTHS = (253, 260, 700)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def bulk_with(**operation: Any) -> dict[str, Any]:
    first = {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"userName": "first"}}
    return {"schemas": [BULK], "Operations": [first, operation]}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("member", ["data", "path", "method", "bulkId", "version", "unknown"])
def test_no_member_of_a_bulk_operation_may_be_deep(scim: ScimClient, member: str, depth: int) -> None:
    operation = {"method": "POST", "path": "/Users", "bulkId": "2", "data": {"userName": "a"}}

    answer = scim("POST", "/Bulk", bulk_with(**{**operation, member: nested(depth)}))

    assert "100" in error_of(answer, 400, "invalidSyntax")
    assert scim("GET", "/Users").json["totalResults"] == 0


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/Users", {"userName": "b"}),
        ("PUT", "{user}", {"userName": "b"}),
        ("PATCH", "{user}", {"schemas": [PATCH_OP], "Operations": [{"op": "add", "value": {"title": "b"}}]}),
        ("POST", "/Users/.search", {"schemas": [SEARCH]}),
        ("POST", "/.search", {"schemas": [SEARCH]}),
        ("POST", "/Bulk", {"schemas": [BULK], "Operations": []}),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Prefer": "respond-async"}])
def test_no_body_may_be_deep(
    make_scim: Callable[..., ScimClient],
    method: str,
    path: str,
    body: dict[str, Any],
    depth: int,
    headers: dict[str, str],
) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    user = scim.user("a")
    path = path.replace("{user}", user["meta"]["location"])

    answer = scim(method, path, {**body, "unknown": nested(depth)}, headers=headers)

    error_of(answer, 400, "invalidSyntax")
    assert scim("GET", user["meta"]["location"]).json == user


@pytest.mark.sqlite
@pytest.mark.parametrize("depth", DEPTHS)
def test_no_poll_may_be_deep(polled: ScimClient, depth: int) -> None:
    answer = polled("POST", "/Events/Feeds/default/Stream", {"setErrs": {"x": nested(depth)}})

    error_of(answer, 400, "invalidSyntax")


@pytest.mark.sqlite
def test_the_limit_is_a_setting(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(MAX_BODY_DEPTH="20")

    # The body itself is the first level.
    assert scim("POST", "/Users", {"userName": "a", "unknown": nested(19)}).status_code == 201
    problem = error_of(scim("POST", "/Users", {"userName": "b", "unknown": nested(20)}), 400, "invalidSyntax")

    assert "20" in problem
    for wrong in ("9", "201", "x"):
        with pytest.raises(SettingsError, match="MAX_BODY_DEPTH"):
            Settings.from_env({"API_KEY": KEY, "MAX_BODY_DEPTH": wrong})


@pytest.mark.sqlite
def test_many_brackets_are_not_deep(scim: ScimClient) -> None:
    text = "[{" * 500
    users = [{"value": f"{number}@x", "type": f"t{number}"} for number in range(500)]

    answer = scim("POST", "/Users", {"userName": "a", "title": text, "emails": users})

    assert answer.status_code == 201
    assert answer.json["title"] == text


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["startIndex", "count"])
@pytest.mark.parametrize("value", ["9" * 101, "1_000", "١"])
def test_what_is_no_number_is_refused(polled: ScimClient, name: str, value: str) -> None:
    answer = polled("GET", "/Events/Feeds", query_string={name: value})

    assert name in error_of(answer, 400, "invalidValue")


@pytest.mark.sqlite
@pytest.mark.parametrize("path", ["/Events/Feeds", "/Users", "/"])
def test_a_number_that_no_database_can_hold_is_as_large_as_possible(polled: ScimClient, path: str) -> None:
    polled.user("ann")
    for number in (2**63, 2**80):
        for query in (f"count={number}", f"startIndex=-{number}"):
            answer = polled("GET", path, query_string=f"{query}&filter=id pr")
            assert answer.status_code == 200 and answer.json["itemsPerPage"] > 0, query


@pytest.mark.sqlite
@pytest.mark.parametrize("path", ["/Users", ""])
def test_a_number_in_a_message_is_as_large_as_possible(scim: ScimClient, path: str) -> None:
    scim.user("ann")
    body = {"schemas": [SEARCH], "count": 2**63, "startIndex": -(2**63)}
    assert scim("POST", f"{path}/.search", body).json["itemsPerPage"] == 1
    body = {"schemas": [SEARCH], "startIndex": 2**64 - 1}

    answer = scim("POST", f"{path}/.search", body).json

    assert (answer["totalResults"], answer["itemsPerPage"]) == (1, 0)


@pytest.mark.sqlite
@pytest.mark.parametrize("value", ["9" * 101, "1_000"])
def test_a_limit_of_a_stream_is_a_number(polled: ScimClient, value: str) -> None:
    answer = polled("GET", "/Events/Feeds/default/Stream", query_string={"limit": value})

    assert "limit" in error_of(answer, 400, "invalidValue")
