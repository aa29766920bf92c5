"""The web servers that are shipped or documented, on the wire: bodies, signals, wrong settings."""

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from tests.conftest import KEY, Server, error_of
from tests.web_servers import SERVERS, connect, head, rest_of, wait_for, workers

_MB = 1 << 20
Start = Callable[..., Server]


@pytest.fixture(params=SERVERS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start one of the servers on an SQLite store; it is killed at the end."""
    servers: list[Server] = []

    def make(**environ: str) -> Server:
        url = f"sqlite:///{tmp_path}/scim.db"
        fixed = {"DATABASE_URL": url, "LOGLEVEL": "ERROR", "WORKERS": "2", "THREADS": "4"}
        servers.append(SERVERS[request.param](**{**fixed, **environ}))
        return servers[-1]

    yield make
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of the servers, shared by the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("shared")
    shared = SERVERS[request.param](
        DATABASE_URL=f"sqlite:///{folder}/scim.db", LOGLEVEL="ERROR", WORKERS="2", THREADS="4"
    )
    yield shared
    shared.kill()


def exchange(server: Server, *parts: bytes) -> tuple[int, bytes]:
    """Send all of a request, then return the status and the body of what comes back."""
    with connect(server) as connection:
        for part in parts:
            connection.sendall(part)
        answer = rest_of(connection)
    beginning, _, body = answer.partition(b"\r\n\r\n")
    while beginning.startswith(b"HTTP/1.1 100"):
        beginning, _, body = body.partition(b"\r\n\r\n")
    return int(beginning.split(b" ")[1]), body


def refused(server: Server, status: int, *parts: bytes) -> str:
    """Assert that a request is answered with a SCIM error, and return its detail."""
    answered, body = exchange(server, *parts)
    error = json.loads(body)
    assert (answered, error["status"]) == (status, str(status))
    assert error["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    return str(error["detail"])


def test_a_body_over_the_limit_is_read_before_it_is_refused(server: Server) -> None:
    close, size = "Connection: close", f"Content-Length: {6 * _MB}"

    for method, path in (
        ("POST", "/Users"),
        ("PUT", "/Users/x"),
        ("PATCH", "/Users/x"),
        ("PATCH", "/Groups/x"),
        ("POST", "/Bulk"),
        ("POST", "/.search"),
        ("POST", "/Users/.search"),
    ):
        for more in ((), ("Expect: 100-continue",)):
            request = head(method, path, close, size, *more)
            assert "larger than" in refused(server, 413, request, b"x" * (6 * _MB)), (method, path, more)


def test_whoever_is_refused_for_another_reason_reads_why_after_a_large_body(server: Server) -> None:
    close, size = "Connection: close", f"Content-Length: {6 * _MB}"
    stranger = head("POST", "/Users", close, size).replace(KEY.encode(), b"other")

    refused(server, 401, stranger, b"x" * (6 * _MB))
    refused(server, 404, head("POST", "/Nothing", close, size), b"x" * (6 * _MB))
    refused(server, 405, head("DELETE", "/Users", close, size), b"x" * (6 * _MB))
    plain = head("POST", "/Users", close, size).replace(b"application/scim+json", b"text/plain")
    refused(server, 415, plain, b"x" * (6 * _MB))


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def test_a_chunked_body_is_read(server: Server) -> None:
    request = head("POST", "/Users", "Transfer-Encoding: chunked", "Connection: close")
    group = request.replace(b"/Users", b"/Groups")

    status, body = exchange(server, request, chunked(b'{"userName":', b'"anna"', b"}"))
    assert (status, json.loads(body)["userName"]) == (201, "anna")
    assert exchange(server, group, chunked(*(b"%c" % byte for byte in b'{"displayName":"g"}')))[0] == 201


def test_a_chunked_body_over_the_limit_is_read_before_it_is_refused(server: Server) -> None:
    request = head("POST", "/Bulk", "Transfer-Encoding: chunked", "Connection: close")

    refused(server, 413, request, chunked(*[b"x" * 65536] * 48))


def test_a_broken_chunk_is_a_bad_request(server: Server) -> None:
    request = head("POST", "/Users", "Transfer-Encoding: chunked", "Connection: close")

    refused(server, 400, request, b"zz\r\n{}\r\n0\r\n\r\n")


def users(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / "scim.db")) as database:
        return {json.loads(row[0])["userName"] for row in database.execute('select details from "Users"')}


def test_sigterm_leaves_no_write_without_an_answer(start: Start, tmp_path: Path) -> None:
    server = start()
    acknowledged: set[str] = set()
    enough = threading.Event()

    def write(number: int) -> None:
        for step in range(10_000):
            name = f"u{number}-{step}"
            try:
                answer = server("POST", "/Users", json={"userName": name})
            except requests.ConnectionError:
                return
            assert answer.status_code == 201
            acknowledged.add(name)
            if len(acknowledged) > 40:
                enough.set()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    server.stop()
    for thread in threads:
        thread.join()

    assert users(tmp_path) == acknowledged


# An interrupt of `scim serve` becomes a SIGTERM.
@pytest.mark.parametrize(
    ("start", "how"),
    [("scim", signal.SIGINT), ("uwsgi", signal.SIGTERM), ("gunicorn", signal.SIGTERM)],
    indirect=["start"],
)
def test_a_waiting_poll_is_answered_when_the_server_ends(start: Start, how: signal.Signals) -> None:
    server = start(SET_POLL_ENABLED="true", SET_POLL_WAIT="2.5", WORKERS="1")
    answers: list[int] = []

    def poll() -> None:
        answers.append(server("POST", "/Events/Feeds/default/Stream", json={}).status_code)

    threads = [threading.Thread(target=poll) for _ in range(2)]
    for thread in threads:
        thread.start()
    # They are waiting by then.
    time.sleep(1.5)
    # A terminal sends it to all processes.
    os.killpg(server.process.pid, how) if how == signal.SIGINT else server.process.terminate()
    server.process.wait(30)
    for thread in threads:
        thread.join()

    assert answers == [200, 200]


def test_a_reload_under_load_leaves_no_request_without_an_answer(server: Server) -> None:
    folder = Path(server.environ["DATABASE_URL"].removeprefix("sqlite:///")).parent
    kept = users(folder)
    acknowledged: set[str] = set()
    failures: list[Exception] = []
    over = threading.Event()

    def write(number: int) -> None:
        step = 0
        while not over.is_set():
            step += 1
            try:
                answer = server("POST", "/Users", json={"userName": f"u{number}-{step}"})
                assert answer.status_code == 201, answer.text
                acknowledged.add(f"u{number}-{step}")
            except Exception as failure:
                failures.append(failure)
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) > 20, "nothing is written")
    before = workers(server)
    os.kill(server.process.pid, signal.SIGHUP)
    wait_for(lambda: len(workers(server) - before) == 2 and not workers(server) & before, "not reloaded")
    count = len(acknowledged)
    wait_for(lambda: failures or len(acknowledged) > count + 20, "nothing is written any more")
    over.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert users(folder) - kept == acknowledged


def test_a_process_that_crashes_is_replaced(server: Server) -> None:
    wait_for(lambda: len(workers(server)) == 2, "the processes did not start")
    before = workers(server)

    for process in before:
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: len(workers(server) - before) == 2, "they are not replaced")

    assert server("GET", "/Users").status_code == 200


@pytest.mark.parametrize("name", SERVERS)
def test_a_wrong_setting_ends_the_start_in_words(name: str, tmp_path: Path) -> None:
    class Unstarted(SERVERS[name]):  # type: ignore[misc]
        def start(self) -> None:
            """Leave that to the test."""

    server = Unstarted(DATABASE_URL=f"sqlite:///{tmp_path}/scim.db", WORKERS="1", PAGE_SIZE="0")

    ended = subprocess.run(server.command(), env=server.environ, capture_output=True, text=True, timeout=60)

    assert ended.returncode != 0
    assert ended.stderr.count("scim: PAGE_SIZE: must be a whole number, 1 or more\n") >= 1
    # Of our code; gunicorn sometimes shows one of its own when a second process ends while it ends.
    assert ("/wsgi.py" if name == "gunicorn" else "Traceback") not in ended.stderr


@pytest.mark.parametrize(("name", "host"), [("scim", "::"), ("scim", "::1"), ("uwsgi", "::")])
def test_it_listens_on_ipv6(name: str, host: str, tmp_path: Path) -> None:
    class Ipv6(SERVERS[name]):  # type: ignore[misc]
        def start(self) -> None:
            self.url = f"http://[::1]:{self.port}"
            super().start()

    server = Ipv6(DATABASE_URL=f"sqlite:///{tmp_path}/scim.db", HOST=host, LOGLEVEL="ERROR", WORKERS="1")
    try:
        assert error_of(server("GET", "/Users/x"), 404)
    finally:
        server.kill()
