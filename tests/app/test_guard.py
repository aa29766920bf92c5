"""The deprovisioning guard stops a client that removes unusually many resources, until it is released."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.configuration.settings import Settings, SettingsError
from tests.conftest import USER, ScimClient, error_of
from tests.events import BULK, PATCH_OP, POLL
from tests.tokens import Client

# With transactions that hold the count, with others, and without any.
pytestmark = pytest.mark.on("sqlite", "postgresql", "files", "mongodb", "ldap")

Make = Callable[..., ScimClient]
INACTIVE = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "active", "value": False}]}


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, backend: Callable[[set[str]], dict[str, str]]
) -> Callable[..., Result]:
    settings = {**backend(set()), "DEPROVISION_LIMIT": "2", "LOGLEVEL": "ERROR", "API_KEY": "k"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(main, words)


def users(scim: ScimClient, count: int) -> list[str]:
    return [scim.user(f"user{number}", active=True)["meta"]["location"] for number in range(count)]


def test_a_client_is_stopped_until_it_is_released(
    make_scim: Make, run: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(DEPROVISION_LIMIT="2")
    one, two, three, four = users(scim, 4)

    assert scim("DELETE", one).status_code == 204
    assert scim("PATCH", two, INACTIVE).status_code == 200
    with caplog.at_level(logging.ERROR):
        for answer in (scim("DELETE", three), scim("PATCH", four, INACTIVE), scim("DELETE", three)):
            assert "scim guard release" in error_of(answer, 429)
            assert answer.headers["Retry-After"] == "3600"
    # All other requests go on.
    assert scim("GET", three).json["active"] is scim("GET", four).json["active"] is True
    assert scim("PUT", four, {"schemas": [USER], "userName": "user3", "title": "x"}).status_code == 200
    assert scim("POST", "/Users", {"schemas": [USER], "userName": "new"}).status_code == 201
    assert [r.getMessage().partition(":")[0] for r in caplog.records] == [
        "THE DEPROVISIONING GUARD HAS STOPPED api-key 62af8704"
    ]

    (listed,) = run("guard", "list").output.splitlines()
    assert listed.split("\t")[:4] == ["api-key 62af8704", "User", "closed", "2"]
    assert run("guard", "release", "api-key 62af8704").output == "released api-key 62af8704\n"
    assert run("guard", "release", "api-key 62af8704").exit_code == 1
    assert scim("DELETE", three).status_code == 204


def test_each_client_and_each_type_counts_alone(make_scim: Make) -> None:
    scim = make_scim(DEPROVISION_LIMIT="1", CHANGE_LOG="on")
    other = Client(scim, "other", "scim.read scim.write")
    one, two, three = users(scim, 3)
    group = scim.group("g")["meta"]["location"]

    assert scim("DELETE", one).status_code == 204
    error_of(scim("DELETE", two), 429)
    assert scim("DELETE", group).status_code == 204
    assert other("DELETE", two).status_code == 204
    error_of(other("DELETE", three), 429)


def test_what_removes_nothing_does_not_count(make_scim: Make) -> None:
    scim = make_scim(DEPROVISION_LIMIT="1")
    one, two = users(scim, 2)

    error_of(scim("DELETE", "/Users/absent"), 404)
    assert scim("PATCH", one, INACTIVE).status_code == 200
    # It is inactive already.
    assert scim("PATCH", one, INACTIVE).status_code == 200
    title = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": "x"}]}
    assert scim("PATCH", one, title).status_code == scim("PATCH", two, title).status_code == 200
    error_of(scim("PATCH", two, INACTIVE), 429)


def test_a_share_is_of_the_resources_at_the_begin(make_scim: Make) -> None:
    scim = make_scim(DEPROVISION_LIMIT="50%")
    paths = users(scim, 5)

    # Half of five, rounded up.
    assert [scim("DELETE", path).status_code for path in paths] == [204, 204, 204, 429, 429]


def test_operations_of_bulk_count_each(make_scim: Make) -> None:
    scim = make_scim(DEPROVISION_LIMIT="2")
    paths = users(scim, 4)
    operations: list[Any] = [{"method": "DELETE", "path": path} for path in paths]

    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}).json

    assert [one["status"] for one in answer["Operations"]] == ["204", "204", "429", "429"]
    assert scim("GET", "/Users").json["totalResults"] == 2
    error_of(scim("DELETE", paths[2]), 429)


def test_asynchronous_requests_count(make_scim: Make) -> None:
    scim = make_scim(DEPROVISION_LIMIT="1", ASYNC_REQUEST="request", **POLL)
    sent = {"Prefer": "respond-async"}

    results = [scim("DELETE", path, headers=sent).headers["Location"] for path in users(scim, 2)]
    scim.work()

    assert [scim("GET", result).json["status"] for result in results] == ["204", "429"]


def test_the_change_log_says_that_a_client_was_stopped(make_scim: Make) -> None:
    scim = make_scim(DEPROVISION_LIMIT="1", CHANGE_LOG="on")
    one, two = users(scim, 2)
    scim("DELETE", one)
    scim("DELETE", two)
    scim("DELETE", two)

    database = scim.app.extensions["scim.delivery"].database
    rows = database.rows("SELECT kind, principal, resource_type FROM scim_change WHERE kind = ?", ("guard",))
    assert [tuple(row) for row in rows] == [("guard", "api-key 62af8704", "User")]


@pytest.mark.on("sqlite")
@pytest.mark.parametrize("text", ["0", "x", "101%", "-1", "5 %", "0%"])
def test_what_is_no_limit_ends_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="DEPROVISION_LIMIT: must be a number"):
        Settings.from_env({"DEPROVISION_LIMIT": text})


@pytest.mark.on("sqlite")
def test_without_a_limit_nothing_is_counted(scim: ScimClient, run: Callable[..., Result]) -> None:
    for path in users(scim, 5):
        assert scim("DELETE", path).status_code == 204
    assert not scim.app.extensions["scim.delivery"].database.has_table("scim_guard")
    assert run("guard", "list").output == ""


def test_a_bulk_request_closes_the_guard_for_good(
    make_scim: Make, run: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(DEPROVISION_LIMIT="1", CHANGE_LOG="on")
    operations: list[Any] = [{"method": "DELETE", "path": path} for path in users(scim, 3)]

    with caplog.at_level(logging.ERROR):
        answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}).json

    assert [one["status"] for one in answer["Operations"]] == ["204", "429", "429"]
    assert len([one for one in caplog.records if one.name.endswith(".deprovisioning")]) == 1
    (listed,) = run("guard", "list").output.splitlines()
    assert listed.split("\t")[2] == "closed"
    database = scim.app.extensions["scim.delivery"].database
    rows = database.rows("SELECT resource_type FROM scim_change WHERE kind = ?", ("guard",))
    assert [tuple(row) for row in rows] == [("User",)]
