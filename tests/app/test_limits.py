"""How often clients may ask, and addresses may fail to say who they are: 429 with Retry-After."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.auth.limits import RequestLimits, Turns, rate_text
from app.configuration.settings import Settings, SettingsError
from app.protocol.context import Principal
from app.protocol.errors import TooManyRequests
from tests.brokers import PASSWORD, RedisServer
from tests.conftest import KEY, ScimClient, error_of
from tests.events import BULK
from tests.tokens import Client

# Counting does not depend on the backend.
pytestmark = pytest.mark.on("sqlite")

Make = Callable[..., ScimClient]
# Windows of an hour do not end during a test.
TWO = "2/h"


def statuses(client: Any, count: int, path: str = "/Users") -> list[int]:
    return [client("GET", path).status_code for _ in range(count)]


def test_without_a_rate_nobody_is_limited(scim: ScimClient) -> None:
    assert set(statuses(scim, 100)) == {200}


def test_each_client_has_the_rate_of_the_setting(make_scim: Make) -> None:
    scim = make_scim(RATE_LIMIT=TWO)
    other = Client(scim, "other", "scim.read")

    assert statuses(scim, 3) == [200, 200, 429]
    assert statuses(other, 3) == [200, 200, 429]
    answer = scim("GET", "/Users/absent")
    assert "2/h" in error_of(answer, 429)
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600


def test_every_way_counts(make_scim: Make) -> None:
    scim = make_scim(RATE_LIMIT="4/h")
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}

    assert scim("GET", "/Users").status_code == 200
    assert scim("POST", "/Users/.search", search).status_code == 200
    assert scim("POST", "/Users", {"userName": "a"}).status_code == 201
    assert scim("GET", "/metrics").status_code == 200
    # What needs no credentials has no client to count for.
    assert set(statuses(scim, 3, "/ServiceProviderConfig") + statuses(scim, 3, "/health")) == {200}
    for method, path, body in (("GET", "/Users", None), ("POST", "/Users", {"userName": "b"})):
        error_of(scim(method, path, body), 429)


def test_a_token_has_a_rate_of_its_own(make_scim: Make) -> None:
    scim = make_scim(RATE_LIMIT=TWO)
    fast, slow = Client(scim, "fast", "scim.read", rate="4/h"), Client(scim, "slow", "scim.read", rate="1/h")

    assert statuses(fast, 5) == [200] * 4 + [429]
    assert statuses(slow, 2) == [200, 429]


def test_what_is_refused_changes_nothing(make_scim: Make) -> None:
    scim = make_scim()
    slow = Client(scim, "slow", "scim.read scim.write", rate="1/h")

    assert slow("POST", "/Users", {"userName": "a"}).status_code == 201
    error_of(slow("POST", "/Users", {"userName": "b"}), 429)
    assert scim("GET", "/Users").json["totalResults"] == 1


def test_an_address_fails_as_often_as_the_setting_says(make_scim: Make) -> None:
    scim = make_scim(AUTH_FAILURE_LIMIT=TWO)
    token = Client(scim, "known", "scim.read")

    def failed(key: str, address: str = "192.0.2.1") -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return scim("GET", "/Users", headers=headers, environ_base={"REMOTE_ADDR": address})

    assert [failed(key).status_code for key in ("a", "b", "c", "d")] == [401, 401, 429, 429]
    assert int(failed("e").headers["Retry-After"]) >= 1
    assert failed("a", "192.0.2.2").status_code == 401
    # Who is known is answered.
    assert failed(KEY).status_code == failed(token.text).status_code == 200


def test_the_limit_of_failures_can_be_switched_off(make_scim: Make) -> None:
    scim = make_scim(AUTH_FAILURE_LIMIT="off")

    codes = {scim("GET", "/Users", headers={"Authorization": "Bearer x"}).status_code for _ in range(320)}

    assert codes == {401}


# -- several processes


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


def test_processes_with_one_redis_count_together(make_scim: Make, redis_server: RedisServer) -> None:
    settings = {"RATE_LIMIT": "3/h", "RATE_LIMIT_URL": redis_server.url}
    one, two = make_scim(**settings), make_scim(**settings)

    assert statuses(one, 2) == [200, 200]
    assert statuses(two, 2) == [200, 429]
    error_of(one("GET", "/Users"), 429)


def test_without_its_counter_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    gone = RedisServer()
    limits = RequestLimits("1/h", "1/h", gone.url)
    client = Principal("id", "name", "token")
    limits.admit(client)
    with pytest.raises(TooManyRequests):
        limits.admit(client)

    gone.stop()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            limits.admit(client)
            limits.require_patience("192.0.2.1")
            limits.failed("192.0.2.1")

    assert [record.getMessage() for record in caplog.records] == [
        "RATE_LIMIT_URL: requests are not counted: ConnectionError"
    ]
    assert PASSWORD not in caplog.text


# -- Bulk


def test_a_client_has_so_many_bulk_requests_under_way(make_scim: Make) -> None:
    scim = make_scim(BULK_MAX_CONCURRENT="1")
    turns, client = Turns(1), Principal("id", "name", "token")
    body = {"schemas": [BULK], "Operations": [{"method": "DELETE", "path": "/Users/absent"}]}

    with turns.turn(client):
        with pytest.raises(TooManyRequests) as caught, turns.turn(client):
            raise AssertionError
        with turns.turn(Principal("other", "other", "token")):
            pass
    with turns.turn(client):
        pass
    assert caught.value.retry_after_s == 1
    # One after the other, any number is carried out.
    assert {scim("POST", "/Bulk", body).status_code for _ in range(3)} == {200}


def test_bulk_requests_at_the_same_time_are_refused(
    make_scim: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scim = make_scim(BULK_MAX_CONCURRENT="1")
    bulk = scim.app.extensions["scim.base"].bulk
    run, entered, leave = bulk.run, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        entered.set()
        assert leave.wait(30)
        return run(*arguments)

    monkeypatch.setattr(bulk, "run", slow)
    body = {"schemas": [BULK], "Operations": [{"method": "DELETE", "path": "/Users/absent"}]}
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(scim("POST", "/Bulk", body).status_code))
    first.start()
    assert entered.wait(30)
    second = scim("POST", "/Bulk", body)
    leave.set()
    first.join()

    assert answers == [200]
    error_of(second, 429)
    assert second.headers["Retry-After"] == "1"


# -- settings


@pytest.mark.parametrize("text", ["25/s", " 600/m", "10000/h "])
def test_a_rate_is_a_number_for_a_time(text: str) -> None:
    assert rate_text(text) == text.strip()


@pytest.mark.parametrize("text", ["0/s", "25", "25/d", "-1/s", "1.5/s", "25/ s", "x/s", "1000000/s"])
def test_what_is_no_rate_ends_the_start(text: str) -> None:
    for name in ("RATE_LIMIT", "AUTH_FAILURE_LIMIT"):
        with pytest.raises(SettingsError, match=f"{name}: must be a rate"):
            Settings.from_env({name: text})


def test_the_url_of_the_counter_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"RATE_LIMIT_URL": "http://hush-hush@example.com"})
    assert "hush-hush" not in str(caught.value)
    assert "hush-hush" not in Settings.from_env({"RATE_LIMIT_URL": "redis://:hush-hush@r"}).shown()
