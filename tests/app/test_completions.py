"""Completions of asynchronous requests (RFC 9967 section 2.5.1.3): which requests have one, and what it says."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ScimClient
from tests.events import EVENT, payload, sets
from tests.receivers import HttpReceiver

ASYNC = {"Prefer": "respond-async"}
ASYNC_RESPONSE = f"{EVENT}:misc:asyncresp"


def completions(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
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
    # What the requests have done is pushed in the next round.
    scim.work()

    received = {}
    for one in ("notice", "full"):
        claims = [a.claims for a in receiver.attempts if a.path.endswith(f"/{one}")]
        received[one] = sorted(map(payload, completions(claims)), key=lambda said: said["status"])
    assert [set(said) for said in received["notice"]] == [
        {"method", "status", "location", "version"},
        {"method", "status", "response"},
    ]
    assert "bjensen" not in json.dumps(received["notice"][0])
    assert received["full"][0]["response"]["userName"] == "bjensen"
    assert received["full"][1] == received["notice"][1]
    polled = sorted(map(payload, completions(sets(scim))), key=lambda said: said["status"])
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
