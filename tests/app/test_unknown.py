"""Writes that the backend did not confirm: one effect and its event, or an answer that says so."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from set_delivery.clock import now_ms
from tests.conftest import KEY, ScimClient, error_of
from tests.cutting import CuttingProxy
from tests.events import BULK, kinds, sets
from tests.upstream import UPSTREAM_KEY, Upstream

ASYNC = {"Prefer": "respond-async"}
UNCONFIRMED = "the storage did not confirm the change"


class Gate:
    """An upstream whose POSTs of resources wait until they may be carried out, or are dropped."""

    def __init__(self) -> None:
        self.is_shut = True
        self.drops = False
        self.opened = threading.Event()
        self.arrived = threading.Event()
        self.done = threading.Event()

    def around(self, app: Any) -> Any:
        def served(environ: dict[str, Any], start_response: Any) -> Any:
            is_create = environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] in ("/Users", "/Groups")
            if not is_create or not self.is_shut:
                return app(environ, start_response)
            # All of it is here, whatever becomes of the client.
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            self.arrived.set()
            self.opened.wait(30)
            if self.drops:
                start_response("500 Oops", [("Content-Length", "0")])
                return [b""]
            answer = app(environ, start_response)
            self.done.set()
            return answer

        return served

    def open(self) -> None:
        """Carry out what waits, and return when that is done."""
        self.opened.set()
        assert self.done.wait(20)


class Service:
    """A service in front of an upstream that takes longer than it may."""

    def __init__(self, folder: Path) -> None:
        self.gate = Gate()
        self.upstream = Upstream(folder / "upstream.db", around=self.gate.around)
        self.environ = {
            "API_KEY": KEY,
            "FORWARD_SCIM_URL": self.upstream.url,
            "FORWARD_SCIM_KEY": UPSTREAM_KEY,
            "STATE_DATABASE_URL": f"sqlite:///{folder}/state.db",
            "REMOTE_TIMEOUT": "1",
            "ASYNC_REQUEST": "request",
            "SET_POLL_ENABLED": "true",
            "EMBEDDED_WORKER": "false",
            "LOGLEVEL": "ERROR",
        }
        self.app = create_app(Settings.from_env(self.environ))
        self.scim = ScimClient(self.app.test_client())
        self.delivery = self.app.extensions["scim.delivery"]
        # What the service asks first in its life is asked now.
        assert self.scim("GET", "/Groups").status_code == 200

    def run(self, statement: str) -> int:
        with self.delivery.database.transaction():
            return int(self.delivery.database.run(statement).rowcount)

    def look(self) -> None:
        """Look at what is not confirmed, as if it were time to, and do what is due."""
        self.run("UPDATE scim_intent SET due_at = 1")
        self.run("UPDATE scim_job SET due_at = 0 WHERE done_at IS NULL")
        self.delivery.settle_intents()
        self.scim.work()

    def settle(self) -> None:
        """Look as if the settling time were over."""
        ago = now_ms() - 600_000
        assert self.run(f"UPDATE scim_intent SET made_at = {ago}") == 1
        self.look()

    def intents(self) -> int:
        return int(self.delivery.database.row("SELECT COUNT(*) FROM scim_intent")[0])

    def posts(self) -> int:
        return sum(request.startswith("POST /Groups") for request in self.upstream.requests)

    def groups(self) -> list[str]:
        return [group["id"] for group in self.scim("GET", "/Groups").json["Resources"]]

    def accept(self) -> str:
        answer = self.scim("POST", "/Groups", {"displayName": "g"}, headers=ASYNC)
        assert answer.status_code == 202
        location: str = answer.headers["Location"]
        return location

    def result(self, location: str) -> Any:
        answer = self.scim("GET", location)
        return answer.json if answer.status_code == 200 else None

    def assert_one(self, location: str | None = None) -> None:
        """Assert that there is one group, and one event of it; of a request, one result as well."""
        (group,) = self.groups()
        assert self.posts() == 1
        assert self.intents() == 0
        told = [one for one in kinds(sets(self.scim)) if one[0].startswith("prov:")]
        assert told == [("prov:create:notice", f"/Groups/{group}")]
        if location is not None:
            result = self.result(location)
            assert (result["status"], result["location"]) == ("201", f"/Groups/{group}")
            assert len(sets(self.scim)) == 2

    def close(self) -> None:
        self.gate.opened.set()
        self.app.extensions["scim.driver"].stop()
        self.delivery.database.close()
        self.app.extensions["scim.storage"].close()
        self.upstream.stop()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path)) as service:
        yield service


# -- an upstream that is slower than REMOTE_TIMEOUT


def test_a_create_that_takes_effect_after_its_504_has_its_event(service: Service) -> None:
    answer = service.scim("POST", "/Groups", {"displayName": "g"})
    assert error_of(answer, 504).startswith(UNCONFIRMED)
    service.look()
    assert (service.intents(), service.groups(), sets(service.scim)) == (1, [], [])

    service.gate.open()
    service.look()
    service.look()

    service.assert_one()


def test_a_request_for_later_waits_for_its_effect(service: Service) -> None:
    location = service.accept()
    service.scim.work()
    service.look()
    assert service.result(location) is None
    assert service.posts() == 1

    service.gate.open()
    service.look()

    service.assert_one(location)


def test_what_did_not_take_effect_is_sent_again_when_that_is_certain(service: Service) -> None:
    location = service.accept()
    service.gate.drops = True
    service.gate.opened.set()
    service.scim.work()
    service.look()
    assert service.result(location) is None and service.posts() == 1

    service.gate.is_shut = False
    service.settle()

    assert service.result(location)["status"] == "201"
    assert len(service.groups()) == 1 and service.posts() == 2
    assert service.intents() == 0 and len(sets(service.scim)) == 2


def test_what_cannot_be_told_from_another_is_not_sent_again(service: Service) -> None:
    location = service.accept()
    service.gate.drops = True
    service.gate.opened.set()
    service.scim.work()
    service.gate.is_shut = False
    upstream, key = ScimClient(service.upstream.app.test_client()), f"Bearer {UPSTREAM_KEY}"
    for _ in range(2):
        answer = upstream("POST", "/Groups", {"displayName": "g"}, headers={"Authorization": key})
        assert answer.status_code == 201

    service.look()
    assert service.result(location) is None
    service.settle()

    result = service.result(location)
    assert result["status"] == "504" and result["response"]["detail"].startswith(UNCONFIRMED)
    assert service.posts() == 1 and service.intents() == 1
    assert [kind for kind, _ in kinds(sets(service.scim))] == ["misc:asyncresp"]


def test_a_sync_create_that_never_takes_effect_has_no_event(service: Service) -> None:
    service.gate.drops = True
    service.gate.opened.set()
    error_of(service.scim("POST", "/Groups", {"displayName": "g"}), 504)

    service.settle()

    assert (service.intents(), service.groups(), sets(service.scim)) == (0, [], [])


def test_in_bulk_an_unknown_operation_is_a_failed_one(service: Service) -> None:
    add = {"op": "add", "path": "members", "value": [{"value": "bulkId:g"}]}
    operations = [
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {"displayName": "g"}},
        {"method": "PATCH", "path": "/Groups/bulkId:g", "data": {"Operations": [add]}},
        {"method": "POST", "path": "/Groups", "bulkId": "h", "data": {"displayName": "h"}},
    ]
    body = {"schemas": [BULK], "failOnErrors": 2, "Operations": operations}

    results = service.scim("POST", "/Bulk", body).json["Operations"]

    assert [one["status"] for one in results] == ["504", "400"]
    assert results[0]["response"]["detail"].startswith(UNCONFIRMED)
    service.gate.open()
    service.look()
    service.assert_one()


def test_a_bulk_request_for_later_waits_for_each_effect(service: Service) -> None:
    operations = [
        {"method": "POST", "path": "/Groups", "bulkId": name, "data": {"displayName": name}} for name in "gh"
    ]
    body = {"schemas": [BULK], "Operations": operations}
    location = service.scim("POST", "/Bulk", body, headers=ASYNC).headers["Location"]
    service.scim.work()
    service.look()
    assert service.result(location) is None and service.posts() == 1

    service.gate.open()
    service.gate.is_shut = False
    service.look()

    assert [one["status"] for one in service.result(location)["Operations"]] == ["201", "201"]
    assert len(service.groups()) == service.posts() == 2
    assert service.intents() == 0 and len(sets(service.scim)) == 4


# -- workers that die, or sleep beyond their lease


def worker(service: Service, *words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, env={**os.environ, **service.environ}, start_new_session=True)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_stopped(process: "subprocess.Popen[bytes]") -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_worker_that_is_killed_over_a_create_leaves_one(service: Service) -> None:
    location = service.accept()
    process = worker(service, str(Path(sys.executable).parent / "scim"), "worker")
    assert service.gate.arrived.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    service.look()
    assert service.result(location) is None

    service.gate.open()
    service.look()

    service.assert_one(location)


@pytest.mark.parametrize("point", ["begin", "create"])
def test_a_worker_that_sleeps_beyond_its_lease_does_nothing_twice(service: Service, point: str) -> None:
    service.gate.is_shut = False
    location = service.accept()
    process = worker(service, sys.executable, "-m", "tests.stopping", point)
    until(lambda: is_stopped(process))
    # The other one carries the request out, or waits: the write may be on its way.
    service.look()
    assert (service.result(location) is not None) is (point == "begin")

    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(30) == 0
    service.look()

    service.assert_one(location)


# -- a directory that is slow


@pytest.mark.on("ldap")
def test_a_slow_directory_makes_one_user_and_one_event(
    backend: Callable[[set[str]], dict[str, str]], ldap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.ldap.server._ANSWER_S", 1)
    with closing(CuttingProxy(ldap.port)) as proxy:
        environ = {"API_KEY": KEY, "SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false", **backend(set())}
        environ["LDAP_HOSTNAME"] = environ["LDAP_HOSTNAME"].replace(str(ldap.port), str(proxy.port))
        app = create_app(Settings.from_env({"LOGLEVEL": "ERROR", "LDAP_PORT": str(proxy.port), **environ}))
        scim, delivery = ScimClient(app.test_client()), app.extensions["scim.delivery"]
        proxy.slow, proxy.delay_s = b"organizationalPerson", 2.5

        error_of(scim("POST", "/Users", {"userName": "a"}), 504)
        proxy.slow = None
        until(lambda: scim("GET", "/Users").json["totalResults"] == 1)
        with delivery.database.transaction():
            assert delivery.database.run("UPDATE scim_intent SET due_at = 1").rowcount == 1
        scim.work()

        (user,) = scim("GET", "/Users").json["Resources"]
        assert kinds(sets(scim)) == [("prov:create:notice", f"/Users/{user['id']}")]
        delivery.database.close()
        app.extensions["scim.storage"].close()


# -- a connection that is cut in COMMIT


@pytest.mark.on("postgresql", "mariadb")
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_commit_without_an_answer_is_told_as_what_it_is(
    request: pytest.FixtureRequest,
    backend: Callable[[set[str]], dict[str, str]],
    make_scim: Callable[..., ScimClient],
    is_lost: bool,
) -> None:
    port = request.getfixturevalue(request.node.callspec.params["backend"]).port
    url = backend(set())["DATABASE_URL"]
    with closing(CuttingProxy(port)) as proxy:
        scim = make_scim(
            DATABASE_URL=url.replace(f":{port}/", f":{proxy.port}/"),
            SET_POLL_ENABLED="true",
            EMBEDDED_WORKER="false",
            ASYNC_REQUEST="request",
        )
        proxy.is_lost = is_lost
        proxy.arm(b"scim_resource (", b"COMMIT")
        assert error_of(scim("POST", "/Users", {"userName": "a"}), 504).startswith(UNCONFIRMED)
        assert proxy.cuts == 1
        done = 0 if is_lost else 1
        assert scim("GET", "/Users").json["totalResults"] == len(sets(scim)) == done

        location = scim("POST", "/Users", {"userName": "b"}, headers=ASYNC).headers["Location"]
        # A connection that has sent COMMIT often sends only the name of a prepared statement.
        scim.app.extensions["scim.storage"].close()
        proxy.arm(b"scim_resource (", b"COMMIT")
        scim.work()
        database = scim.app.extensions["scim.delivery"].database
        with database.transaction():
            database.run("UPDATE scim_job SET due_at = 0 WHERE done_at IS NULL")
        scim.work()

        assert proxy.cuts == 2
        assert scim("GET", location).json["status"] == "201"
        assert scim("GET", "/Users").json["totalResults"] == done + 1
        told = ["prov:create:notice"] * (done + 1)
        assert [kind for kind, _ in kinds(sets(scim))] == [*told, "misc:asyncresp"]
