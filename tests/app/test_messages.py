"""PatchOp, BulkRequest and SearchRequest as clients send them (RFC 7644 sections 3.4.3, 3.5.2, 3.7)."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from tests.conftest import ScimClient, error_of

# Reading a request does not depend on the backend.
pytestmark = pytest.mark.on("sqlite")

MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
NAMES = ("PatchOp", "BulkRequest", "SearchRequest")
MISSING = [
    {},
    {"schemas": None},
    {"schemas": []},
    {"schemas": ""},
    {"schemas": [""]},
]
NEAR = ["urn:ietf:params:scim:schemas:core:2.0:{}", "urn:ietf:params:scim:api:messages:2.0:{}"]


def sent(scim: ScimClient, name: str, schemas: dict[str, Any]) -> Any:
    """Send one of the messages with these schemas."""
    if name == "SearchRequest":
        return scim("POST", "/Users/.search", {**schemas, "filter": 'userName eq "a"'})
    if name == "BulkRequest":
        operation = {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"userName": "b"}}
        return scim("POST", "/Bulk", {**schemas, "Operations": [operation]})
    user = scim("GET", "/Users", query_string={"filter": 'userName eq "a"'}).json["Resources"][0]
    operation = {"op": "replace", "path": "title", "value": "t"}
    return scim("PATCH", user["meta"]["location"], {**schemas, "Operations": [operation]})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schemas", [*MISSING, *NEAR, *([near] for near in NEAR)], ids=str)
def test_a_message_need_not_name_its_schema(scim: ScimClient, name: str, schemas: Any) -> None:
    user = scim.user("a")
    if not isinstance(schemas, dict):
        near = [schemas[0].format(name)] if isinstance(schemas, list) else schemas.format(name)
        schemas = {"schemas": near}

    answer = sent(scim, name, schemas)

    assert answer.status_code == 200, answer.text
    if name == "PatchOp":
        assert scim("GET", user["meta"]["location"]).json["title"] == "t"
    elif name == "BulkRequest":
        assert scim.names('userName eq "b"') == ["b"]
    else:
        assert answer.json["totalResults"] == 1
    other = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"]}
    assert MESSAGES + name in error_of(sent(scim, name, other), 400, "invalidSyntax")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schemas", [*MISSING, {"schemas": NEAR[0]}, {"schemas": [NEAR[0]]}], ids=str)
def test_by_the_letter_a_message_names_its_schema(
    make_scim: Callable[..., ScimClient], name: str, schemas: dict[str, Any]
) -> None:
    scim = make_scim(PROFILE="strict")
    user = scim.user("a")

    assert MESSAGES + name in error_of(sent(scim, name, schemas), 400, "invalidSyntax")

    assert scim("GET", user["meta"]["location"]).json == user
    assert sent(scim, "SearchRequest", {"schemas": [MESSAGES.upper() + "SEARCHREQUEST"]}).status_code == 200


def test_a_patch_within_bulk_need_not_name_its_schema(make_scim: Callable[..., ScimClient]) -> None:
    for profile, status in (("default", "200"), ("strict", "400")):
        scim = make_scim(PROFILE=profile)
        user = scim.user(profile)
        data = {"Operations": [{"op": "replace", "path": "title", "value": "t"}]}
        operation = {"method": "PATCH", "path": user["meta"]["location"], "data": data}
        body = {"schemas": [f"{MESSAGES}BulkRequest"], "Operations": [operation]}

        [result] = scim("POST", "/Bulk", body).json["Operations"]

        assert result["status"] == status


def test_a_patch_for_later_need_not_name_its_schema(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
    path = scim.user("a")["meta"]["location"]
    body = {"Operations": [{"op": "replace", "path": "title", "value": "t"}]}

    assert scim("PATCH", path, body, {"Prefer": "respond-async"}).status_code == 202
    scim.work()

    assert scim("GET", path).json["title"] == "t"


def test_a_group_is_updated_as_authentik_does(scim: ScimClient) -> None:
    group = scim.group("old", externalId="g1")
    value = {**{name: group[name] for name in ("schemas", "id", "externalId")}, "displayName": "new"}

    answer = scim("PATCH", group["meta"]["location"], {"Operations": [{"op": "replace", "value": value}]})

    assert answer.status_code == 200
    assert answer.json["displayName"] == "new"


# -- SearchRequest


@pytest.mark.parametrize("path", ["/Users/.search", "/.search"])
@pytest.mark.parametrize(
    ("search", "names", "shown"),
    [
        ({"attributes": "userName"}, ["a", "b", "c"], {"userName"}),
        ({"attributes": " userName , title,"}, ["a", "b", "c"], {"userName", "title"}),
        ({"excludedAttributes": "meta,title"}, ["a", "b", "c"], {"userName"}),
        ({"attributes": "", "count": "2"}, ["a", "b"], {"userName", "title", "meta"}),
        ({"count": "1", "startIndex": "2"}, ["b"], {"userName", "title", "meta"}),
        ({"count": 1.0, "startIndex": ""}, ["a"], {"userName", "title", "meta"}),
        ({"Count": "-1"}, [], set()),
    ],
)
def test_a_search_has_lists_and_numbers_in_strings(
    scim: ScimClient, path: str, search: dict[str, Any], names: list[str], shown: set[str]
) -> None:
    for name in "abc":
        scim.user(name, title="t")

    answer = scim("POST", path, {"schemas": [f"{MESSAGES}SearchRequest"], "sortBy": "userName", **search})

    assert answer.status_code == 200, answer.text
    assert [resource["userName"] for resource in answer.json["Resources"]] == names
    for resource in answer.json["Resources"]:
        assert set(resource) - {"schemas", "id"} == shown
    assert answer.json["totalResults"] == 3


@pytest.mark.parametrize(
    ("search", "detail"),
    [
        ({"attributes": "userName"}, "attributes: must be a list of strings"),
        ({"excludedAttributes": [7]}, "excludedAttributes: must be a list of strings"),
        ({"attributes": [None]}, "attributes: must be a list of strings"),
        ({"count": "1"}, "count: must be an integer"),
        ({"count": 1.5}, "count: must be an integer"),
        ({"startIndex": True}, "startIndex: must be an integer"),
        ({"startIndex": 10**20}, "startIndex: must be an integer"),
        ({"filter": 7}, "filter: must be a string"),
    ],
)
def test_by_the_letter_a_search_has_the_types_of_the_rfc(
    make_scim: Callable[..., ScimClient], search: dict[str, Any], detail: str
) -> None:
    scim = make_scim(PROFILE="strict")

    for path in ("/Users/.search", "/.search"):
        answer = scim("POST", path, {"schemas": [f"{MESSAGES}SearchRequest"], **search})
        assert error_of(answer, 400, "invalidValue").startswith(detail)


@pytest.mark.parametrize("value", ["one", "1.5", "9" * 30, "--1", "1 2", [1], {}])
def test_what_is_no_number_is_refused_by_name(scim: ScimClient, value: Any) -> None:
    for name in ("count", "startIndex"):
        answer = scim("POST", "/Users/.search", {name: value})
        assert error_of(answer, 400, "invalidValue").startswith(f"{name}: must be an integer")


# -- BulkRequest


@pytest.mark.parametrize("profile", ["default", "strict"])
def test_fail_on_errors_of_zero_is_no_limit(make_scim: Callable[..., ScimClient], profile: str) -> None:
    scim = make_scim(PROFILE=profile)
    schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"]
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": name, "data": {"schemas": schemas, "userName": name}}
        for name in ("a", "A", "b")
    ]
    body = {"schemas": [f"{MESSAGES}BulkRequest"], "failOnErrors": 0, "Operations": operations}

    results = scim("POST", "/Bulk", body).json["Operations"]

    assert [result["status"] for result in results] == ["201", "409", "201"]


def test_a_request_without_a_path_is_answered(scim: ScimClient) -> None:
    """A server may leave out a variable that would be empty (PEP 3333)."""
    environ = EnvironBuilder(method="GET", path="/Users").get_environ()
    del environ["PATH_INFO"]

    _, status, _ = run_wsgi_app(scim.app.wsgi_app, environ)

    # That of the root, which is the page of the API.
    assert status == "200 OK"
