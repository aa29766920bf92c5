"""What the tests share: applications on fresh stores, and servers on free ports."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from app import create_app
from app.configuration.settings import Settings
from app.work.threads import Threads
from tests.description import assert_described
from tests.ports import free_port

KEY = "test-key"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


class ScimClient:
    """A client of an application in this process, with credentials unless told otherwise."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        self.app = client.application

    def work(self) -> None:
        """Do what the worker would do now, where there is none (EMBEDDED_WORKER)."""
        self.app.extensions["scim.work"].run_once()

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/scim+json"}
        sent |= headers or {}
        if body is not None:
            options["json"] = body
        # Buffered, the answer is closed, as a web server does it.
        options.setdefault("buffered", True)
        answer = self._client.open(
            path, method=method, headers={k: v for k, v in sent.items() if v}, **options
        )
        assert_described(self.app, answer)
        return answer

    def figures(self) -> dict[str, float]:
        """Return the samples of /metrics by name and labels; those of processes are this process's."""
        lines = self("GET", "/metrics").text.splitlines()
        return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if x[0] != "#")}

    def user(self, user_name: str, **attributes: Any) -> dict[str, Any]:
        """Create a user and return it."""
        answer = self("POST", "/Users", {"schemas": [USER], "userName": user_name, **attributes})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json
        return created

    def group(self, name: str, *member_ids: str, **attributes: Any) -> dict[str, Any]:
        """Create a group with these members and return it."""
        members = [{"value": member_id} for member_id in member_ids]
        body = {"schemas": [GROUP], "displayName": name, "members": members, **attributes}
        answer = self("POST", "/Groups", body)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json
        return created

    def names(self, filter_text: str, endpoint: str = "/Users", attribute: str = "userName") -> list[str]:
        """Return one attribute of every resource that matches a filter."""
        answer = self("GET", endpoint, query_string={"filter": filter_text})
        assert answer.status_code == 200, answer.text
        assert answer.json["totalResults"] == len(answer.json["Resources"])
        return [resource[attribute] for resource in answer.json["Resources"]]


def error_of(answer: Any, status: int, scim_type: str | None = None) -> str:
    """Assert that an answer is a well-formed SCIM error and return its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/scim+json")
    body = answer.json() if callable(answer.json) else answer.json
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert body["status"] == str(status)
    assert body.get("scimType") == scim_type
    detail: str = body["detail"]
    assert detail
    return detail


@pytest.fixture(autouse=True)
def level_of_the_log() -> Iterator[None]:
    """Give the log its level back: a command that runs in this process sets it for good."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"API_KEY": KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/data/scim.db"})


BACKENDS: list[str] = []
# The modules of tests that run on a variant of a backend.
VARIANTS: dict[str, tuple[str, ...]] = {}
for _path in sorted(Path(__file__).parent.glob("storage/*/backend.py")):
    _module = import_module(f"tests.storage.{_path.parent.name}.backend")
    BACKENDS += _module.BACKENDS
    VARIANTS |= getattr(_module, "VARIANTS", {})
    # Each backend has a fixture of its name: a server, or the variables of a store of the test's own.
    globals().update({name: getattr(_module, name) for name in _module.BACKENDS})
