"""What a request leaves behind: a line in the log, an id in the answer, and figures."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import requests

from app import create_app
from app.configuration.settings import Settings, SettingsError
from app.edge.watching import Origin, Watch
from app.wiring.log_lines import JsonLines, TextLines
from telemetry.lines import say_line, word
from telemetry.metrics import Counter, Histogram, exposition
from tests.conftest import KEY, ScimClient, Server
from tests.ports import free_port
from tests.receivers import HttpReceiver
from tests.web_servers import connect, head, rest_of, wait_for, workers

# On forward, the upstream is in this process, and its requests count too; elsewhere a read takes more calls.
pytestmark = pytest.mark.on("sqlite", "postgresql", "files", "mongodb")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"first"
    logging.getLogger("test").info("half of it has left")
    yield b"last"


def asked(proxies: int = 0, **environ: str) -> tuple[list[bytes], dict[str, str]]:
    """Return the parts and the headers of the answer to a GET of /Users."""
    found: dict[str, str] = {}
    answer: Any = Watch(application, Origin("default", proxies))(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/Users", "REMOTE_ADDR": "192.0.2.9", **environ},
        lambda status, headers, exc_info=None: found.update(headers),
    )
    parts = list(answer)
    answer.close()
    return parts, found


def lines(caplog: pytest.LogCaptureFixture, formatter: logging.Formatter) -> list[str]:
    return [formatter.format(record) for record in caplog.records]


def test_the_line_is_written_when_the_last_byte_has_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    parts, _ = asked(HTTP_X_REQUEST_ID="r-1")

    assert parts == [b"first", b"last"]
    before, line = lines(caplog, TextLines())
    assert "half of it has left" in before
    assert re.search(
        r"INFO scim.request GET - 200 [0-9.]+ ms bytes=9 store_calls=0 store_ms=0.0 "
        "address=192.0.2.9 base=default request_id=r-1$",
        line,
    )


def test_the_line_says_when_the_client_left_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    answer: Any = Watch(application, Origin("default"))(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None
    )
    next(iter(answer))
    answer.close()

    (line,) = lines(caplog, TextLines())
    assert "bytes=5 " in line and line.endswith(" incomplete=true")


def test_a_line_in_json_has_the_same_fields(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim()
    user = scim.user("ann")
    caplog.set_level(logging.INFO)
    caplog.clear()

    answer = scim("GET", user["meta"]["location"], headers={"X-Request-ID": "r-2"})

    (record,) = [record for record in caplog.records if record.name == "scim.request"]
    line = json.loads(JsonLines().format(record))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", line.pop("time"))
    assert line.pop("ms") >= line.pop("store_ms") >= 0
    assert line.pop("message").startswith("GET /Users/{resource_id} 200 ")
    assert line.pop("principal").startswith("api-key ")
    assert line == {
        "level": "INFO",
        "logger": "scim.request",
        "method": "GET",
        "route": "/Users/{resource_id}",
        "status": 200,
        "bytes": len(answer.data),
        "store_calls": 1,
        "address": "127.0.0.1",
        "base": "default",
        "request_id": "r-2",
    }


@pytest.mark.parametrize(
    ("sent", "request_id", "traceparent"),
    [
        ({"HTTP_X_REQUEST_ID": "a.b-c/1=", "HTTP_TRACEPARENT": TRACEPARENT}, "a.b-c/1=", TRACEPARENT),
        ({"HTTP_TRACEPARENT": TRACEPARENT}, TRACE, TRACEPARENT),
        ({"HTTP_X_REQUEST_ID": "x" * 101}, "[0-9a-f]{16}", None),
        ({"HTTP_X_REQUEST_ID": "two words"}, "[0-9a-f]{16}", None),
        ({"HTTP_X_REQUEST_ID": "caf\xe9"}, "[0-9a-f]{16}", None),
        ({"HTTP_TRACEPARENT": TRACEPARENT.upper()}, "[0-9a-f]{16}", None),
        ({"HTTP_TRACEPARENT": TRACEPARENT.replace(TRACE, "0" * 32)}, "[0-9a-f]{16}", None),
        ({}, "[0-9a-f]{16}", None),
    ],
)
def test_the_id_of_a_request_is_taken_and_returned(
    sent: dict[str, str], request_id: str, traceparent: str | None
) -> None:
    _, headers = asked(**sent)

    assert re.fullmatch(request_id, headers["X-Request-ID"])
    assert headers.get("traceparent") == traceparent


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, "203.0.113.1", "192.0.2.9"),
        (1, "6.6.6.6, 203.0.113.1", "203.0.113.1"),
        (2, "6.6.6.6, 203.0.113.1, 192.0.2.8", "203.0.113.1"),
        (2, "203.0.113.1", "192.0.2.9"),
        (1, "", "192.0.2.9"),
    ],
)
def test_the_address_is_the_one_that_trusted_proxies_have_seen(
    proxies: int, header: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    asked(proxies, HTTP_X_FORWARDED_FOR=header)

    assert f" address={address} " in lines(caplog, TextLines())[-1]


def test_every_line_during_a_request_has_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    written: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(TextLines().format(record))  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        asked(HTTP_X_REQUEST_ID="r-3")
        logging.getLogger("test").info("between requests")
    finally:
        logging.getLogger().removeHandler(handler)

    during, request, after = written
    assert during.endswith("half of it has left request_id=r-3")
    assert request.endswith(" request_id=r-3")
    assert after.endswith("between requests")


def test_a_field_cannot_break_the_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    path = '/Users/"a\nb c'
    fields = {"message": "x", "path": path, "status": 200}
    say_line(logging.getLogger("test"), logging.INFO, f"x path={word(path)} status=200", lambda: fields)

    assert lines(caplog, TextLines())[0].endswith(r' INFO test x path="/Users/\"a\nb c" status=200')
    line = json.loads(lines(caplog, JsonLines())[0])
    assert (line["message"], line["path"], line["status"]) == ("x", '/Users/"a\nb c', 200)


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()])
def test_a_line_with_a_traceback_has_it(
    formatter: logging.Formatter, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise ValueError("a cause")
    except ValueError:
        logging.getLogger("test").exception("it failed")

    (line,) = lines(caplog, formatter)
    assert "it failed" in line and "ValueError: a cause" in line


def test_figures_of_requests_and_calls_of_the_storage(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim()
    user = scim.user("ann")
    before = scim.figures()

    scim("GET", user["meta"]["location"])
    scim("GET", user["meta"]["location"], headers={"Authorization": "Bearer wrong"})
    scim("GET", "/Users/unknown")
    scim("GET", "/nowhere/ann")

    after = scim.figures()
    grown = {name for name in after if after[name] > before.get(name, 0) and name.endswith("}")}
    (principal,) = {one for name in grown for one in re.findall('principal="(api-key [0-9a-f]+)"', name)}
    one = 'base="default",method="GET",principal="{}",route="{}",status="{}"'
    assert {name for name in grown if name.startswith("scim_requests_total")} == {
        f"scim_requests_total{{{one.format(*values)}}}"
        for values in (
            (principal, "/Users/{resource_id}", 200),
            (principal, "/Users/{resource_id}", 404),
            (principal, "/metrics", 200),
            ("", "/Users/{resource_id}", 401),
            ("", "-", 404),
        )
    }
    count = 'scim_request_duration_seconds_count{base="default",method="GET",route="/Users/{resource_id}"}'
    assert after[count] == before.get(count, 0) + 3
    calls = 'scim_store_call_duration_seconds_count{call="get"}'
    assert after[calls] == before.get(calls, 0) + 2
    errors = 'scim_store_errors_total{call="get",error="ResourceNotFound"}'
    assert after[errors] == before.get(errors, 0) + 1


def test_every_request_leaves_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"

    class Logged(Server):
        def start(self) -> None:
            command = [Path(sys.executable).parent / "scim", "serve"]
            with log.open("wb") as file:
                self.process = subprocess.Popen(
                    command, env=self.environ, start_new_session=True, stderr=file
                )
            wait_for(lambda: "serving on" in log.read_text(), "it does not start")

    server = Logged(DATABASE_URL=f"sqlite:///{tmp_path}/scim.db", WORKERS="1")
    try:
        with connect(server) as connection:
            connection.sendall(head("GET", "/Users") + head("HEAD", "/Users") + head("DELETE", "/Users/x"))
            connection.sendall(head("GET", "/health", "Connection: close"))
            rest_of(connection)
        wait_for(lambda: log.read_text().count(" ms ") == 4, log.read_text())
    finally:
        server.stop()

    found = re.findall(r"scim.request (\S+ \S+ \d+) [\d.]+ ms bytes=", log.read_text())
    assert found == [
        "GET /Users 200",
        "HEAD /Users 200",
        "DELETE /Users/{resource_id} 404",
        "GET /health 200",
    ]
    started = re.findall(r"serving on (.*)\n", log.read_text())
    assert started == [
        f"http://127.0.0.1:{server.port}, 1 processes of 4 threads; "
        f"resources are stored in sql: sqlite:///{tmp_path}/scim.db"
    ]
    assert KEY not in log.read_text()


def requests_of(server: Server, token: str) -> float:
    """Return how many lists of users the metrics have, of all processes."""
    answer = server("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    found = re.findall(r'^scim_requests_total{.*route="/Users".*} ([0-9.]+)$', answer.text, re.MULTILINE)
    return sum(map(float, found))


def test_every_process_answers_for_all_of_them_and_for_those_before(tmp_path: Path) -> None:
    folder, token = tmp_path / "tmp", "-a-token-of-Prometheus"
    folder.mkdir()
    server = Server(
        DATABASE_URL=f"sqlite:///{tmp_path}/scim.db", WORKERS="2", METRICS_TOKEN=token, TMPDIR=str(folder)
    )
    sent = []

    def all_have_counted() -> bool:
        sent.append(server("GET", "/Users").status_code)
        counted = {int(path.stem.rpartition("_")[2]) for path in folder.glob("scim-metrics-*/histogram_*.db")}
        return len(workers(server)) == 2 and workers(server) <= counted

    try:
        wait_for(all_have_counted, "one process answers all requests")
        wait_for(lambda: requests_of(server, token) == len(sent), "requests are missing")
        before = workers(server)
        os.kill(min(before), signal.SIGTERM)
        wait_for(lambda: len(workers(server) - before) == 1, "no process comes in its place")
        wait_for(all_have_counted, "one process answers all requests")
        wait_for(lambda: requests_of(server, token) == len(sent), "requests are missing")
    finally:
        server.stop()

    assert list(folder.glob("scim-metrics-*")) == []


@pytest.mark.sqlite
def test_the_token_of_the_metrics_opens_nothing_else(make_scim: Callable[..., ScimClient]) -> None:
    token = "-a-token-of-Prometheus"
    scim = make_scim(METRICS_TOKEN=token)

    def status(path: str, key: str) -> int:
        return int(scim("GET", path, headers={"Authorization": f"Bearer {key}"}).status_code)

    assert status("/metrics", token) == 200
    assert status("/Users", token) == 401
    assert status("/metrics", token[1:]) == 401
    assert status("/metrics", "caf\xe9") == 401
    assert status("/metrics", KEY) == 200


@pytest.mark.sqlite
def test_the_metrics_do_without_the_state_database(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(SET_POLL_ENABLED="true", EMBEDDED_WORKER="false")
    database = scim.app.extensions["scim.delivery"].database
    assert scim.figures()["scim_state_readable"] == 1
    with database.transaction():
        database.run("DROP TABLE scim_order")

    figures = scim.figures()

    assert figures["scim_state_readable"] == 0
    assert "scim_change_log_rows" not in figures and "scim_build_info" in "".join(figures)


@pytest.mark.parametrize("token", ["short", "with spaces in the middle", "caf\xe9-and-more-letters"])
def test_a_token_that_no_client_can_send_stops_the_start(token: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"METRICS_TOKEN": token})

    assert caught.value.problems == [
        "METRICS_TOKEN: must have 16 printable ASCII characters or more, and no spaces"
    ]


def test_a_worker_answers_at_a_port_of_its_own(tmp_path: Path, receiver: HttpReceiver) -> None:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "API_KEY": KEY,
        "DATABASE_URL": f"sqlite:///{tmp_path}/scim.db",
        "SET_PUSH_URL": receiver.url,
        "METRICS_PORT": str(port),
    }
    app = create_app(Settings.from_env({**environ, "EMBEDDED_WORKER": "false"}))
    ScimClient(app.test_client()).user("ann")
    command = [Path(sys.executable).parent / "scim", "worker"]

    def pushed() -> float:
        try:
            text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        except requests.ConnectionError:
            return 0
        count = 'scim_push_duration_seconds_count{outcome="taken",receiver="push"} '
        return sum(float(line.removeprefix(count)) for line in text.splitlines() if line.startswith(count))

    worker = subprocess.Popen(command, env=environ)
    try:
        wait_for(lambda: pushed() == 1, "the worker shows no push")
        second = subprocess.run(command, env=environ, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        worker.terminate()
        worker.wait(30)
        app.extensions["scim.delivery"].database.close()
        app.extensions["scim.storage"].close()

    assert second.returncode == 1
    assert f"scim: METRICS_PORT: {port} cannot be used" in second.stderr
    assert worker.returncode == 0


def pools() -> dict[str, float]:
    """Return the figures of the pools, without a call of the storage."""
    lines = [line for line in exposition().decode().splitlines() if line.startswith("scim_pool")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.mark.on("postgresql", "mariadb")
def test_figures_of_the_pool_of_connections(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(DATABASE_POOL_SIZE="1")
    base = scim.app.extensions["scim.base"]
    user = scim.user("ann")
    name = scim.app.extensions["scim.delivery"].database.name
    in_use = f'scim_pool_connections_in_use{{pool="{name}"}}'
    waits = f'scim_pool_waits_total{{pool="{name}"}}'
    statuses: list[int] = []

    def get() -> None:
        statuses.append(scim("GET", user["meta"]["location"]).status_code)

    other = threading.Thread(target=get)
    before = pools().get(waits, 0)
    with base.adapter.transaction():
        base.adapter.get(base.registry.resource_type("User"), user["id"])
        held = pools()[in_use]
        other.start()
        wait_for(lambda: pools().get(waits, 0) > before, "the other thread does not wait")
    other.join()

    assert (held, pools()[in_use], statuses) == (1, 0, [200])


def test_figures_that_are_written_together_are_those_of_prometheus_client() -> None:
    by_us = Histogram("scim_test_written_seconds", "x", "way", buckets=(0.1, 1.0))
    theirs = prometheus_client.Histogram(
        "scim_test_seconds", "x", buckets=(0.1, 1.0), registry=prometheus_client.CollectorRegistry()
    )
    seconds = [0.0, 0.1, 0.1000001, 0.5, 1.0, 7.0, 7.0]

    for one in seconds:
        by_us.observe(one, "a")
        theirs.observe(one)

    samples = [sample for metric in theirs.collect() for sample in metric.samples]
    expected = [
        (one.name.removeprefix("scim_test"), one.labels.get("le"), one.value)
        for one in samples
        if not one.name.endswith("_created")
    ]
    pattern = r'^scim_test_written(\w+){(?:le="([^"]+)",)?way="a"} (\S+)$'
    found = re.findall(pattern, exposition().decode(), re.MULTILINE)
    assert [(name, le or None, float(value)) for name, le, value in found] == expected


def test_a_child_does_not_write_the_figures_of_its_parent() -> None:
    counter = Counter("scim_test_forked_total", "x")
    counter.inc()
    child = os.fork()
    if child == 0:
        counter.inc()
        is_alone = b"scim_test_forked_total 1.0" in exposition()
        os._exit(0 if is_alone else 1)

    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"scim_test_forked_total 1.0" in exposition()
