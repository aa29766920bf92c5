"""PROFILE=strict is the letter of the RFC: what only the default profile understands is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import USER, ScimClient, error_of

# Reading a request does not depend on the backend.
pytestmark = pytest.mark.on("sqlite")

MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
PATCH_OP = f"{MESSAGES}PatchOp"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@pytest.fixture
def strict(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(PROFILE="strict")


@pytest.fixture
def user(strict: ScimClient) -> dict[str, Any]:
    return strict.user("a", name={"familyName": "x"}, active=True, emails=[{"type": "work", "value": "a@x"}])


def patched(scim: ScimClient, user: dict[str, Any], operation: Any, **more: Any) -> Any:
    return scim(
        "PATCH", user["meta"]["location"], {"schemas": [PATCH_OP], "Operations": [operation], **more}
    )


@pytest.mark.parametrize(
    "key",
    [
        "name.familyName",
        f"{USER}:title",
        f"{ENTERPRISE}:department",
        f"{ENTERPRISE}.department",
        'emails[type eq "work"].value',
    ],
)
def test_the_keys_of_a_value_without_path_are_names(
    strict: ScimClient, user: dict[str, Any], key: str
) -> None:
    for op in ("add", "replace"):
        detail = error_of(patched(strict, user, {"op": op, "value": {key: "y"}}), 400, "invalidPath")
        assert "is a path; it must be the name of an attribute" in detail
    assert strict("GET", user["meta"]["location"]).json == user


def test_the_keys_within_an_extension_are_names(strict: ScimClient, user: dict[str, Any]) -> None:
    for operation in (
        {"op": "add", "value": {ENTERPRISE: {"manager.value": "7"}}},
        {"op": "add", "path": ENTERPRISE, "value": {"manager.value": "7"}},
        {"op": "add", "value": {ENTERPRISE: {"shoeSize": 43, "department": "d"}}},
    ):
        error_of(patched(strict, user, operation), 400, "invalidPath")
    assert strict("GET", user["meta"]["location"]).json == user
    value = {"TITLE": "t", "name": {"givenName": "y"}, ENTERPRISE: {"department": "d"}}
    changed = patched(strict, user, {"op": "add", "value": value}).json
    assert (changed["title"], changed["name"]) == ("t", {"familyName": "x", "givenName": "y"})
    assert changed[ENTERPRISE] == {"department": "d"}


@pytest.mark.parametrize("path", [None, ENTERPRISE])
def test_an_extension_may_come_with_its_schemas(
    strict: ScimClient, user: dict[str, Any], path: str | None
) -> None:
    """The public conformance checker models an extension as a resource of its own."""
    held = {"schemas": [ENTERPRISE], "department": "d"}
    addition = {"path": path, "value": held} if path else {"value": {ENTERPRISE: held}}

    assert patched(strict, user, {"op": "add", **addition}).json[ENTERPRISE] == {"department": "d"}


@pytest.mark.parametrize("text", ['active eq "True"', 'active ne "false"', 'emails[primary eq "true"]'])
def test_a_boolean_in_a_filter_is_no_string(strict: ScimClient, user: dict[str, Any], text: str) -> None:
    query = {"filter": text}
    body = {"schemas": [f"{MESSAGES}SearchRequest"], "filter": text}

    for answer in (
        strict("GET", "/Users", query_string=query),
        strict("POST", "/Users/.search", body),
    ):
        assert "must be true or false" in error_of(answer, 400, "invalidFilter")
    error_of(strict("GET", "/", query_string=query), 400, "invalidFilter")
    error_of(strict("POST", "/.search", body), 400, "invalidFilter")
    operation = {"op": "replace", "path": 'emails[primary eq "True"].value', "value": "b@x"}
    error_of(patched(strict, user, operation), 400, "invalidFilter")
    assert strict.names("active eq true") == ["a"]


def test_messages_hold_nothing_that_the_rfc_does_not_know(strict: ScimClient, user: dict[str, Any]) -> None:
    operation = {"op": "replace", "path": "title", "value": "t"}
    bulk = {"method": "DELETE", "path": user["meta"]["location"]}
    bulk_schemas = {"schemas": [f"{MESSAGES}BulkRequest"]}

    for answer, named in (
        (patched(strict, user, operation, comment="x"), "comment"),
        (patched(strict, user, {**operation, "note": "x"}), "Operations[0].note"),
        (strict("POST", "/Bulk", {**bulk_schemas, "Operations": [], "dryRun": True}), "dryRun"),
        (strict("POST", "/Bulk", {**bulk_schemas, "Operations": [{**bulk, "if": 1}]}), "Operations[0].if"),
        (strict("POST", "/.search", {"schemas": [f"{MESSAGES}SearchRequest"], "limit": 1}), "limit"),
    ):
        assert error_of(answer, 400, "invalidSyntax").startswith(f"{named}:")
    assert strict("GET", user["meta"]["location"]).json == user


def test_roles_and_managers_of_other_products_are_not_read(strict: ScimClient) -> None:
    role = '{"id": "1", "value": "Admin", "displayName": "Admin"}'

    assert strict.user("a", roles=[{"value": role}])["roles"] == [{"value": role}]
    body = {"schemas": [USER, ENTERPRISE], "userName": "b", ENTERPRISE: {"manager": {"managerId": "7"}}}
    error_of(strict("POST", "/Users", body), 400, "invalidValue")


def test_the_method_of_a_bulk_operation_is_in_capitals(strict: ScimClient, user: dict[str, Any]) -> None:
    operations = [
        {"method": "delete", "path": user["meta"]["location"]},
        {"method": "Post", "path": "/Users", "bulkId": "b", "data": {"schemas": [USER], "userName": "b"}},
    ]

    answer = strict("POST", "/Bulk", {"schemas": [f"{MESSAGES}BulkRequest"], "Operations": operations})

    assert [result["status"] for result in answer.json["Operations"]] == ["400", "400"]
    assert strict.names("userName pr") == ["a"]
