"""docs/how-to/rotate-keys.md: a rotation in its steps loses nothing."""

import hashlib
import os
import re
import signal
import sqlite3
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet

from app import create_app
from app.configuration.settings import Settings
from storage.errors import StorageUnavailable
from tests.conftest import ScimClient, Server, error_of
from tests.events import BULK
from tests.servers import PostgresqlServer
from tests.web_servers import wait_for, workers

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "rotate-keys.md").read_text()
OLD, NEW = "old" * 11, "new" * 11


def steps_of(setting: str) -> list[str]:
    """Return what a setting is in each step of the page."""
    found = re.findall(rf"^\d\. `{setting}=([a-z,]+)`", PAGE, re.MULTILINE)
    return ["old", *found]


def long(keys: str) -> str:
    """Return keys of the length that SECRET_KEYS demands, for those of the page."""
    return keys.replace("old", OLD).replace("new", NEW)


def neighbours_of(setting: str) -> list[tuple[str, str, str]]:
    return [(setting, before, after) for before, after in pairwise(steps_of(setting))]


NEIGHBOURS = [
    *neighbours_of("API_KEY"),
    *((name, long(before), long(after)) for name, before, after in neighbours_of("SECRET_KEYS")),
]
BY_HAND = {"ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
LATER = {"Prefer": "respond-async"}


def as_client(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def make_key(path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def later(scim: ScimClient, name: str, key: str = "old") -> str:
    """Have a user created later, and return where the result will be."""
    accepted = scim("POST", "/Users", {"userName": name}, {**as_client(key), **LATER})
    assert accepted.status_code == 202, accepted.text
    location: str = accepted.headers["Location"]
    return location


# Three users are there; a page holds one.
def first_page(scim: ScimClient, key: str = "old") -> str:
    """Return the cursor of the second page."""
    cursor: str = scim("GET", "/Users?cursor&count=1", headers=as_client(key)).json["nextCursor"]
    return cursor


def second_page(scim: ScimClient, cursor: str, key: str = "old") -> Any:
    return scim("GET", f"/Users?cursor={cursor}&count=1", headers=as_client(key))


@pytest.mark.on("sqlite", "postgresql", "mariadb", "files")
@pytest.mark.parametrize("setting, before, after", NEIGHBOURS)
def test_processes_of_two_steps_read_what_the_others_write(
    make_scim: Callable[..., ScimClient], setting: str, before: str, after: str
) -> None:
    # Both run while one process after the other is restarted.
    common = {"API_KEY": "old,new", **BY_HAND}
    first, second = (make_scim(**{**common, setting: keys}) for keys in (before, after))
    for name in "abc":
        assert first("POST", "/Users", {"userName": name}, as_client("old")).status_code == 201
    # Of the clients with a key that is valid in both steps.
    client = "new" if (setting, after) == ("API_KEY", "new") else "old"
    for accepting, working in ((first, second), (second, first)):
        location = later(accepting, f"by {id(accepting)}", client)
        working.work()

        done = accepting("GET", location, headers=as_client(client))
        assert done.json["status"] == "201", done.text
        assert second_page(working, first_page(accepting, client), client).status_code == 200


@pytest.mark.on("sqlite", "files", "ldap")
@pytest.mark.parametrize("secrets", [{}, {"SECRET_KEYS": OLD}])
def test_a_request_is_carried_out_though_every_api_key_is_replaced(
    make_scim: Callable[..., ScimClient], secrets: dict[str, str]
) -> None:
    location = later(make_scim(API_KEY="old", **BY_HAND, **secrets), "a")

    make_scim(API_KEY="new", **BY_HAND, **secrets).work()

    result = make_scim(API_KEY="new,old", **BY_HAND, **secrets)("GET", location, headers=as_client("old"))
    assert result.json["status"] == "201"


@pytest.mark.sqlite
def test_a_request_waits_for_a_secret_that_was_removed_too_early(
    make_scim: Callable[..., ScimClient],
) -> None:
    location = later(make_scim(API_KEY="old", SECRET_KEYS=OLD, **BY_HAND), "a")
    without = make_scim(API_KEY="old", SECRET_KEYS=NEW, **BY_HAND)

    without.work()
    waiting = without("GET", location, headers=as_client("old"))
    assert (waiting.status_code, waiting.json["progress"]) == (202, {"done": 0, "total": 1})

    run_now(without)
    make_scim(API_KEY="old", SECRET_KEYS=f"{NEW},{OLD}", **BY_HAND).work()
    assert without("GET", location, headers=as_client("old")).json["status"] == "201"


@pytest.mark.sqlite
def test_a_request_whose_secret_does_not_come_back_ends_with_410(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    location = later(make_scim(API_KEY="old", SECRET_KEYS=OLD, **BY_HAND), "a")
    without = make_scim(API_KEY="old", SECRET_KEYS=NEW, **BY_HAND)
    database = without.app.extensions["scim.delivery"].database
    with database.transaction():
        # It was accepted longer ago than ASYNC_RESULT_TTL.
        database.run("UPDATE scim_job SET accepted_at = accepted_at - ?", (86_400_001,))

    without.work()

    result = without("GET", location, headers=as_client("old")).json
    assert result["status"] == "410"
    assert "the keys of the server have changed" in result["response"]["detail"]
    assert "the keys of the server have changed" in PAGE
    assert "waits for its key" in caplog.text
    assert "waits for its key" in PAGE


def run_now(scim: ScimClient) -> None:
    """Let a request that was put back be due at once."""
    database = scim.app.extensions["scim.delivery"].database
    with database.transaction():
        assert database.run("UPDATE scim_job SET due_at = 0").rowcount == 1


@pytest.mark.on("sqlite", "files", "ldap")
@pytest.mark.parametrize("environ", [{}, {"SECRET_KEYS": OLD}, {"SET_POLL_ENABLED": "true"}])
@pytest.mark.parametrize("after", ["new,old", "old", "old,new", "eve,old"])
def test_a_cursor_stays_valid_as_long_as_the_key_of_its_client_does(
    make_scim: Callable[..., ScimClient], environ: dict[str, str], after: str
) -> None:
    environ = {"EMBEDDED_WORKER": "false", **environ}
    first = make_scim(API_KEY="old,new", **environ)
    for name in "abc":
        assert first("POST", "/Users", {"userName": name}, as_client("old")).status_code == 201
    cursor = first_page(first)

    later = make_scim(API_KEY=after, **environ)

    assert second_page(later, cursor).status_code == 200
    if "new" in after:
        error_of(second_page(later, cursor, "new"), 400, "invalidCursor")


@pytest.mark.on("sqlite", "files")
@pytest.mark.parametrize("change", [{"SET_POLL_ENABLED": "true"}, {"SECRET_KEYS": NEW}])
def test_a_cursor_stays_valid_when_the_server_gets_its_first_secret(
    make_scim: Callable[..., ScimClient], change: dict[str, str]
) -> None:
    first = make_scim(API_KEY="old", EMBEDDED_WORKER="false", CHANGE_LOG="off")
    for name in "abc":
        assert first("POST", "/Users", {"userName": name}, as_client("old")).status_code == 201

    changed = make_scim(API_KEY="old", EMBEDDED_WORKER="false", **change)

    assert second_page(changed, first_page(first)).status_code == 200
    # A process that has not restarted yet does not know the secret.
    error_of(second_page(first, first_page(changed)), 400, "invalidCursor")


@pytest.mark.sqlite
def test_what_release_0_2_0_made_is_read(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(API_KEY="old,new", SECRET_KEYS=NEW, **BY_HAND)
    for name in "abc":
        scim("POST", "/Users", {"userName": name}, as_client("old"))
    key = hashlib.sha256("\0".join(("cursor 2", "new", "old", "old,new")).encode()).digest()
    made = scim.app.extensions["scim.delivery"].keys.cursors("api-key " + sha256_of("old")[:8])
    assert made[-1] == key

    # What a request holds is that of the server of today; only the key is the one of 0.2.0.
    location = later(scim, "d")
    database = scim.app.extensions["scim.delivery"].database
    ((body,),) = database.rows("SELECT request FROM scim_job")
    jobs = [Fernet(urlsafe_b64encode(one)) for one in scim.app.extensions["scim.delivery"].keys.jobs()]
    former = Fernet(urlsafe_b64encode(hashlib.sha256(b"scim job\0old").digest()))
    with database.transaction():
        database.run("UPDATE scim_job SET request = ?", (former.encrypt(jobs[0].decrypt(body)).decode(),))

    scim.work()

    assert scim("GET", location, headers=as_client("old")).json["status"] == "201"


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.sqlite
def test_requests_under_way_survive_a_kill_and_the_next_step(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    common = {"ASYNC_REQUEST": "request", "WORKERS": "2", "LOGLEVEL": "ERROR"}
    server = serve(SECRET_KEYS=OLD, **common)
    locations = []
    for number in range(8):
        names = [f"u{number}-{n}" for n in range(50)]
        operations = [
            {"method": "POST", "path": "/Users", "bulkId": name, "data": {"userName": name}} for name in names
        ]
        body = {"schemas": [BULK], "Operations": operations}
        answer = server("POST", "/Bulk", json=body, headers=LATER)
        assert answer.status_code == 202, answer.text
        locations.append(answer.headers["Location"])

    server.kill()
    with closing(sqlite3.connect(tmp_path / "data" / "scim.db")) as database:
        (left,) = database.execute("SELECT count(*) FROM scim_job WHERE done_at IS NULL").fetchone()
    assert left > 0
    server.environ |= {"SECRET_KEYS": f"{NEW},{OLD}"}
    server.start()

    for location in locations:
        wait_for(partial(is_done, server, location), "the request is not carried out")
        statuses = [one["status"] for one in server("GET", location).json()["Operations"]]
        assert statuses == ["201"] * 50
    assert server("GET", "/Users?count=0").json()["totalResults"] == 400


def is_done(server: Server, location: str) -> bool:
    return server("GET", location).status_code == 200


@pytest.mark.on("sqlite", "postgresql", "mariadb", "files")
def test_servers_that_start_for_the_first_time_at_once_have_one_key(
    backend: Callable[[set[str]], dict[str, str]],
) -> None:
    environ = {**backend(set()), "ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
    with ThreadPoolExecutor(2) as pool:
        servers = list(pool.map(lambda n: Server(**environ, WORKERS="2", LOGLEVEL="ERROR"), range(2)))
    try:
        for name in "abc":
            assert servers[0]("POST", "/Users", json={"userName": name}).status_code == 201
        # Each of four processes writes and reads.
        for n in range(16):
            cursor = servers[n % 2]("GET", "/Users?cursor&count=1").json()["nextCursor"]
            assert servers[n // 2 % 2]("GET", f"/Users?cursor={cursor}&count=1").status_code == 200
    finally:
        for server in servers:
            server.kill()


@pytest.mark.sqlite
def test_a_server_that_cannot_make_its_secret_says_so(
    make_scim: Callable[..., ScimClient], backend: Callable[[set[str]], dict[str, str]]
) -> None:
    environ = {"API_KEY": "old", **BY_HAND}
    make_scim(SECRET_KEYS=OLD, **environ)
    read_only = backend(set())["DATABASE_URL"] + "?mode=ro"

    make_scim(SECRET_KEYS=OLD, **environ, DATABASE_URL=read_only)
    refusal = "the state database has no secret for keys, and cannot be written.*set SECRET_KEYS"
    with pytest.raises(StorageUnavailable, match=refusal):
        make_scim(**environ, DATABASE_URL=read_only)
    # Without events and asynchronous requests, the server needs no secret.
    make_scim(API_KEY="old", DATABASE_URL=read_only)


@pytest.mark.sqlite
def test_the_whole_of_several_keys_is_valid_as_prometheus_sends_it(
    make_scim: Callable[..., ScimClient],
) -> None:
    scim = make_scim(API_KEY="old,new")

    assert scim("GET", "/metrics", headers=as_client("old,new")).status_code == 200


@pytest.mark.sqlite
def test_a_hangup_reads_signing_keys_anew_and_no_other_setting(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    key, secret = tmp_path / "set.pem", tmp_path / "api_key"
    make_key(key)
    secret.write_text("old\n")
    server = serve(
        API_KEY="",
        API_KEY_FILE=str(secret),
        SET_POLL_ENABLED="true",
        SET_SIGNING_KEY_FILES=str(key),
        SET_SIGNING_ALGORITHM="EdDSA",
        WORKERS="1",
        LOGLEVEL="ERROR",
    )
    published = server("GET", "/.well-known/jwks.json").json()

    make_key(key)
    secret.write_text("new\n")
    server.process.send_signal(signal.SIGHUP)

    def is_new() -> bool:
        return bool(requests.get(f"{server.url}/.well-known/jwks.json", timeout=30).json() != published)

    wait_for(is_new, "the old key is published")
    assert server("GET", "/Users", headers=as_client("old")).status_code == 200
    assert server("GET", "/Users", headers=as_client("new")).status_code == 401


@pytest.mark.sqlite
def test_a_hangup_with_a_broken_signing_key_leaves_the_processes_alone(
    serve: Callable[..., Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "set.pem"
    make_key(key)
    names = {"SET_SIGNING_KEY_FILES": str(key), "SET_SIGNING_ALGORITHM": "EdDSA"}
    server = serve(SET_POLL_ENABLED="true", WORKERS="1", LOGLEVEL="ERROR", **names)
    before = workers(server)

    key.write_text("half a key")
    server.process.send_signal(signal.SIGHUP)
    lines = ""

    def is_said() -> bool:
        nonlocal lines
        lines += capfd.readouterr().err
        return "SIGHUP has no effect" in lines

    wait_for(is_said, "nothing is said")

    assert f"SET_SIGNING_KEY_FILES: {key}" in lines
    assert server("GET", "/Users").status_code == 200
    assert workers(server) == before


@pytest.mark.sqlite
def test_a_process_that_crashes_beside_a_broken_signing_key_is_replaced_once_it_is_whole(
    serve: Callable[..., Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "set.pem"
    make_key(key)
    names = {"SET_SIGNING_KEY_FILES": str(key), "SET_SIGNING_ALGORITHM": "EdDSA"}
    server = serve(SET_POLL_ENABLED="true", WORKERS="1", LOGLEVEL="ERROR", **names)
    (process,) = workers(server)

    key.write_text("half a key")
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: f"SET_SIGNING_KEY_FILES: {key}" in capfd.readouterr().err, "nothing is said")
    make_key(key)

    assert server("GET", "/Users").status_code == 200


def test_a_second_role_of_postgresql_takes_turns_with_the_first(postgresql: PostgresqlServer) -> None:
    statements = re.findall(r"^    ((?:create|alter) role .*;)$", PAGE, re.MULTILINE)
    assert len(statements) == 2
    here = [s.replace("scim_b", "turn_b").replace("role scim;", "role turn;") for s in statements]
    here = [s.replace("= scim;", "= turn;") for s in here]
    postgresql.execute("postgres", "CREATE ROLE turn LOGIN", "CREATE DATABASE turns OWNER turn", *here)

    for role in ("turn", "turn_b"):
        url = f"postgresql://{role}@127.0.0.1:{postgresql.port}/turns"
        environ = {"API_KEY": "k", "LOGLEVEL": "ERROR", "DATABASE_URL": url, "EMBEDDED_WORKER": "false"}
        environ |= {"SET_POLL_ENABLED": "true"} if role == "turn_b" else {}
        app = create_app(Settings.from_env(environ))
        scim = ScimClient(app.test_client())
        assert scim("POST", "/Users", {"userName": role}, as_client("k")).status_code == 201
        app.extensions["scim.storage"].close()

    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert postgresql.execute("turns", owners) == [("turn",)]
