"""Accept, If-Match and If-None-Match as HTTP reads them (RFC 9110 sections 12.5.1, 13.1)."""

from collections.abc import Callable

import pytest

from tests.conftest import ScimClient, error_of

# Reading a request does not depend on the backend.
pytestmark = pytest.mark.on("sqlite")

SCIM = "application/scim+json"
JSON = "application/json"
ASYNC = {"ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("", SCIM),
        ("*/*", SCIM),
        ("application/*", SCIM),
        ("text/html", SCIM),
        ("garbage;;,", SCIM),
        (JSON, JSON),
        (f"{JSON}; charset=utf-8", JSON),
        ("Application/JSON", JSON),
        (f"{JSON}, text/plain, */*", JSON),
        (f"{JSON}, {SCIM}", SCIM),
        (f"{SCIM};q=0.5, {JSON}", JSON),
        (f"{SCIM}, {JSON};q=0.9", SCIM),
        (f"{JSON};q=0", SCIM),
        (f"{JSON};q=0.0, */*", SCIM),
        (f"{SCIM};q=0, {JSON}", JSON),
        (f"{SCIM};q=0, */*;q=0.1", JSON),
        # Ruling out both is disregarded.
        (f"{SCIM};q=0, {JSON};q=0", SCIM),
    ],
)
def test_the_answer_has_the_type_that_the_client_likes_best(
    scim: ScimClient, accept: str, answered: str
) -> None:
    for path, status in (("/Users", 200), ("/Users/nobody", 404)):
        answer = scim("GET", path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, answered)


@pytest.mark.parametrize(("accept", "page"), [(SCIM, False), (f"{SCIM};q=0", True), ("*/*", True)])
def test_the_root_is_a_page_for_who_does_not_ask_for_scim(scim: ScimClient, accept: str, page: bool) -> None:
    answer = scim("GET", "/", headers={"Accept": accept})

    assert answer.headers["Content-Type"].startswith("text/html") is page


def test_a_token_is_for_who_does_not_rule_it_out(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**ASYNC)
    location = scim("POST", "/Users", {"userName": "a"}, {"Prefer": "respond-async"}).headers["Location"]
    scim.work()

    answer = scim("GET", location, headers={"Accept": "application/secevent+jwt;q=0, application/scim+json"})

    assert answer.headers["Content-Type"] == SCIM


# -- entity-tags


def tags_of(version: str) -> tuple[list[str], list[str]]:
    """Return what names a version and what does not, where quotes may be missing."""
    bare = version.removeprefix('W/"').removesuffix('"')
    naming = [version, f'"{bare}"', bare, f"W/{bare}", f"w/{version[2:]}", "*"]
    naming += [f'"x,y", {version}', f"x, {bare}"]
    return naming, [f'W/"{bare}', f'{bare}"', f'"{bare} "', '"x"', "x", '""', '"*"', 'W/"*"', '"", "x"', ""]


def test_if_match_names_a_version(scim: ScimClient) -> None:
    user = scim.user("a")
    naming, other = tags_of(user["meta"]["version"])
    path, body = user["meta"]["location"], {"userName": "a"}

    for tag in naming:
        assert scim("PUT", path, body, {"If-Match": tag}).status_code == 200, tag
    for tag in filter(None, other):
        error_of(scim("PUT", path, body, {"If-Match": tag}), 412)
        error_of(scim("DELETE", path, headers={"If-Match": tag}), 412)


def test_if_none_match_names_a_version(scim: ScimClient) -> None:
    user = scim.user("a")
    naming, other = tags_of(user["meta"]["version"])

    for tag in naming:
        assert scim("GET", user["meta"]["location"], headers={"If-None-Match": tag}).status_code == 304, tag
    for tag in other:
        answer = scim("GET", user["meta"]["location"], headers={"If-None-Match": tag})
        assert answer.status_code == 200, tag


def test_conditions_hold_for_what_is_done_later(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**ASYNC)
    user = scim.user("a")
    bare = user["meta"]["version"].removeprefix('W/"').removesuffix('"')

    statuses = []
    for tag in (f'W/"{bare}', f'"x,y", "{bare}"', "*"):
        headers = {"Prefer": "respond-async", "If-Match": tag}
        answer = scim("PUT", user["meta"]["location"], {"userName": "a"}, headers)
        scim.work()
        statuses.append(scim("GET", answer.headers["Location"]).json["status"])

    assert statuses == ["412", "200", "200"]


def test_by_the_letter_entity_tags_have_quotes(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(PROFILE="strict", **ASYNC)
    user = scim.user("a")
    path, version = user["meta"]["location"], user["meta"]["version"]
    body = {"schemas": user["schemas"], "userName": "a"}
    bare = version.removeprefix('W/"').removesuffix('"')

    for tag in (bare, f"W/{bare}", f"x, {version}"):
        for headers in ({"If-Match": tag}, {"If-Match": tag, "Prefer": "respond-async"}):
            assert error_of(scim("PUT", path, body, headers), 400, "invalidSyntax").startswith("If-Match:")
        error_of(scim("DELETE", path, headers={"If-Match": tag}), 400, "invalidSyntax")
        error_of(scim("GET", path, headers={"If-None-Match": tag}), 400, "invalidSyntax")
        operation = {"method": "PUT", "path": path, "version": tag, "data": body}
        bulk = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [operation]}
        [result] = scim("POST", "/Bulk", bulk).json["Operations"]
        assert result["response"]["detail"].startswith("version:")
    for tag in (version, f'"x", {version}', "*", f'"{bare}"'):
        assert scim("PUT", path, body, {"If-Match": tag}).status_code == 200
