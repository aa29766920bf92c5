"""`scim token`, as an operator runs it, beside servers that run."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from app.auth.token_text import is_token
from app.cli import main
from tests.conftest import KEY, Server
from tests.web_servers import connect, head, rest_of

SCIM = str(Path(sys.executable).parent / "scim")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Return a function that runs `scim token` on a store of the test's own."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/data/scim.db")
    monkeypatch.setenv("LOGLEVEL", "ERROR")

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["token", *words])

    return command


def of(result: Result) -> Any:
    """Return the object that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_create_shows_the_token_once(run: Callable[..., Result]) -> None:
    created = run("create", "hr-sync", "--scope", "scim.read", "--resource-type", "User")
    assert created.exit_code == 0
    token = created.stdout.strip()
    assert is_token(token)

    listed = run("list")
    (fields,) = [line.split("\t") for line in listed.stdout.splitlines()]
    assert fields[:6] == ["hr-sync", "valid", "scim.read:User", "default", "-", "-"]
    assert fields[7:] == ["-", "-"]
    for result in (listed, run("list", "--json")):
        assert token not in result.output and token[5:45] not in result.output


def test_every_choice_is_listed(run: Callable[..., Result]) -> None:
    created = of(
        run(
            *("create", "all", "--scope", "scim.admin", "--scope", "scim.events", "--expires", "90d"),
            *("--profile", "strict", "--from", "192.0.2.0/24, 2001:db8::/32", "--from", "198.51.100.7"),
            "--json",
        )
    )

    listed = of(run("list", "--json"))

    assert is_token(created.pop("token"))
    assert created == listed
    assert re.fullmatch("token all [0-9a-f]{8}", listed.pop("id"))
    times = {name: listed.pop(name) for name in ("created", "expires")}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", text) for text in times.values())
    (secret,) = listed.pop("secrets")
    assert secret == {"created": times["created"], "ends": None, "lastUse": None}
    assert listed == {
        "name": "all",
        "state": "valid",
        "scopes": ["scim.admin", "scim.events"],
        "profile": "strict",
        "user": None,
        "ownOnly": False,
        "rate": None,
        "from": ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"],
        "revoked": None,
        "lastUse": None,
    }


def test_without_options_a_token_reads_and_writes_for_good(run: Callable[..., Result]) -> None:
    listed = of(run("create", "sync", "--json"))

    assert listed["scopes"] == ["scim.read", "scim.write"]
    assert (listed["expires"], listed["profile"]) == (None, "default")


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("create", "taken"), 1, "a token has the name taken"),
        (("create", "two words"), 2, "is not a name"),
        (("create", "api-key\t1"), 2, "is not a name"),
        (("create", "x" * 65), 2, "is not a name"),
        (("create", "n", "--scope", "scim.all"), 2, "scim.all"),
        (("create", "n", "--resource-type", "Users"), 1, "no resource type Users: choose from Group, User"),
        (
            ("create", "n", "--scope", "scim.events", "--resource-type", "User"),
            1,
            "scim.events cannot have a resource type",
        ),
        (("create", "n", "--expires", "soon"), 2, "is not a span"),
        (("create", "n", "--expires", "0m"), 2, "would be expired already"),
        (("create", "n", "--expires", "-1d"), 2, "is not a span"),
        (("rotate", "taken", "--expires", "00w"), 2, "would be expired already"),
        (("create", "n", "--profile", "azure"), 2, "there is no profile 'azure'"),
        (("create", "n", "--user", "nobody"), 1, "there is no User nobody"),
        (("create", "n", "--from", "192.0.2.1/24"), 2, "host bits set"),
        (("create", "n", "--from", "example.com"), 2, "a network is such as"),
        (("rotate", "n"), 1, "there is no token n that is not revoked"),
        (("revoke", "n"), 1, "there is no token n that is not revoked"),
        (("rotate", "taken", "--overlap", "-1d"), 2, "is not a span"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    run: Callable[..., Result], words: tuple[str, ...], code: int, problem: str
) -> None:
    run("create", "taken")
    before = run("list", "--json").stdout

    result = run(*words)

    assert (result.exit_code, problem in result.output) == (code, True), result.output
    assert "Traceback" not in result.output
    assert run("list", "--json").stdout == before


def test_rotate_and_revoke(run: Callable[..., Result]) -> None:
    first = of(run("create", "hr", "--json"))

    second = of(run("rotate", "hr", "--overlap", "12h", "--expires", "4w", "--json"))

    assert second["id"] == first["id"] and second["token"] != first["token"]
    assert second["expires"] is not None
    assert [secret["ends"] is None for secret in second["secrets"]] == [True, False]
    assert run("revoke", "hr").stdout == "the token hr is revoked\n"
    assert of(run("list", "--json"))["state"] == "revoked"
    assert run("create", "hr").exit_code == 0
    assert [line.split("\t")[1] for line in run("list").stdout.splitlines()] == ["revoked", "valid"]


