"""Completions of asynchronous requests (RFC 9967 section 2.5.1.3): which exist, and what they say."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ScimClient, error_of
from tests.events import BULK, EVENT, decoded, payload, sets
from tests.receivers import HttpReceiver

ASYNC = {"Prefer": "respond-async"}
ASYNC_RESPONSE = f"{EVENT}:misc:asyncresp"


def completions(scim: ScimClient) -> list[dict[str, Any]]:
    """Return the completions in the feed, in the order of their transactions."""
    return completions_in(sets(scim))


def completions_in(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the SETs that are completions, in the order of their transactions."""
    return sorted((one for one in claims if ASYNC_RESPONSE in one["events"]), key=lambda one: one["txn"])


# -- the mode


@pytest.mark.sqlite
@pytest.mark.parametrize("mode", ["notice", "full"])
def test_the_mode_of_a_receiver_decides_whether_its_completions_have_values(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver, mode: str
) -> None:
    described = [{"name": one, "url": f"{receiver.url}/{one}", "mode": one} for one in ("notice", "full")]
    scim = make_scim(
        ASYNC_REQUEST="request",
        EMBEDDED_WORKER="false",
        SET_POLL_ENABLED="true",
        EVENT_MODE=mode,
        SET_RECEIVERS=json.dumps(described),
    )
    for _ in range(2):
        # The second one fails.
        scim("POST", "/Users", {"userName": "bjensen"}, headers=ASYNC)
    scim.work()
    # The next round pushes the events of the requests.
    scim.work()

    received = {}
    for one in ("notice", "full"):
        claims = [a.claims for a in receiver.attempts if a.path.endswith(f"/{one}")]
        received[one] = sorted(map(payload, completions_in(claims)), key=lambda said: said["status"])
    assert [set(said) for said in received["notice"]] == [
        {"method", "status", "location", "version"},
        {"method", "status", "response"},
    ]
    assert "bjensen" not in json.dumps(received["notice"][0])
    assert received["full"][0]["response"]["userName"] == "bjensen"
    assert received["full"][1] == received["notice"][1]
    polled = sorted(map(payload, completions(scim)), key=lambda said: said["status"])
    assert polled == received[mode]


@pytest.mark.sqlite
def test_no_event_keeps_the_values_that_nobody_gets(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver
) -> None:
    scim = make_scim(
        ASYNC_REQUEST="request",
        EMBEDDED_WORKER="false",
        SET_POLL_ENABLED="true",
        SET_RECEIVERS=json.dumps([{"name": "n", "url": receiver.url}]),
    )
    scim("POST", "/Users", {"userName": "bjensen"}, headers=ASYNC)
    scim.work()
    scim.work()

    kept = scim.app.extensions["scim.delivery"].database.rows("SELECT event FROM scim_set")
    assert len(kept) == 2
    assert "bjensen" not in str(kept)


# -- what it is about


@pytest.fixture
def later(make_scim: Callable[..., ScimClient]) -> ScimClient:
    """A client of a service that carries out requests when the test says so."""
    return make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false", SET_POLL_ENABLED="true")


def fetched(scim: ScimClient, location: str) -> dict[str, Any]:
    """Return the claims of the completion at the location of a result."""
    answer = scim("GET", location, headers={"Accept": "application/secevent+jwt"})
    assert answer.status_code == 200, answer.text
    claims: dict[str, Any] = json.loads(decoded(answer.text.split(".")[1]))
    return claims


def test_a_completion_is_about_the_same_wherever_it_is_read(later: ScimClient) -> None:
    for _ in range(2):
        # The second one fails.
        later("POST", "/Users", {"userName": "a", "externalId": "e"}, headers=ASYNC)
    later.work()
    made, refused = completions(later)
    if payload(made)["status"] != "201":
        made, refused = refused, made

    user = later("GET", "/Users").json["Resources"][0]["id"]
    assert made["sub_id"] == {"format": "scim", "uri": f"/Users/{user}", "id": user, "externalId": "e"}
    assert refused["sub_id"] == {"format": "scim", "uri": "/Users"}
    for one in (made, refused):
        assert fetched(later, f"/Async/{one['txn']}")["sub_id"] == one["sub_id"]
        assert "subjects" not in later("GET", f"/Async/{one['txn']}").json


def test_operations_of_bulk_are_about_what_their_paths_name(later: ScimClient) -> None:
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": "a", "externalId": "e"}},
        {"method": "PUT", "path": "/Users/bulkId:u", "data": {"title": "no name"}},
        {"method": "PUT", "path": "/Users/bulkId:u", "data": {"userName": "b", "externalId": "f"}},
        {"method": "POST", "path": "/Users", "bulkId": "taken", "data": {"userName": "b"}},
        {"method": "DELETE", "path": "/Users/bulkId:taken"},
        {"method": "DELETE", "path": "/Groups/none"},
        {"method": "POST", "path": "/Nothing", "bulkId": "x", "data": {}},
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"displayName": "g"}},
        {"method": "DELETE", "path": "/Groups/unreached"},
    ]
    body = {"schemas": [BULK], "Operations": operations, "failOnErrors": 5}
    txn = later("POST", "/Bulk", body, headers=ASYNC).headers["Set-Txn"]
    later.work()

    user = later("GET", "/Users").json["Resources"][0]["id"]
    found = completions(later)
    # A SET has the externalId from the operation itself.
    about = [tuple(one["sub_id"].get(name) for name in ("uri", "id", "externalId")) for one in found]
    assert [payload(one)["status"] for one in found] == "201 400 200 409 400 404 404 424 424".split()
    assert about == [
        (f"/Users/{user}", user, "e"),
        (f"/Users/{user}", user, None),
        (f"/Users/{user}", user, "f"),
        ("/Users", None, None),
        ("/Users/bulkId:taken", None, None),
        ("/Groups/none", "none", None),
        ("/Bulk", None, None),
        ("/Groups", None, None),
        ("/Groups/unreached", "unreached", None),
    ]
    for position, one in enumerate(found):
        assert fetched(later, f"/Async/{txn}:{position}")["sub_id"] == one["sub_id"]
    assert fetched(later, f"/Async/{txn}")["sub_id"] == {"format": "scim", "uri": "/Bulk"}


@pytest.mark.sqlite
def test_the_completion_of_a_request_is_one_token(later: ScimClient) -> None:
    location = later("POST", "/Users", {"userName": "a"}, headers=ASYNC).headers["Location"]
    later.work()
    first = fetched(later, location)

    time.sleep(1.1)

    assert fetched(later, location) == first


@pytest.mark.sqlite
def test_a_result_ends_in_time_before_a_sweep_removes_it(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false", ASYNC_RESULT_TTL="1")
    location = scim("POST", "/Users", {"userName": "a"}, headers=ASYNC).headers["Location"]
    scim.work()
    assert scim("GET", location).status_code == 200

    time.sleep(1.1)

    error_of(scim("GET", location), 404)
    error_of(scim("DELETE", location), 404)
