"""Asynchronous requests (RFC 9967 section 2.5.1): accepted with 202, carried out exactly once."""

import json
import os
import random
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from queue import Queue
from typing import Any

import jwt
import pytest
import requests

from app.edge.headers import Preferences, read_preferences
from app.protocol.jobs import Jobs
from storage.errors import StorageUnavailable
from tests.conftest import GROUP, KEY, USER, ScimClient, Server, error_of

ASYNC = {"Prefer": "respond-async"}
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ASYNC_RESPONSE = "urn:ietf:params:scim:event:misc:asyncresp"


@pytest.fixture
def later(make_scim: Callable[..., ScimClient]) -> ScimClient:
    """A client of a service that carries out requests when the test says so."""
    return make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false", SET_POLL_ENABLED="true")


def accepted(answer: Any, applied: str = "respond-async") -> str:
    """Assert that an answer accepts a request for later, and return where its result will be."""
    assert answer.status_code == 202, answer.text
    assert answer.data == b""
    assert "Content-Type" not in answer.headers
    assert answer.headers["Preference-Applied"] == applied
    location: str = answer.headers["Location"]
    assert location.endswith(f"/Async/{answer.headers['Set-Txn']}")
    return location


def result_of(scim: ScimClient, location: str) -> Any:
    answer = scim("GET", location)
    assert answer.status_code == 200, answer.text
    return answer.json


def patch(**attributes: Any) -> dict[str, Any]:
    operations = [{"op": "replace", "path": path, "value": value} for path, value in attributes.items()]
    return {"schemas": [PATCH], "Operations": operations}


# -- the preference


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("respond-async", Preferences(True)),
        ("Respond-Async, WAIT=10", Preferences(True, 10)),
        ('wait="7"; x=1; y, respond-async;z="a,b;c"', Preferences(True, 7)),
        ("wait=5, wait=9", Preferences(False, 5)),
        ("return=minimal, handling=lenient", Preferences()),
        ("wait=soon, respond-async", Preferences(True)),
        ('foo="respond-async"', Preferences()),
        ("x; respond-async", Preferences()),
        ("respond-async=", Preferences()),
        ("", Preferences()),
    ],
)
def test_preferences_are_read_as_they_are_meant(header: str, expected: Preferences) -> None:
    assert read_preferences(header) == expected


def test_several_headers_are_one(later: ScimClient) -> None:
    headers = [
        ("Authorization", f"Bearer {KEY}"),
        ("Content-Type", "application/scim+json"),
        ("Prefer", "wait=3"),
        ("Prefer", "respond-async"),
    ]
    answer = later.app.test_client().post("/Users", headers=headers, json={"userName": "a"})

    accepted(answer)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("mode", "prefer", "applied"),
    [
        ("request", "respond-async", "respond-async"),
        ("request", "wait=1, respond-async", "respond-async"),
        ("long", "return=minimal, Respond-Async", "respond-async"),
        ("long", "wait=0", "wait=0"),
        ("long", "wait=1", "wait=1"),
        ("long", "wait=1, respond-async", "respond-async, wait=1"),
        ("long", "wait=soon, respond-async", "respond-async"),
    ],
)
def test_the_answer_names_the_preferences_that_it_follows(
    make_scim: Callable[..., ScimClient], mode: str, prefer: str, applied: str
) -> None:
    scim = make_scim(ASYNC_REQUEST=mode, EMBEDDED_WORKER="false")
    bulk = bulk_of({"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": "b"}})

    accepted(scim("POST", "/Users", {"userName": "a"}, headers={"Prefer": prefer}), applied)
    accepted(scim("POST", "/Bulk", bulk, headers={"Prefer": prefer}), applied)


@pytest.mark.parametrize("mode", ["none", "request", "long"])
def test_without_the_preference_nothing_changes(make_scim: Callable[..., ScimClient], mode: str) -> None:
    scim = make_scim(ASYNC_REQUEST=mode, EMBEDDED_WORKER="false")

    answer = scim("POST", "/Users", {"userName": "a"}, headers={"Prefer": "return=minimal"})

    assert answer.status_code == 201
    assert "Preference-Applied" not in answer.headers


