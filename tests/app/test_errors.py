"""Every error of every kind is a SCIM error (RFC 7644 section 3.12)."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ScimClient, error_of


def test_unknown_paths_and_methods(scim: ScimClient) -> None:
    error_of(scim("GET", "/Nope"), 404)
    answer = scim("POST", "/ServiceProviderConfig")
    error_of(answer, 405)
    assert "GET" in answer.headers["Allow"]
    assert scim("HEAD", "/Users/x").status_code == 404


@pytest.mark.parametrize("path", ["/Users/.search", "/Groups/.search", "/Users/.search/", "/.search"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_a_search_by_post_has_no_other_method(scim: ScimClient, path: str, method: str) -> None:
    answer = scim(method, path)

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert set(scim("OPTIONS", path).headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_both_spellings_of_a_path_are_served(scim: ScimClient) -> None:
    assert scim("POST", "/Users/", {"userName": "a"}).status_code == 201
    [user] = scim("GET", "/Users/").json["Resources"]
    assert scim("GET", f"/Users/{user['id']}/").json == user


def test_a_body_over_the_limit_is_refused(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(MAX_BODY_SIZE="1000")

    detail = error_of(scim("POST", "/Users", {"userName": "a", "displayName": "x" * 1000}), 413, "tooLarge")

    assert "1000 bytes" in detail
    assert scim("GET", "/Users").json["totalResults"] == 0


@pytest.mark.parametrize("filter_text", ["userName eq", "nope eq 1", "(" * 2000, 'a"b', "userName eq \u2028"])
def test_a_filter_that_cannot_be_used_is_refused(scim: ScimClient, filter_text: str) -> None:
    error_of(scim("GET", "/Users", query_string={"filter": filter_text}), 400, "invalidFilter")


def test_a_filter_over_the_limit_is_refused(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(MAX_FILTER_LENGTH="100")

    query = {"filter": f'userName eq "{"x" * 100}"'}

    assert "100 characters" in error_of(scim("GET", "/Users", query_string=query), 400, "invalidFilter")


def test_an_unexpected_error_is_logged_and_not_shown(
    scim: ScimClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the inner workings")

    monkeypatch.setattr(scim.app.extensions["scim.base"].resources, "read", broken)
    with caplog.at_level(logging.ERROR):
        detail = error_of(scim("GET", "/Users/x"), 500)

    assert "inner workings" not in detail
    assert "inner workings" in caplog.text


@pytest.mark.sqlite
def test_a_storage_that_fails_is_unavailable_and_nothing_else(scim: ScimClient, tmp_path: Path) -> None:
    path = scim.user("a")["meta"]["location"]
    with sqlite3.connect(tmp_path / "data" / "scim.db") as database:
        database.execute('ALTER TABLE "Users" RENAME TO gone')

    for method, target in (("GET", path), ("DELETE", path), ("GET", "/Users")):
        answer = scim(method, target)
        error_of(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
    with sqlite3.connect(tmp_path / "data" / "scim.db") as database:
        database.execute('ALTER TABLE gone RENAME TO "Users"')
    assert scim("GET", path).status_code == 200


@pytest.mark.sqlite
def test_readiness_follows_the_storage(scim: ScimClient, tmp_path: Path) -> None:
    assert scim("GET", "/health/ready").json == {"status": "OK"}
    with sqlite3.connect(tmp_path / "data" / "scim.db") as database:
        database.execute("DROP TABLE scim_count")

    error_of(scim("GET", "/health/ready"), 503)
    assert scim("GET", "/health").json == {"status": "OK"}


def test_logs_hold_no_secret(scim: ScimClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        scim.user("a", password="t1meMa$heen")
        scim("GET", "/Users", query_string={"filter": 'userName eq "hush"'})

    assert not {"t1meMa$heen", "hush", "test-key"} & set(caplog.text.split())
