"""Processes of commit 8a276f1 write beside new ones: each event arrives once, and in order after a second.

Each asynchronous request is carried out once, by a process that can decrypt it. An old process is its SQL
statements here, as that commit has them. The tests look at outcomes alone: SETs that arrive, results of
requests, requests that an old process gets.
"""

import base64
import hashlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from cryptography.fernet import Fernet

from schema.registry import load_registry
from storage.adapter import StorageAdapter, StoredResource
from storage.sql.opening import open_database
from tests.conftest import KEY, USER, ScimClient
from tests.events import EVENT, PATCH_OP, kinds, patch, payload, sets
from tests.in_flight import read
from tests.receivers import HttpReceiver

# An old change that is committed so many seconds before a new one is published before it.
APART_S = 1.1
TOGETHER = ("sqlite", "postgresql", "mariadb")
SETTINGS = {"SET_POLL_ENABLED": "true", "ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
_INTENT_MS = 120_000
_LEASE_MS = 8_000
# Whatever lease a process takes now is over after so long.
MUCH_LATER_MS = 86_400_000

Told = list[tuple[str, str]]


class OldProcess:
    """The state database as a process of commit 8a276f1 uses it: its statements, one transaction each."""

    def __init__(self, url: str) -> None:
        self._database = open_database(url, 1)
        self._returning = " RETURNING seq" if self._database.dialect.name == "postgresql" else ""

    def add(self, change: dict[str, Any]) -> None:
        """Keep a change (`Outbox.add`)."""
        with self._database.transaction():
            self._insert(0, change)

    def begin(self, plan: dict[str, Any]) -> int:
        """Keep a write-ahead record and return its number (`Outbox.begin`)."""
        with self._database.transaction():
            return self._insert(_now_ms() + _INTENT_MS, {"plan": plan})

    def confirm(self, seq: int, change: dict[str, Any] | None) -> None:
        """Put a change in place of a write-ahead record, None for a refused write (`Outbox.confirm`)."""
        run = self._database.run
        with self._database.transaction():
            if change is None:
                run("DELETE FROM scim_outbox WHERE seq = ?", (seq,))
                return
            statement = "UPDATE scim_outbox SET due_at = 0, body = ? WHERE seq = ?"
            if run(statement, (orjson.dumps(change).decode(), seq)).rowcount == 0:
                self._insert(0, change)

    def accept(self, method: str, resource_id: str, body: dict[str, Any]) -> str:
        """Keep an asynchronous request for a user and return its transaction (`Jobs.accept`)."""
        request: dict[str, Any] = {
            "method": method,
            "resource_type": "User",
            "resource_id": resource_id,
            "body": body,
            "if_match": None,
            "if_none_match": None,
            "profile": "default",
            "attributes": [],
            "excluded_attributes": [],
        }
        key = base64.urlsafe_b64encode(hashlib.sha256(b"scim job\0" + KEY.encode()).digest())
        sealed = Fernet(key).encrypt(orjson.dumps({"single": request})).decode()
        principal = f"api-key {hashlib.sha256(KEY.encode()).hexdigest()[:8]}"
        txn = str(uuid4())
        with self._database.transaction():
            self._database.run(
                "INSERT INTO scim_job (txn, principal, target, accepted_at, request, lease_until, "
                "attempts, done, total) VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?)",
                (txn, principal, f"/Users/{resource_id}", _now_ms(), sealed, 1),
            )
        return txn

    def claim(self, after_ms: int = 0) -> str | None:
        """Take over the first request that is due after so long; return its transaction (`Jobs.claim`)."""
        now = _now_ms() + after_ms
        while True:
            row = self._database.row(
                "SELECT j.txn, j.principal, j.request, j.accepted_at, j.attempts, j.state FROM scim_job j "
                "WHERE j.done_at IS NULL AND j.lease_until < ? AND NOT EXISTS (SELECT 1 FROM scim_job e "
                "WHERE e.principal = j.principal AND e.done_at IS NULL AND e.seq < j.seq "
                "AND (e.target = j.target OR e.target = ? OR j.target = ?)) ORDER BY j.seq LIMIT 1",
                (now, "*", "*"),
            )
            if row is None:
                return None
            with self._database.transaction():
                claimed = self._database.run(
                    "UPDATE scim_job SET owner = ?, lease_until = ?, attempts = attempts + 1 "
                    "WHERE txn = ? AND done_at IS NULL AND lease_until < ?",
                    ("old", now + _LEASE_MS, row[0], now),
                )
            if claimed.rowcount:
                return str(row[0])

    def lease(self, txn: str, for_ms: int = _LEASE_MS) -> bool:
        """Renew the lease of a request, and return whether it was held (`Jobs._stay`)."""
        with self._database.transaction():
            renewed = self._database.run(
                "UPDATE scim_job SET lease_until = ? WHERE txn = ? AND owner = ? AND done_at IS NULL",
                (_now_ms() + for_ms, txn, "old"),
            )
        return bool(renewed.rowcount)

    def transaction(self) -> AbstractContextManager[None]:
        return self._database.transaction()

    def close(self) -> None:
        self._database.close()

    def _insert(self, due_at: int, body: dict[str, Any]) -> int:
        statement = "INSERT INTO scim_outbox (made_at, due_at, body) VALUES (?, ?, ?)"
        params = (_now_ms(), due_at, orjson.dumps(body).decode())
        cursor = self._database.run(statement + self._returning, params)
        return int(cursor.fetchone()[0] if self._returning else cursor.lastrowid)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def change(uri: str, version: str, kind: str = "patch", txn: str = "") -> dict[str, Any]:
    """Return a change of one resource as commit 8a276f1 keeps it (`Change.as_json`)."""
    event: dict[str, Any] = {
        "kind": f"{EVENT}:prov:{kind}",
        "subject": [uri, uri.rpartition("/")[2], None],
        "version": version,
        "attributes": ["title"],
        "data": None,
        "payload": {},
    }
    return {"txn": txn or uuid4().hex, "events": [event], "feeds": [], "feed": None, "members": []}


def plan(kind: str, stored: StoredResource, txn: str) -> dict[str, Any]:
    """Return the write-ahead record of a write to a user as commit 8a276f1 keeps it (`changes.plan`)."""
    return {
        "kind": kind,
        "type": "User",
        "id": stored.id,
        "txn": txn,
        "text": stored.text,
        "version": stored.version,
        "dates": [stored.created, stored.last_modified],
        "joined": [],
        "left": [],
        "feeds": [],
    }


def versions(found: list[dict[str, Any]]) -> Told:
    """Return the resource and the version in each event that has one."""
    told = [(one["sub_id"]["uri"], payload(one).get("version")) for one in found]
    return [(uri, version) for uri, version in told if version is not None]


@pytest.fixture
def state_url(backend: Callable[[set[str]], dict[str, str]], tmp_path: Path) -> str:
    """The URL of the state database of all processes."""
    return backend(set()).get("DATABASE_URL") or f"sqlite:///{tmp_path}/rolling.db"


@pytest.fixture
def make_new(
    make_scim: Callable[..., ScimClient], request: pytest.FixtureRequest, state_url: str
) -> Callable[..., ScimClient]:
    """Start a new server on the store; the test does the work beside requests."""
    is_together = request.node.callspec.params["backend"] in TOGETHER
    state = {} if is_together else {"STATE_DATABASE_URL": state_url}

    def make(**environ: str) -> ScimClient:
        return make_scim(**{**SETTINGS, **state, **environ})

    return make


@pytest.fixture
def old(state_url: str) -> Iterator[OldProcess]:
    process = OldProcess(state_url)
    yield process
    process.close()


def retitled(scim: ScimClient, uri: str, title: str) -> tuple[str, str]:
    """Have the new server change a user, and return the resource and its version."""
    answer = patch(scim, uri, {"op": "replace", "path": "title", "value": title})
    return uri, answer.headers["ETag"]


def test_changes_of_old_and_new_processes_arrive_once_and_in_order(
    make_new: Callable[..., ScimClient], old: OldProcess, receiver: HttpReceiver
) -> None:
    scim = make_new(SET_PUSH_URL=receiver.url)
    ann, bob, cleo = (f"/Users/{scim.user(name)['id']}" for name in ("ann", "bob", "cleo"))
    scim.work()
    before = len(receiver.claims)

    # No dispatcher runs until all is written: the order comes from the rows alone.
    old.add(change(ann, 'W/"old 1"'))
    old.add(change(cleo, 'W/"old 1"'))
    new_of_bob = retitled(scim, bob, "1")
    time.sleep(APART_S)
    new_of_ann, new_of_cleo = retitled(scim, ann, "2"), retitled(scim, cleo, "2")
    old.add(change(bob, 'W/"old 2"'))
    scim.work()
    # Here one runs in between.
    old.add(change(cleo, 'W/"old 3"'))
    scim.work()
    last_of_cleo = retitled(scim, cleo, "4")
    scim.work()

    told = versions(receiver.claims[before:])
    assert [one for one in told if one[0] == ann] == [(ann, 'W/"old 1"'), new_of_ann]
    assert Counter(one for one in told if one[0] == bob) == Counter([new_of_bob, (bob, 'W/"old 2"')])
    assert [one for one in told if one[0] == cleo] == [
        *((cleo, 'W/"old 1"'), new_of_cleo),
        *((cleo, 'W/"old 3"'), last_of_cleo),
    ]
    assert versions(sets(scim))[3:] == told
    jtis = [claims["jti"] for claims in receiver.claims]
    assert len(set(jtis)) == len(jtis)
    assert [one["jti"] for one in sets(scim)] == jtis


def test_old_and_new_processes_that_write_at_once_lose_nothing(
    make_new: Callable[..., ScimClient], old: OldProcess, receiver: HttpReceiver
) -> None:
    # With the threads of a server, which publish meanwhile.
    scim = make_new(SET_PUSH_URL=receiver.url, EMBEDDED_WORKER="true")
    uri = f"/Users/{scim.user('ann')['id']}"
    written: Told = []

    def write() -> None:
        for number in range(20):
            version = f'W/"old {number}"'
            old.add(change(uri, version))
            written.append((uri, version))
        old.close()

    writer = threading.Thread(target=write)
    writer.start()
    made = [retitled(scim, uri, str(number)) for number in range(20)]
    writer.join()

    expected = Counter(written + made)
    assert receiver.wait_for(lambda: not expected - Counter(versions(receiver.claims)), 20)
    assert Counter(versions(receiver.claims[1:])) == expected
    told = versions(receiver.claims)
    for of_one in (written, made):
        assert [one for one in told if one in of_one] == of_one, "each process keeps its order"


# -- asynchronous requests


def titled(title: str) -> dict[str, Any]:
    """Return the PATCH that gives a user this title."""
    operation = {"op": "replace", "path": "title", "value": title}
    return {"schemas": [PATCH_OP], "Operations": [operation]}


def accepted(scim: ScimClient, method: str, path: str, body: dict[str, Any]) -> str:
    """Have the new server accept a request for later, and return its transaction."""
    answer = scim(method, path, body, {"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    return str(answer.headers["Set-Txn"])


def end_leases(scim: ScimClient) -> None:
    """Let the leases of new processes be over, as if their processes were killed long ago."""
    database = scim.app.extensions["scim.delivery"].database
    with database.transaction():
        database.run("UPDATE scim_job SET due_at = 0 WHERE due_at > 0 AND done_at IS NULL")


def completed(scim: ScimClient) -> list[str]:
    """Return the transactions of the requests that are completed, in this order."""
    return [one["txn"] for one in sets(scim) if f"{EVENT}:misc:asyncresp" in one["events"]]


def test_an_old_process_gets_no_request_that_a_new_process_accepted(
    make_new: Callable[..., ScimClient], old: OldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.protocol.jobs._ALIVE_S", 0.01)
    scim = make_new()
    uri = f"/Users/{scim.user('ann')['id']}"
    jobs = scim.app.extensions["scim.delivery"].jobs

    txn = accepted(scim, "PATCH", uri, titled("later"))

    assert old.claim(MUCH_LATER_MS) is None, "it waits"
    job = jobs.claim("one")
    assert job is not None and job.txn == txn
    assert old.claim(MUCH_LATER_MS) is None, "it is carried out"
    with jobs.kept(job):
        time.sleep(0.1)
    assert old.claim(MUCH_LATER_MS) is None, "its lease was renewed"
    jobs.require_held(job)
    assert old.claim(MUCH_LATER_MS) is None, "its change is sent"
    assert jobs.put_back(job)
    assert old.claim(MUCH_LATER_MS) is None, "it is put back"
    end_leases(scim)
    assert jobs.claim("two") is not None
    end_leases(scim)
    assert old.claim(MUCH_LATER_MS) is None, "its worker was killed"
    scim.work()
    assert old.claim(MUCH_LATER_MS) is None, "it is done"
    assert scim("GET", f"/Async/{txn}").json["response"]["title"] == "later"
    assert kinds(sets(scim))[1:] == [("prov:patch:notice", uri), ("misc:asyncresp", uri)]


def test_a_request_in_the_hands_of_an_old_process_is_taken_over_once_its_lease_is_over(
    make_new: Callable[..., ScimClient], old: OldProcess
) -> None:
    scim = make_new()
    resource_id = scim.user("ann")["id"]
    uri = f"/Users/{resource_id}"
    jobs = scim.app.extensions["scim.delivery"].jobs
    txn = old.accept("PATCH", resource_id, titled("later"))
    assert old.claim() == txn

    scim.work()
    assert completed(scim) == []
    assert old.lease(txn, -1)
    assert not old.lease(str(uuid4())) and jobs.is_due()
    job = jobs.claim("killed")

    assert job is not None and (job.txn, job.attempts) == (txn, 2)
    assert not old.lease(txn), "the old process has lost it"
    assert old.claim(MUCH_LATER_MS) is None
    end_leases(scim)
    assert old.claim(MUCH_LATER_MS) is None
    scim.work()
    assert scim("GET", f"/Async/{txn}").json["response"]["title"] == "later"
    assert kinds(sets(scim))[1:] == [("prov:patch:notice", uri), ("misc:asyncresp", uri)]


def test_requests_for_one_user_are_carried_out_in_the_order_in_which_old_and_new_processes_accepted_them(
    make_new: Callable[..., ScimClient], old: OldProcess
) -> None:
    scim = make_new()
    resource_id = scim.user("ann")["id"]
    uri = f"/Users/{resource_id}"
    jobs = scim.app.extensions["scim.delivery"].jobs

    txns = [
        accepted(scim, "PATCH", uri, titled("1")),
        old.accept("PATCH", resource_id, titled("2")),
        accepted(scim, "PATCH", uri, titled("3")),
    ]
    assert old.claim(MUCH_LATER_MS) is None, "the first request waits"
    assert jobs.claim("killed").txn == txns[0]
    assert old.claim(MUCH_LATER_MS) is jobs.claim("other") is None, "the first request is carried out"
    end_leases(scim)
    scim.work()
    assert completed(scim) == txns
    assert scim("GET", uri).json["title"] == "3"

    txns += [old.accept("PATCH", resource_id, titled("4")), accepted(scim, "PATCH", uri, titled("5"))]
    assert old.claim() == txns[3]
    scim.work()
    assert completed(scim) == txns[:3], "the old process carries out the first of two"
    assert old.lease(txns[3], -1)
    scim.work()
    assert completed(scim) == txns
    assert scim("GET", uri).json["title"] == "5"


@pytest.mark.on(*TOGETHER)
@pytest.mark.parametrize("is_old_first", [True, False])
def test_of_an_old_and_a_new_process_that_claim_a_request_at_once_one_gets_it(
    make_new: Callable[..., ScimClient], old: OldProcess, is_old_first: bool
) -> None:
    scim = make_new()
    delivery = scim.app.extensions["scim.delivery"]
    txn = old.accept("POST", str(uuid4()), {"schemas": [USER], "userName": "bob"})
    got: dict[str, str | None] = {}

    def claim(name: str) -> None:
        job = delivery.jobs.claim("new") if name == "new" else None
        got[name] = old.claim() if name == "old" else job and job.txn

    def claim_second() -> None:
        claim(second)
        (delivery.database if second == "new" else old).close()

    first, second = ("old", "new") if is_old_first else ("new", "old")
    thread = threading.Thread(target=claim_second)
    with old.transaction() if is_old_first else delivery.database.transaction():
        claim(first)
        # The second process has found the request too when the first one commits.
        thread.start()
        time.sleep(0.3)
        assert second not in got
    thread.join()

    assert got == {first: txn, second: None}


@pytest.mark.on(*TOGETHER)
def test_requests_that_old_and_new_processes_claim_at_once_are_carried_out_once(
    make_new: Callable[..., ScimClient], old: OldProcess
) -> None:
    scim = make_new()
    of_old, of_new = [], []
    for number in range(20):
        body = {"schemas": [USER], "userName": f"old {number}"}
        of_old.append(old.accept("POST", str(uuid4()), body))
        of_new.append(accepted(scim, "POST", "/Users", {**body, "userName": f"new {number}"}))
    taken = [old.claim()]

    def claim() -> None:
        while len(taken) < 10 and (txn := old.claim()):
            taken.append(txn)
        old.close()

    claiming = threading.Thread(target=claim)
    claiming.start()
    scim.work()
    claiming.join()

    done = completed(scim)
    assert set(taken) <= set(of_old)
    assert sorted([*done, *taken]) == sorted(of_old + of_new), "each has one request to itself"
    # The old process is killed.
    assert all(old.lease(txn, -1) for txn in taken)
    scim.work()
    assert Counter(completed(scim)) == Counter(of_old + of_new)
    assert all(scim("GET", f"/Async/{txn}").json["status"] == "201" for txn in of_old + of_new)
    assert Counter(kind for kind, _ in kinds(sets(scim))) == {"prov:create:notice": 40, "misc:asyncresp": 40}


def test_a_request_that_an_old_process_accepted_is_carried_out_once(
    make_new: Callable[..., ScimClient], old: OldProcess
) -> None:
    scim = make_new()
    resource_id = scim.user("ann")["id"]
    uri = f"/Users/{resource_id}"

    changed = old.accept("PATCH", resource_id, titled("later"))
    created = old.accept("POST", str(uuid4()), {"schemas": [USER], "userName": "bob"})
    for _ in range(3):
        scim.work()

    assert scim("GET", f"/Async/{changed}").json["response"]["title"] == "later"
    other = scim("GET", f"/Async/{created}").json["location"]
    told = kinds(sets(scim))
    assert [one for one in told if one[1] == uri] == [
        *(("prov:create:notice", uri), ("prov:patch:notice", uri)),
        ("misc:asyncresp", uri),
    ]
    assert told[-2:] == [("prov:create:notice", other), ("misc:asyncresp", other)]


# -- write-ahead records, where resources and state do not share transactions


@pytest.fixture
def old_state(request: pytest.FixtureRequest, state_url: str) -> None:
    """Make the state database as commit 8a276f1 does."""
    if request.node.callspec.params["backend"] in TOGETHER:
        pytest.skip("commit 8a276f1 kept no write-ahead records here")
    file = Path(state_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        for statement in read("state").statements:
            if statement.startswith(("CREATE", 'INSERT INTO "scim_state"')):
                database.execute(statement)


def user(name: str, resource_id: str = "", **more: str) -> StoredResource:
    """Return a user as an old process hands it to the storage."""
    known = resource_id or uuid4().hex
    text = orjson.dumps({"schemas": [USER], "id": known, "userName": name, **more}).decode()
    now = "2026-11-29T10:00:00.000Z"
    return StoredResource(known, text, created=now, last_modified=now)


@pytest.mark.usefixtures("old_state")
def test_a_write_that_an_old_process_confirms_after_the_new_one_started_is_published_once(
    make_new: Callable[..., ScimClient], make_scim: Callable[..., ScimClient], old: OldProcess
) -> None:
    adapter: StorageAdapter = make_scim().app.extensions["scim.storage"]
    user_type = load_registry().resource_type("User")
    assert user_type is not None
    ann, bob, cleo = (adapter.create(user_type, user(name)) for name in ("ann", "bob", "cleo"))
    begun = {
        stored.id: old.begin(plan(kind, stored, stored.id))
        for kind, stored in (("patch", ann), ("patch", bob), ("delete", cleo))
    }

    # The write of ann is done before the new server starts, that of cleo after it.
    after = adapter.replace(user_type, user("ann", ann.id, title="new"), ann.version)

    scim = make_new()
    scim.work()
    adapter.delete(user_type, cleo.id, cleo.version)
    scim.work()
    assert sets(scim) == [], "the old process is about to confirm its writes"
    version = f'W/"{after.version}"'
    old.confirm(begun[ann.id], change(f"/Users/{ann.id}", version, txn=ann.id))
    # The backend refused this one.
    old.confirm(begun[bob.id], None)
    scim.work()
    old.confirm(begun[cleo.id], change(f"/Users/{cleo.id}", version, "delete", cleo.id))
    scim.work()
    scim.work()

    assert kinds(sets(scim)) == [
        ("prov:patch:notice", f"/Users/{ann.id}"),
        ("prov:delete", f"/Users/{cleo.id}"),
    ]
    assert versions(sets(scim)) == [(f"/Users/{ann.id}", version)]