def test_a_rotation_of_an_expired_token_says_so(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("app.commands.token.now_ms", lambda: int(time.time() * 1000) - 61_000)
        assert run("create", "hr", "--expires", "1m").exit_code == 0

    rotated = run("rotate", "hr")

    assert "has expired: add --expires" in rotated.stderr
    assert run("list").stdout.split("\t")[1] == "expired"
    assert run("rotate", "hr", "--expires", "1d").stderr == ""
    assert run("list").stdout.split("\t")[1] == "valid"


def test_generate_needs_no_settings(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")

    assert is_token(run("generate").stdout.strip())


def test_without_a_state_database_there_are_no_tokens(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    # Nothing listens there, and nobody is asked.
    monkeypatch.setenv("FORWARD_SCIM_URL", "http://127.0.0.1:9/v2")
    monkeypatch.setenv("FORWARD_SCIM_KEY", "k")

    result = run("list")

    assert (result.exit_code, result.output) == (
        1,
        "scim: named tokens need a state database: set STATE_DATABASE_URL\n",
    )


@pytest.mark.parametrize("change_log", ["auto", "off"])
def test_a_token_is_revoked_while_the_storage_is_down(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change_log: str
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("FORWARD_SCIM_URL", "http://127.0.0.1:9/v2")
    monkeypatch.setenv("FORWARD_SCIM_KEY", "k")
    monkeypatch.setenv("STATE_DATABASE_URL", f"sqlite:///{tmp_path}/data/state.db")
    monkeypatch.setenv("CHANGE_LOG", change_log)

    assert run("create", "hr").exit_code == 0
    assert run("revoke", "hr").exit_code == 0


# -- beside servers


def command(server: Server, *words: str) -> str:
    """Run `scim token` with the settings of a server, and return what it prints."""
    done = subprocess.run(
        [SCIM, "token", *words], env=server.environ, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def statuses(server: Server, token: str, count: int) -> set[int]:
    """Return the statuses of some requests, each on a connection of its own: for all workers in turn."""
    headers = {"Authorization": f"Bearer {token}"}
    return {
        requests.get(f"{server.url}/Users?count=0", headers=headers, timeout=30).status_code
        for _ in range(count)
    }


def until(found: Callable[[], bool]) -> None:
    """Return once something is so. A server that never does what it is asked for fails the test."""
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.on("sqlite", "postgresql", "mariadb", "files", "ldap")
def test_every_process_accepts_rotates_and_refuses(serve: Callable[..., Server]) -> None:
    servers = [serve(WORKERS="2", THREADS="2", LOGLEVEL="ERROR")]
    if "DATABASE_URL" in servers[0].environ:
        servers.append(serve(WORKERS="1", LOGLEVEL="ERROR"))

    def all_statuses(token: str) -> set[int]:
        return {status for server in servers for status in statuses(server, token, 15)}

    token = command(servers[0], "create", "hr", "--scope", "scim.read")
    # At once: no process knows it, so each asks the database.
    assert all_statuses(token) == {200}

    second = command(servers[-1], "rotate", "hr")
    assert all_statuses(second) == {200}
    assert all_statuses(token) == {200}

    command(servers[0], "revoke", "hr")
    for text in (token, second):
        until(lambda: all_statuses(text) == {401})  # noqa: B023
    # And it stays so.
    assert all_statuses(token) == all_statuses(second) == {401}
    assert servers[0]("GET", "/Users?count=0").status_code == 200


@pytest.mark.on("sqlite", "postgresql")
def test_a_killed_command_leaves_a_whole_token_or_none(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="1", LOGLEVEL="ERROR")
    for number in range(6):
        process = subprocess.Popen(
            [SCIM, "token", "create", f"t{number}"], env=server.environ, stdout=subprocess.PIPE, text=True
        )
        if number:
            time.sleep(0.15 * number)
        process.kill()
        process.communicate()

    listed = [json.loads(line) for line in command(server, "list", "--json").splitlines()]

    assert all(len(token["secrets"]) == 1 for token in listed)
    for token in listed:
        command(server, "revoke", token["name"])
    assert statuses(server, command(server, "create", "t0"), 1) == {200}


@pytest.mark.sqlite
def test_a_poll_that_waits_gets_nothing_once_its_token_is_revoked(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="1", SET_POLL_ENABLED="true", SET_POLL_WAIT="60", LOGLEVEL="ERROR")
    token = command(server, "create", "reader", "--scope", "scim.events")
    poll = head("POST", "/Events/Feeds/default/Stream", "Content-Length: 2", "Connection: close")
    poll = poll.replace(f"Bearer {KEY}".encode(), f"Bearer {token}".encode()) + b"{}"
    with connect(server) as waiting:
        waiting.sendall(poll)
        command(server, "revoke", "reader")
        until(lambda: statuses(server, token, 1) == {401})

        server("POST", "/Users", json={"userName": "ann"})
        answer = rest_of(waiting)

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"ann" not in answer and b"the token was revoked" in answer


@pytest.mark.sqlite
def test_the_last_use_is_written_by_the_server(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="1", LOGLEVEL="ERROR")
    token = command(server, "create", "hr", "--scope", "scim.read")
    assert statuses(server, token, 1) == {200}

    until(lambda: json.loads(command(server, "list", "--json"))["lastUse"] is not None)
