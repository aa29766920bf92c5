"""Reading feeds: by POST as RFC 8936 has it, and by GET as HarryKodden/scim has it."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import ScimClient, Server, error_of
from tests.events import POLL, ask, kinds, pushes, sets, unsecured_claims
from tests.receivers import HttpReceiver


def test_polling_gives_sets_until_they_are_acknowledged(polled: ScimClient) -> None:
    names = [f"/Users/{polled.user(name)['id']}" for name in "abc"]

    first = ask(polled, {"maxEvents": 2})
    again = ask(polled, {"maxEvents": 2})
    rest = ask(polled, {"ack": list(first["sets"]), "maxEvents": 2})
    nothing = ask(polled, {"ack": list(rest["sets"])})

    assert first["moreAvailable"] and first == again
    assert not rest["moreAvailable"]
    assert nothing == {"sets": {}, "moreAvailable": False}
    claims = [unsecured_claims(text, jti) for part in (first, rest) for jti, text in part["sets"].items()]
    assert [one["sub_id"]["uri"] for one in claims] == names


def test_polling_can_acknowledge_without_asking_for_more(polled: ScimClient) -> None:
    polled.user("a")
    polled.user("b")
    jtis = list(ask(polled, {})["sets"])

    only = ask(polled, {"ack": jtis[:1], "maxEvents": 0})
    refused = ask(polled, {"setErrs": {jtis[1]: {"err": "invalid_key", "description": "d"}}, "maxEvents": 0})

    assert only == {"sets": {}, "moreAvailable": True}
    assert refused == {"sets": {}, "moreAvailable": False}


def test_polling_refuses_what_it_does_not_understand(polled: ScimClient) -> None:
    for body, detail in (
        ({"maxEvents": "2"}, "maxEvents: must be an integer"),
        ({"ack": "x"}, "ack: must be a list of strings"),
        ({"ack": ["x", 7, 8]}, "ack: must be a list of strings"),
        ({"setErrs": []}, "setErrs: must be an object"),
        ({"returnImmediately": "maybe"}, "returnImmediately: must be true or false"),
        ({"returnImmediately": None}, "returnImmediately: must be true or false"),
        ({"returnImmediately": "true"}, "returnImmediately: must be true or false"),
        ({"returnImmediately": 1}, "returnImmediately: must be true or false"),
    ):
        answer = polled("POST", "/Events/Feeds/default/Stream", body)
        assert error_of(answer, 400, "invalidValue") == detail
    assert ask(polled, {"maxEvents": -1, "whatever": 1})["sets"] == {}


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("error", "detail"),
    [
        *(
            (wrong, "each value must be an object with the string err")
            for wrong in ("foo", {}, None, [], 5, {"err": 5}, {"err": None}, {"description": "x"})
        ),
        ({"err": "invalid_key", "description": 5}, "description must be a string"),
        ({"err": "invalid_key", "description": None}, "description must be a string"),
    ],
)
def test_a_malformed_error_settles_no_set(polled: ScimClient, error: Any, detail: str) -> None:
    for name in "abc":
        polled.user(name)
    first, second, third = ask(polled, {})["sets"]
    asked = {"ack": [third], "setErrs": {first: {"err": "invalid_key"}, second: error}}

    answer = polled("POST", "/Events/Feeds/default/Stream", asked)

    assert error_of(answer, 400, "invalidValue") == f"setErrs: {detail}"
    assert list(ask(polled, {})["sets"]) == [first, second, third]


def test_a_long_poll_ends_with_the_first_set_or_after_a_bounded_wait(
    make_scim: Callable[..., ScimClient],
) -> None:
    impatient, patient = make_scim(SET_POLL_WAIT="0.4", **POLL), make_scim(SET_POLL_WAIT="60", **POLL)

    started = time.monotonic()
    assert ask(impatient, {"returnImmediately": False})["sets"] == {}
    assert 0.4 <= time.monotonic() - started < 60
    patient.user("a")
    started = time.monotonic()
    assert len(ask(patient, {"returnImmediately": False})["sets"]) == 1

    assert time.monotonic() - started < 60


@pytest.mark.sqlite
def test_long_polls_cannot_take_every_thread(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="1", THREADS="4", SET_POLL_ENABLED="true", SET_POLL_WAIT="60", LOGLEVEL="ERROR")
    threads = [
        threading.Thread(target=lambda: server("POST", "/Events/Feeds/default/Stream", json={}))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)

    started = time.monotonic()
    assert server("POST", "/Users", json={"userName": "a"}).status_code == 201
    # They would have waited for longer, and end with the event of this.
    assert time.monotonic() - started < 60
    for thread in threads:
        thread.join()


def test_a_stream_that_is_off_says_so(make_scim: Callable[..., ScimClient], receiver: HttpReceiver) -> None:
    scim = pushes(make_scim, receiver)

    assert "SET_POLL_ENABLED" in error_of(scim("GET", "/Events/Feeds/default/Stream"), 501)
    error_of(scim("POST", "/Events/Feeds/default/Stream", {}), 501)
    assert scim("GET", "/Events/Feeds/default").json["poll"]["supported"] is False


def test_reading_goes_on_after_the_last_set(polled: ScimClient) -> None:
    for name in "abc":
        polled.user(name)

    def read(**query: Any) -> Any:
        return polled("GET", "/Events/Feeds/default/Stream", query_string=query)

    first = read(limit=2).json
    second = read(limit=2, after=first["sets"][-1]["jti"]).json

    assert first["feed"] == "default" and first["moreAvailable"] is True
    assert [len(first["sets"]), len(second["sets"])] == [2, 1] and not second["moreAvailable"]
    for limit in ("0", "-1", "x"):
        error_of(read(limit=limit), 400, "invalidValue")


def test_a_cursor_that_fell_out_of_the_window_is_told_so(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(SET_POLL_MAX_EVENTS="2", **POLL)
    scim.user("a")
    (oldest,) = sets(scim)
    for name in "bcd":
        scim.user(name)
    latest = sets(scim)

    def answer() -> Any:
        return scim("GET", "/Events/Feeds/default/Stream", query_string={"after": oldest["jti"]})

    assert oldest["jti"] in error_of(answer(), 410)
    assert len(latest) == len(ask(scim, {})["sets"]) == 2 and oldest not in latest
    assert not ask(scim, {})["moreAvailable"]
    scim.app.extensions["scim.delivery"].retention.run()
    assert oldest["jti"] in error_of(answer(), 410)
    assert sets(scim) == latest


def test_the_feed_of_a_group_that_is_gone_says_so(polled: ScimClient) -> None:
    user = polled.user("a")["id"]
    group = polled.group("g", user)["id"]
    polled("DELETE", f"/Groups/{group}")

    found = sets(polled, group)
    last = unsecured_claims(*reversed(list(ask(polled, {}, group)["sets"].items())[-1]))

    assert kinds(found)[-1] == ("prov:delete", f"/Groups/{group}")
    assert last == found[-1]
    error_of(polled("GET", f"/Events/Feeds/{group}"), 404)
    database = polled.app.extensions["scim.delivery"].database
    with database.transaction():
        database.run("DELETE FROM scim_stream")
    error_of(polled("GET", f"/Events/Feeds/{group}/Stream"), 404)


def test_a_feed_is_where_it_says_it_is(make_scim: Callable[..., ScimClient]) -> None:
    issuer = "https://scim.example.com"
    scim = make_scim(SET_ISSUER=issuer, BASE_PATH="/api/v2", **POLL)
    group = scim.group("g", scim.user("a")["id"])["id"]

    shown = scim("GET", f"/api/v2/Events/Feeds/{group}").json
    (joined,) = (
        one
        for one in scim("GET", shown["poll"]["stream"]).json["sets"]
        if kinds([one])[0][0] == "feed:add"
    )

    assert shown["uri"] == joined["aud"] == f"{issuer}/api/v2/Events/Feeds/{group}"
    assert shown["poll"]["stream"] == f"/api/v2/Events/Feeds/{group}/Stream"
    assert joined["sub_id"]["uri"].startswith("/Users/")
    announced = scim("GET", "/api/v2/ServiceProviderConfig").json["securityEvents"]["feeds"]
    assert announced == [f"{issuer}/api/v2/Events/Feeds/default"]


@pytest.mark.sqlite
def test_a_reader_does_not_wait_until_everything_is_made_a_set(
    polled: ScimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.edge.blueprints.streams._PUBLISH_S", 0.0)
    for number in range(150):
        polled.user(f"u{number}")

    def read(after: str) -> Any:
        query = {"limit": 1000, "after": after}
        return polled("GET", "/Events/Feeds/default/Stream", query_string=query).json

    first = read("")
    second = read(first["sets"][-1]["jti"])

    assert first["moreAvailable"] and not second["moreAvailable"]
    assert 0 < len(first["sets"]) < 150 == len(first["sets"]) + len(second["sets"])
