"""Processes of commit 8a276f1 write beside new ones: each event arrives once, and in order after a second.

An old process is its SQL statements here, as that commit has them. The tests look at outcomes alone:
SETs that arrive, results of requests.
"""

import base64
import hashlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from cryptography.fernet import Fernet

from schema.registry import load_registry
from storage.adapter import StorageAdapter, StoredResource
from storage.sql import open_database
from tests.conftest import KEY, USER, ScimClient
from tests.events import EVENT, kinds, patch, payload, sets
from tests.in_flight import read
from tests.receivers import HttpReceiver

# An old change that is committed so many seconds before a new one is published before it.
APART_S = 1.1
TOGETHER = ("sqlite", "postgresql", "mariadb")
SETTINGS = {"SET_POLL_ENABLED": "true", "ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
_INTENT_MS = 120_000

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


def test_a_request_that_an_old_process_accepted_is_carried_out_once(
    make_new: Callable[..., ScimClient], old: OldProcess
) -> None:
    scim = make_new()
    resource_id = scim.user("ann")["id"]
    uri = f"/Users/{resource_id}"
    operation = {"op": "replace", "path": "title", "value": "later"}
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}

    changed = old.accept("PATCH", resource_id, body)
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
