"""docs/how-to/rotate-keys.md: a rotation in its steps loses nothing."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from app import create_app
from app.settings import Settings
from tests.conftest import ScimClient, Server, error_of
from tests.servers import PostgresqlServer
from tests.web_servers import wait_for, workers

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "rotate-keys.md").read_text()
# What API_KEY is in each step of the page.
STEPS = re.findall(r"^\d\. `API_KEY=([a-z,]+)`", PAGE, re.MULTILINE)
LATER = {"Prefer": "respond-async"}


def as_client(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def make_key(path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.sqlite
@pytest.mark.parametrize("before, after", [("old", STEPS[0]), (STEPS[0], STEPS[1]), (STEPS[1], STEPS[2])])
def test_processes_of_two_steps_read_each_others_requests(
    make_scim: Callable[..., ScimClient], before: str, after: str
) -> None:
    # Both run while one process after the other is restarted.
    services = {
        keys: make_scim(API_KEY=keys, ASYNC_REQUEST="request", EMBEDDED_WORKER="false")
        for keys in (before, after)
    }
    for accepting, working in ((before, after), (after, before)):
        client = as_client(accepting.partition(",")[0])
        scim = services[accepting]
        accepted = scim("POST", "/Users", {"userName": f"by {accepting}"}, {**client, **LATER})
        assert accepted.status_code == 202, accepted.text

        services[working].work()

        done = scim("GET", accepted.headers["Location"], headers=client)
        assert done.json["status"] == "201", done.text


@pytest.mark.sqlite
def test_a_request_that_no_key_can_decrypt_ends_with_410(make_scim: Callable[..., ScimClient]) -> None:
    common = {"ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
    before = make_scim(API_KEY="old", **common)
    accepted = before("POST", "/Users", {"userName": "a"}, {**as_client("old"), **LATER})

    make_scim(API_KEY="new", **common).work()

    result = before("GET", accepted.headers["Location"], headers=as_client("old")).json
    assert result["status"] == "410"
    assert "the API key has changed" in result["response"]["detail"]
    assert "the API key has changed" in PAGE


@pytest.mark.sqlite
@pytest.mark.parametrize("after", ["new,old", "old", "old,new"])
def test_a_cursor_ends_with_a_change_of_the_keys(make_scim: Callable[..., ScimClient], after: str) -> None:
    first = make_scim(API_KEY="old,new")
    for name in "abc":
        assert first("POST", "/Users", {"userName": name}, as_client("old")).status_code == 201
    cursor = first("GET", "/Users?cursor&count=1", headers=as_client("old")).json["nextCursor"]

    answer = make_scim(API_KEY=after)("GET", f"/Users?cursor={cursor}&count=1", headers=as_client("old"))

    if after == "old,new":
        assert answer.status_code == 200
    else:
        error_of(answer, 400, "invalidCursor")


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