# What changes the tables: with these, a test gets a database of its own.
OWN_DATABASE = {
    "SCHEMA_PATH",
    "USER_MODEL_NAME",
    "GROUP_MODEL_NAME",
    "INDEXED_ATTRIBUTES",
    "UNIQUE_EXTERNAL_ID",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", action="append", choices=BACKENDS, help="run on these backends only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of the service provider on every backend, but for those marked `sqlite` or `on`."""
    if "backend" in metafunc.fixturenames:
        some = metafunc.definition.get_closest_marker("on")
        meant = some.args if some else BACKENDS
        if metafunc.definition.get_closest_marker("sqlite"):
            meant = ("sqlite",)
        slow = metafunc.definition.get_closest_marker("full")
        module = metafunc.module.__name__.rpartition(".")[2]
        if not os.environ.get("SCIM_TEST_FULL"):
            left_out = {*(slow.args if slow else ()), *(v for v in VARIANTS if module not in VARIANTS[v])}
            meant = [name for name in meant if name not in left_out]
        names = metafunc.config.getoption("--backend") or BACKENDS
        metafunc.parametrize("backend", [name for name in names if name in meant], indirect=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count the tests of the service provider by backend: what docs/reference/backends/index.md shows."""
    counts: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "skipped", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            name = re.split(r"[\[\]-]", report.nodeid.partition("[")[2])
            for backend in set(name) & set(BACKENDS):
                count = counts.setdefault(backend, {})
                count[outcome] = count.get(outcome, 0) + 1
    for backend, count in counts.items():
        shown = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
        terminalreporter.write_line(f"on {backend}: {shown}")


@pytest.fixture(scope="session")
def shared_databases() -> dict[str, str]:
    """The URL of a database that tests take in turns, by backend."""
    return {}


@pytest.fixture
def backend(
    request: pytest.FixtureRequest,
    shared_databases: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[set[str]], dict[str, str]]:
    """Return a function from the names of variables to those that choose an empty store."""
    name = request.param
    server = request.getfixturevalue(name)
    if isinstance(server, dict):
        return lambda environ: server
    limit = server.limits.get(getattr(request.node, "originalname", ""))
    if limit:
        pytest.skip(f"{name}: {limit}")
    if name not in shared_databases:
        shared_databases[name] = server.new_database()
        # With the tables for events.
        environ = {"API_KEY": KEY, "SET_POLL_ENABLED": "true", **server.environ(shared_databases[name])}
        state = {"STATE_DATABASE_URL": f"sqlite:///{tmp_path}/unused.db"}
        app = create_app(Settings.from_env(environ | ({} if "DATABASE_URL" in environ else state)))
        app.extensions["scim.storage"].close()
    server.empty(shared_databases[name])
    if "DATABASE_URL" in server.environ(shared_databases[name]):
        server.empty_state(shared_databases[name])
    own: list[str] = []

    def chosen(environ: set[str]) -> dict[str, str]:
        if environ & OWN_DATABASE:
            if not own:
                own.append(server.new_database())
            variables = server.environ(own[0])
        else:
            variables = server.environ(shared_databases[name])
        if "DATABASE_URL" in variables:
            return variables
        # What is kept beside such a backend must not outlive the test.
        return {"STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db", **variables}

    return chosen


@pytest.fixture(autouse=True)
def _no_threads_are_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the threads of applications that were made by hand, unless they deliver or carry out requests.

    Every application works beside its requests; hundreds of them in one process would ask databases that
    are gone for the rest of the run.
    """
    started: list[Threads] = []
    start = Threads._start

    def noted(threads: Threads) -> None:
        start(threads)
        if not any(name.startswith(("push", "requests")) for name in threads._work.pieces):
            started.append(threads)

    monkeypatch.setattr(Threads, "_start", noted)
    yield
    for threads in started:
        threads.stop()


@pytest.fixture
def make_scim(backend: Callable[[set[str]], dict[str, str]]) -> Iterator[Callable[..., ScimClient]]:
    """Make a client of an application on an empty store with the environment variables given."""
    apps = []

    def make(**environ: str) -> ScimClient:
        variables = {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set(environ)), **environ}
        if not any(name.startswith(("SET_", "ASYNC_", "CELERY_")) for name in environ):
            # Nobody waits for what is done beside requests.
            variables.setdefault("EMBEDDED_WORKER", "false")
        apps.append(create_app(Settings.from_env(variables)))
        return ScimClient(apps[-1].test_client())

    yield make
    for app in apps:
        app.extensions["scim.driver"].stop()
        if (failed_logins := app.extensions["scim.delivery"].audit.failed_logins) is not None:
            # Later, the next test would have them in its log.
            failed_logins.write()
        app.extensions["scim.delivery"].database.close()
        app.extensions["scim.storage"].close()


@pytest.fixture
def scim(make_scim: Callable[..., ScimClient]) -> ScimClient:
    return make_scim()


class Server:
    """`scim serve` as a process of its own, on a free port."""

    def __init__(self, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            "PATH": os.environ["PATH"],
            "API_KEY": KEY,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            **environ,
        }
        self.start()

    def command(self) -> list[str]:
        """Return the command that serves."""
        return [str(Path(sys.executable).parent / "scim"), "serve"]

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.process = subprocess.Popen(self.command(), env=self.environ, start_new_session=True)
        deadline = time.monotonic() + 30
        while True:
            try:
                requests.get(f"{self.url}/health", timeout=5)
                return
            except (requests.ConnectionError, requests.Timeout):
                assert self.process.poll() is None, "the server did not start"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)

    def kill(self) -> None:
        """End the process and its workers at once, as a power failure would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask the process to end and return its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {KEY}"} | options.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)


@pytest.fixture
def serve(backend: Callable[[set[str]], dict[str, str]]) -> Iterator[Callable[..., Server]]:
    """Start servers on one store with the environment variables given; all are stopped at the end."""
    servers: list[Server] = []

    def start(**environ: str) -> Server:
        servers.append(Server(**{**backend(set(environ)), **environ}))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def scim_paths(scim: ScimClient) -> set[str]:
    """Every path of the API, with {id} for a variable part."""
    paths = scim("GET", "/openapi.json").json["paths"]
    return {re.sub(r"\{\w+\}", "{id}", path) for path in paths}