@pytest.mark.sqlite
def test_where_it_is_off_the_preference_is_ignored(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim()

    answer = scim("POST", "/Users", {"userName": "a"}, headers=ASYNC)

    assert answer.status_code == 201
    assert "Preference-Applied" not in answer.headers and "Set-Txn" not in answer.headers
    error_of(scim("GET", "/Async/1"), 404)
    assert "securityEvents" not in scim("GET", "/ServiceProviderConfig").json


@pytest.mark.sqlite
@pytest.mark.parametrize("mode", ["request", "long"])
def test_the_mode_is_announced(make_scim: Callable[..., ScimClient], mode: str) -> None:
    config = make_scim(ASYNC_REQUEST=mode, SET_POLL_ENABLED="true")("GET", "/ServiceProviderConfig").json

    assert config["securityEvents"]["asyncRequest"] == mode
    assert ASYNC_RESPONSE in config["securityEvents"]["eventUris"]


# -- the four methods


def test_every_method_is_carried_out_later(later: ScimClient) -> None:
    location = accepted(later("POST", "/Users", {"userName": "a", "password": "s3cret"}, headers=ASYNC))
    assert later("GET", "/Users").json["totalResults"] == 0

    later.work()

    created = result_of(later, location)
    assert (created["method"], created["status"]) == ("POST", "201")
    assert created["response"]["userName"] == "a" and "password" not in created["response"]
    where = created["location"]
    assert later("GET", where).json["meta"]["version"] == created["version"]
    for method, body, status in (
        ("PUT", {"userName": "b"}, "200"),
        ("PATCH", patch(title="t"), "200"),
        ("DELETE", None, "204"),
    ):
        location = accepted(later(method, where, body, headers=ASYNC))
        later.work()
        done = result_of(later, location)
        assert (done["method"], done["status"], done["location"]) == (method, status, where)
    error_of(later("GET", where), 404)


def test_a_body_reaches_the_worker_whole(later: ScimClient) -> None:
    body = {"schemas": [USER], "userName": "\u00e9\U0001f600", "emails": [{"value": "a@b", "type": "work"}]}

    location = accepted(later("POST", "/Users?attributes=emails", body, headers=ASYNC))
    later.work()

    response = result_of(later, location)["response"]
    assert response["emails"] == body["emails"] and "userName" not in response


def test_a_request_without_credentials_is_401_and_not_202(later: ScimClient) -> None:
    answer = later("POST", "/Users", {"userName": "a"}, headers={**ASYNC, "Authorization": "Bearer no"})

    error_of(answer, 401)
    later.work()
    assert later("GET", "/Events/Feeds/default/Stream").json["sets"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "scim_type"),
    [
        ("POST", "/Users", {"title": "no name"}, 400, "invalidValue"),
        ("PUT", "/Users/1", {"userName": 5}, 400, "invalidValue"),
        ("PATCH", "/Users/1", {"schemas": [PATCH], "Operations": {}}, 400, "invalidSyntax"),
        ("PATCH", "/Users/1", patch(nope=1), 400, "invalidPath"),
        ("PATCH", "/Users/1", patch(active="maybe"), 400, "invalidValue"),
        ("PATCH", "/Users/1", patch(id="2"), 400, "mutability"),
        ("PATCH", "/Users/1", {"schemas": [PATCH], "Operations": [{"op": "remove"}]}, 400, "noTarget"),
        ("POST", "/Bulk", {"schemas": [BULK]}, 400, "invalidSyntax"),
        ("POST", "/Users", {"userName": "x" * 2_000_000}, 413, "tooLarge"),
        ("POST", "/Users?attributes=title&excludedAttributes=id", {"userName": "a"}, 400, "invalidValue"),
    ],
)
@pytest.mark.sqlite
def test_what_is_wrong_on_its_face_is_said_at_once(
    later: ScimClient, method: str, path: str, body: Any, status: int, scim_type: str
) -> None:
    error_of(later(method, path, body, headers=ASYNC), status, scim_type)


def test_what_depends_on_the_resource_is_said_in_the_result(later: ScimClient) -> None:
    where = later.user("a")["meta"]["location"]
    location = accepted(later("PATCH", where, patch(**{'emails[value eq "x"].type': "work"}), headers=ASYNC))

    later.work()

    result = result_of(later, location)
    assert (result["status"], result["response"]["scimType"]) == ("400", "noTarget")


@pytest.mark.sqlite
def test_the_description_tells_of_202(later: ScimClient) -> None:
    paths = later("GET", "/openapi.json").json["paths"]

    for path, methods in (
        ("/Users", ("post",)),
        ("/Users/{resource_id}", ("put", "patch", "delete")),
        ("/Bulk", ("post",)),
    ):
        assert all("202" in paths[path][method]["responses"] for method in methods)


def test_errors_are_scim_errors_in_the_result(later: ScimClient) -> None:
    later.user("a")

    taken = accepted(later("POST", "/Users", {"userName": "A"}, headers=ASYNC))
    missing = accepted(later("DELETE", "/Users/nope", headers=ASYNC))
    later.work()

    result = result_of(later, taken)
    assert (result["status"], result["response"]["scimType"]) == ("409", "uniqueness")
    result = result_of(later, missing)
    assert (result["status"], result["response"]["status"]) == ("404", "404")


def test_conditions_hold_when_it_is_carried_out(later: ScimClient) -> None:
    user = later.user("a")
    version = user["meta"]["version"]

    first = accepted(
        later("PATCH", f"/Users/{user['id']}", patch(title="1"), headers={**ASYNC, "If-Match": version})
    )
    second = accepted(
        later("PATCH", f"/Users/{user['id']}", patch(title="2"), headers={**ASYNC, "If-Match": version})
    )
    later.work()

    assert result_of(later, first)["status"] == "200"
    assert result_of(later, second)["status"] == "412"
    assert later("GET", f"/Users/{user['id']}").json["title"] == "1"


def test_requests_to_one_resource_are_carried_out_in_order(later: ScimClient) -> None:
    user = later.user("a")
    for number in range(10):
        accepted(later("PATCH", f"/Users/{user['id']}", patch(title=str(number)), headers=ASYNC))

    pieces = later.app.extensions["scim.work"].pieces
    threads = [
        threading.Thread(target=pieces[f"requests {number}"].run, args=(lambda: False,)) for number in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later.work()

    assert later("GET", f"/Users/{user['id']}").json["title"] == "9"


# -- results


def test_a_result_that_is_not_there_yet_is_202(later: ScimClient) -> None:
    location = accepted(later("POST", "/Users", {"userName": "a"}, headers=ASYNC))

    answer = later("GET", location)

    assert answer.status_code == 202
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json["progress"] == {"done": 0, "total": 1}


@pytest.mark.sqlite
def test_a_result_is_for_who_asked(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false", API_KEY=f"{KEY},other")
    location = accepted(scim("POST", "/Users", {"userName": "a"}, headers=ASYNC))
    scim.work()

    other = {"Authorization": "Bearer other"}
    error_of(scim("GET", location, headers=other), 404)
    error_of(scim("DELETE", location, headers=other), 404)
    error_of(scim("GET", location, headers={"Authorization": ""}), 401)
    assert result_of(scim, location)["status"] == "201"


@pytest.mark.sqlite
def test_a_result_is_a_set_for_who_prefers_that(make_scim: Callable[..., ScimClient]) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    scim = make_scim(
        ASYNC_REQUEST="request", EMBEDDED_WORKER="false", SET_SIGNING_SECRET=secret, SET_AUDIENCE="me"
    )
    location = accepted(scim("POST", "/Users", {"userName": "a"}, headers=ASYNC))
    scim.work()

    answer = scim("GET", location, headers={"Accept": "application/secevent+jwt"})

    assert answer.headers["Content-Type"] == "application/secevent+jwt"
    claims = jwt.decode(answer.text, secret, ["HS256"], audience="me")
    assert claims["txn"] == location.rpartition("/")[2]
    assert claims["events"][ASYNC_RESPONSE]["status"] == "201"
    again = scim("GET", location, headers={"Accept": "application/secevent+jwt"})
    assert jwt.decode(again.text, secret, ["HS256"], audience="me")["jti"] == claims["jti"]


def test_what_has_not_begun_can_be_withdrawn(later: ScimClient) -> None:
    location = accepted(later("POST", "/Users", {"userName": "a"}, headers=ASYNC))

    assert later("DELETE", location).status_code == 204
    later.work()

    error_of(later("GET", location), 404)
    assert later("GET", "/Users").json["totalResults"] == 0


def test_results_can_be_forgotten(later: ScimClient) -> None:
    location = accepted(later("POST", "/Users", {"userName": "a"}, headers=ASYNC))
    later.work()

    assert later("DELETE", location).status_code == 204
    error_of(later("GET", location), 404)
    error_of(later("DELETE", location), 404)


@pytest.mark.sqlite
def test_results_expire(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="request", EMBEDDED_WORKER="false", ASYNC_RESULT_TTL="1")
    location = accepted(scim("POST", "/Users", {"userName": "a"}, headers=ASYNC))
    scim.work()
    result_of(scim, location)

    time.sleep(1.1)
    scim.app.extensions["scim.delivery"].jobs.expire()

    error_of(scim("GET", location), 404)


@pytest.mark.sqlite
def test_requests_are_not_kept_in_readable_form(later: ScimClient) -> None:
    accepted(later("POST", "/Users", {"userName": "a", "password": "s3cret-word"}, headers=ASYNC))
    database = later.app.extensions["scim.delivery"].database

    (waiting,) = database.row("SELECT request FROM scim_job")
    later.work()
    (after,) = database.row("SELECT request FROM scim_job")

    assert waiting and "s3cret-word" not in waiting
    assert after == ""


# -- Bulk


def bulk_of(*operations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schemas": [BULK], "Operations": list(operations), **more}


def test_bulk_is_carried_out_later(later: ScimClient) -> None:
    body = bulk_of(
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": "a"}},
        {"method": "DELETE", "path": "/Users/nope"},
        {
            "method": "POST",
            "path": "/Groups",
            "bulkId": "g",
            "data": {"displayName": "g", "members": [{"value": "bulkId:u"}]},
        },
    )

    location = accepted(later("POST", "/Bulk", body, headers=ASYNC))
    assert later("GET", location).json["progress"] == {"done": 0, "total": 3}
    later.work()

    result = result_of(later, location)
    assert [operation["status"] for operation in result["Operations"]] == ["201", "404", "201"]
    assert result_of(later, f"{location}:1")["status"] == "404"
    error_of(later("GET", f"{location}:3"), 404)
    error_of(later("GET", f"{location}:x"), 404)
    group = later("GET", result["Operations"][2]["location"]).json
    assert [member["display"] for member in group["members"]] == ["a"]


def test_bulk_that_release_0_2_0_has_begun_is_ended(later: ScimClient) -> None:
    user = later.user("a")
    members = [{"value": "bulkId:u"}]
    kept = {
        "operations": [
            {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": "a"}},
            {"method": "POST", "path": "/Users", "bulkId": "v", "data": {"userName": "a"}},
            {
                "method": "POST",
                "path": "/Groups",
                "bulkId": "g",
                "data": {"displayName": "g", "members": members},
            },
        ],
        "fail_on_errors": None,
        "profile": "default",
    }
    created = {"method": "POST", "bulkId": "u", "status": "201", "location": user["meta"]["location"]}
    run = {"results": [[0, created]], "ids": {"u": user["id"]}, "failed_ids": [], "incomplete": []}
    delivery = later.app.extensions["scim.delivery"]
    principal = f"api-key {sha256(KEY.encode()).hexdigest()[:8]}"
    txn = delivery.jobs.accept(principal, "*", {"bulk": kept}, 3)
    with delivery.database.transaction():
        delivery.database.run(
            "UPDATE scim_job SET attempts = 1, done = 1, state = ? WHERE txn = ?",
            (json.dumps({"run": {**run, "errors": 0}}), txn),
        )

    later.work()

    operations = result_of(later, f"/Async/{txn}")["Operations"]
    assert [operation["status"] for operation in operations] == ["201", "409", "201"]
    assert operations[0] == created
    group = later("GET", operations[2]["location"]).json
    assert [member["value"] for member in group["members"]] == [user["id"]]
    assert delivery.database.row("SELECT COUNT(*) FROM scim_job_operation")[0] == 0


def test_every_operation_of_bulk_has_its_own_completion(later: ScimClient) -> None:
    body = bulk_of(
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": "a"}},
        {"method": "DELETE", "path": "/Users/nope"},
    )
    location = accepted(later("POST", "/Bulk", body, headers=ASYNC))
    txn = location.rpartition("/")[2]
    later.work()

    sets = later("GET", "/Events/Feeds/default/Stream").json["sets"]

    completions = {
        one["txn"]: one["events"][ASYNC_RESPONSE] for one in sets if ASYNC_RESPONSE in one["events"]
    }
    assert set(completions) == {f"{txn}:0", f"{txn}:1"}
    assert completions[f"{txn}:0"]["status"] == "201" and completions[f"{txn}:0"]["bulkId"] == "u"
    assert completions[f"{txn}:1"]["response"]["status"] == "404"
    created = [one for one in sets if any(":prov:create" in uri for uri in one["events"])]
    assert [one["txn"] for one in created] == [f"{txn}:0"]


def test_operations_that_are_not_reached_have_their_completion_too(later: ScimClient) -> None:
    group = {"displayName": "g", "members": [{"value": "bulkId:u"}]}
    body = bulk_of(
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group},
        {"method": "POST", "path": "/Users", "bulkId": "other", "data": {"userName": "a"}},
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"title": "no name"}},
        failOnErrors=1,
    )
    location = accepted(later("POST", "/Bulk", body, headers=ASYNC))
    txn = location.rpartition("/")[2]

    later.work()

    assert [one["bulkId"] for one in result_of(later, location)["Operations"]] == ["g", "u"]
    sets = later("GET", "/Events/Feeds/default/Stream").json["sets"]
    found = {one["txn"]: one["events"][ASYNC_RESPONSE]["bulkId"] for one in sets}
    assert found == {f"{txn}:0": "g", f"{txn}:1": "other", f"{txn}:2": "u"}
    skipped = result_of(later, f"{location}:1")
    assert (skipped["status"], skipped["response"]["status"]) == ("424", "424")
    assert result_of(later, f"{location}:2")["bulkId"] == "u"
    assert later("GET", "/Users").json["totalResults"] == 0


def test_a_completion_carries_the_transaction_of_the_answer(later: ScimClient) -> None:
    location = accepted(later("POST", "/Users", {"userName": "a"}, headers=ASYNC))
    later.work()

    sets = later("GET", "/Events/Feeds/default/Stream").json["sets"]

    assert {one["txn"] for one in sets} == {location.rpartition("/")[2]}
    assert [list(one["events"])[0].rpartition(":event:")[2] for one in sets] == [
        "prov:create:notice",
        "misc:asyncresp",
    ]
    assert sets[1]["sub_id"]["uri"] == sets[0]["sub_id"]["uri"]


# -- waiting


@pytest.fixture
def long(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim(ASYNC_REQUEST="long")


def test_done_within_the_wait_is_the_normal_answer(long: ScimClient) -> None:
    answer = long("POST", "/Users", {"userName": "a"}, headers={"Prefer": "respond-async, wait=10"})

    assert answer.status_code == 201
    assert answer.json["userName"] == "a"
    assert answer.headers["ETag"] == answer.json["meta"]["version"]
    assert answer.headers["Location"] == answer.json["meta"]["location"]
    taken = long("POST", "/Users", {"userName": "A"}, headers={"Prefer": "wait=10"})
    error_of(taken, 409, "uniqueness")
    assert long("DELETE", answer.headers["Location"], headers={"Prefer": "wait=10"}).status_code == 204


def test_not_done_within_the_wait_is_202_and_done_once(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="long", EMBEDDED_WORKER="false")

    locations = []
    for wait in (0, 1):
        prefer = f"wait={wait}"
        answer = scim("POST", "/Users", {"userName": f"u{wait}"}, headers={"Prefer": prefer})
        locations.append(accepted(answer, prefer))
    scim.work()
    scim.work()

    assert [result_of(scim, location)["status"] for location in locations] == ["201", "201"]
    assert scim("GET", "/Users").json["totalResults"] == 2


def test_who_waits_leaves_threads_to_others(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(ASYNC_REQUEST="long", EMBEDDED_WORKER="false", THREADS="2")
    answers: Queue[int] = Queue()

    def ask(name: str) -> None:
        answers.put(scim("POST", "/Users", {"userName": name}, headers={"Prefer": "wait=30"}).status_code)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    # Half of the threads is one.
    first = answers.get()
    scim.work()
    for thread in threads:
        thread.join()

    assert (first, answers.get()) == (202, 201)


@pytest.mark.sqlite
def test_who_waits_is_told_202_when_the_database_goes_away(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    scim = make_scim(ASYNC_REQUEST="long", EMBEDDED_WORKER="false")

    def gone(*_: Any) -> None:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(Jobs, "status", gone)
    answer = scim("POST", "/Users", {"userName": "a"}, headers={"Prefer": "wait=5"})
    monkeypatch.undo()

    scim.work()
    assert result_of(scim, accepted(answer, "wait=5"))["status"] == "201"


# -- nothing is lost, and nothing is done twice


def test_results_are_there_for_every_process_and_after_a_restart(serve: Callable[..., Server]) -> None:
    server = serve(ASYNC_REQUEST="request", WORKERS="2", LOGLEVEL="ERROR")
    location = server("POST", "/Users", json={"userName": "a"}, headers=ASYNC).headers["Location"]
    assert waited(server, location)["status"] == "201"

    server.kill()
    server.start()

    for _ in range(5):
        assert server("GET", location).json()["status"] == "201"


def waited(server: Server, location: str, seconds: float = 60) -> Any:
    """Return a result, once it is there."""
    deadline = time.monotonic() + seconds
    while True:
        answer = server("GET", location)
        if answer.status_code == 200:
            return answer.json()
        assert answer.status_code == 202, answer.text
        assert time.monotonic() < deadline, f"{location} is not done"
        time.sleep(0.1)


class _Writing:
    """A client that sends requests for later without pause, and remembers what was accepted."""

    def __init__(self, server: Server, number: int) -> None:
        self._server, self._number = server, number
        self.over = threading.Event()
        self.accepted: dict[str, tuple[str, str]] = {}

    def run(self) -> None:
        count = 0
        while not self.over.is_set():
            count += 1
            try:
                self._send(f"u{self._number}-{count}")
            except requests.RequestException:
                time.sleep(0.05)

    def _send(self, name: str) -> None:
        answer = self._server("POST", "/Users", json={"userName": name}, headers=ASYNC)
        if answer.status_code == 202:
            self.accepted[answer.headers["Location"]] = ("201", name)
        if len(self.accepted) % 5:
            return
        answer = self._server("POST", "/Users", json={"userName": f"{name}-x", "title": "1"})
        if answer.status_code != 201:
            return
        user = answer.json()
        condition = {**ASYNC, "If-Match": user["meta"]["version"]}
        where = f"/Users/{user['id']}"
        body = {"userName": f"{name}-x", "title": "2"}
        answer = self._server("PUT", where, json=body, headers=condition)
        if answer.status_code == 202:
            self.accepted[answer.headers["Location"]] = ("200", f"{name}-x")
            answer = self._server("DELETE", where, headers=ASYNC)
            if answer.status_code == 202:
                self.accepted[answer.headers["Location"]] = ("204", f"{name}-x")


def until_accepted_more(clients: list[_Writing]) -> None:
    """Return once another request has been accepted."""
    before, deadline = sum(len(client.accepted) for client in clients), time.monotonic() + 60
    while sum(len(client.accepted) for client in clients) == before:
        assert time.monotonic() < deadline, "nobody is served any more"
        time.sleep(0.01)


@pytest.mark.full("irods", "jumpcloud", "lines")
def test_every_202_ends_in_one_effect_and_one_result_whoever_is_killed(
    request: pytest.FixtureRequest, serve: Callable[..., Server]
) -> None:
    # The others differ from one of these only in what their adapters are tested for.
    many = request.node.callspec.params["backend"] in ("sqlite", "postgresql", "files", "mongodb", "irods")
    times = 20 if many and os.environ.get("SCIM_TEST_FULL") else 6
    settings = {"ASYNC_REQUEST": "request", "WORKERS": "2", "LOGLEVEL": "CRITICAL", "PAGE_SIZE": "100000"}
    # No backend here takes long, and a write that was under way when a process died waits for so long.
    server = serve(**settings, SETTLING_TIME="5")
    clients = [_Writing(server, number) for number in range(2)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        for _ in range(times):
            until_accepted_more(clients)
            time.sleep(random.uniform(0, 0.2))
            server.kill()
            server.start()
    finally:
        for client in clients:
            client.over.set()
    for thread in threads:
        thread.join()

    outcomes = {location: expected for client in clients for location, expected in client.accepted.items()}
    assert len(outcomes) > 5
    for location, (status, name) in outcomes.items():
        result = waited(server, location)
        # Done twice, each of them would have failed the second time.
        assert result["status"] == status, (name, result)
    names = [user["userName"] for user in server("GET", "/Users").json()["Resources"]]
    assert len(names) == len(set(names))
    created = {name for status, name in outcomes.values() if status == "201"}
    assert created <= set(names)


def test_a_group_that_is_large_is_not_repeated(later: ScimClient) -> None:
    members = [{"value": later.user(f"u{number}")["id"]} for number in range(101)]
    body = {"schemas": [GROUP], "displayName": "g", "members": members}
    group = later("POST", "/Groups", body).json

    location = accepted(later("PATCH", f"/Groups/{group['id']}", patch(displayName="h"), headers=ASYNC))
    later.work()

    result = result_of(later, location)
    assert result["status"] == "204" and "response" not in result
    assert later("GET", f"/Groups/{group['id']}").json["displayName"] == "h"
