"""Stores that earlier commits made: all that is in them is served, and what was under way is finished once.

tests/layouts has a small store for each layout of tables that ever was, named by backend and commit.
Each holds the users ann and bob and the group Guides with both. Those with events also have ann's SET
delivered, bob's refused, the rest pending; the group Team, whose SETs are half made; carl, who has none
yet; a Bulk request that died before its end (dora, emil), and one that nobody has begun (fred).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app import create_app
from app.cli import main
from app.configuration.settings import Settings
from set_delivery import tables as state_tables
from storage.index import tables
from tests.conftest import KEY, ScimClient, error_of
from tests.events import kinds, sets
from tests.receivers import HttpReceiver
from tests.servers import SqliteFolder

LAYOUTS = Path(__file__).parent.parent / "layouts"
# From the first commit with events on.
WITH_EVENTS = ("3013d1f", "8a276f1", "8fb352f")
# How the refusal of a store of a later release ends.
WHAT_TO_DO = "install the later release again, or restore the backup made before the upgrade"
FOR_EVER = {"SET_RETENTION": "999999999", "ASYNC_RESULT_TTL": "999999999"}


class Store:
    """A store as an earlier commit left it, and the servers that open it."""

    def __init__(self, server: Any, url: str, environ: dict[str, str]) -> None:
        self.server = server
        self.url = url
        self.environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "EMBEDDED_WORKER": "false", **environ}
        self._apps: list[Any] = []

    def open(self, **environ: str) -> ScimClient:
        self._apps.append(create_app(Settings.from_env({**self.environ, **environ})))
        return ScimClient(self._apps[-1].test_client())

    def with_events(self, receiver: HttpReceiver) -> ScimClient:
        return self.open(
            SET_PUSH_URL=receiver.url, SET_POLL_ENABLED="true", ASYNC_REQUEST="request", **FOR_EVER
        )

    def execute(self, *statements: str) -> list[Any]:
        found: list[Any] = self.server.execute(self.url, *statements)
        return found

    def close(self) -> None:
        for app in self._apps:
            app.extensions["scim.delivery"].database.close()
            app.extensions["scim.storage"].close()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Fill an empty database with one of the dumps."""
    backend, _, commit = request.param.partition("-")
    if backend not in (request.config.getoption("--backend") or (backend,)):
        pytest.skip("runs on other backends only")
    sqlite = SqliteFolder(tmp_path)
    if backend == "files":
        kept = json.loads((LAYOUTS / f"files-{commit}.json").read_text())
        for name, text in kept["files"].items():
            file = tmp_path / "data" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        made = Store(sqlite, f"sqlite:///{tmp_path}/data/.state.db", {"DATA_PATH": str(tmp_path / "data")})
        made.execute(*kept["state"])
    else:
        server = sqlite if backend == "sqlite" else request.getfixturevalue(backend)
        url = server.new_database()
        # The dumps are small because few attributes are indexed in them.
        made = Store(server, url, {"DATABASE_URL": url, "INDEXED_ATTRIBUTES": "title"})
        made.execute(*(LAYOUTS / f"{backend}-{commit}.sql").read_text().splitlines())
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    listening = HttpReceiver()
    yield listening
    listening.stop()


NAMES = sorted(file.stem for file in LAYOUTS.glob("*-*.*"))
EVENT_NAMES = [name for name in NAMES if name.endswith(WITH_EVENTS)]


@pytest.mark.parametrize("store", NAMES, indirect=True)
def test_what_is_in_a_store_of_every_layout_is_served(store: Store) -> None:
    scim = store.open()

    (ann,), (bob,) = (scim.names(f'userName eq "{name}"', attribute="id") for name in ("ANN", "bob"))
    (group,) = scim.names('displayName eq "guides"', "/Groups", "id")
    members = scim("GET", f"/Groups/{group}").json["members"]
    assert {(member["value"], member["display"]) for member in members} == {(ann, "ann"), (bob, "bob")}
    assert "ann" in scim.names('title eq "chief"')
    count = scim("GET", "/Users").json["totalResults"]
    error_of(scim("POST", "/Users", {"userName": "ANN"}), 409, "uniqueness")
    gina = scim.user("gina")
    assert scim("DELETE", f"/Users/{bob}").status_code == 204
    assert scim("PUT", f"/Users/{gina['id']}", {"userName": "gina", "title": "t"}).status_code == 200
    assert scim("GET", "/Users").json["totalResults"] == count
    assert [m["value"] for m in scim("GET", f"/Groups/{group}").json["members"]] == [ann]
    assert store.open().names('userName sw "g"') == ["gina"]


@pytest.mark.parametrize("store", EVENT_NAMES, indirect=True)
def test_what_was_under_way_in_a_store_of_every_layout_is_finished_once(
    store: Store, receiver: HttpReceiver
) -> None:
    jobs = [txn for (txn,) in store.execute("SELECT txn FROM scim_job ORDER BY seq")]
    refused = store.execute("SELECT position FROM scim_delivery WHERE dead_at IS NOT NULL")
    scim = store.with_events(receiver)
    assert scim("GET", "/health/ready").status_code == 200
    scim.user("gina")

    for _ in range(3):
        scim.work()

    names = {user["id"]: user["userName"] for user in scim("GET", "/Users").json["Resources"]}
    names |= {group["id"]: group["displayName"] for group in scim("GET", "/Groups").json["Resources"]}
    assert sorted(names.values()) == ["Guides", "Team", "ann", "bob", "carl", "dora", "emil", "fred", "gina"]
    told = [(kind, names[uri.rpartition("/")[2]]) for kind, uri in kinds(receiver.claims)]
    created = ("Guides", "Team", "carl", "dora", "emil", "fred", "gina")
    assert sorted(told) == sorted(
        [("prov:create:notice", name) for name in created]
        + [("feed:add", name) for name in ("ann", "bob")] * 2
        + [("misc:asyncresp", name) for name in ("dora", "emil", "fred")]
    )
    jtis = [claims["jti"] for claims in receiver.claims]
    assert len(set(jtis)) == len(jtis)
    assert [one["jti"] for one in sets(scim)[2:]] == jtis, "behind the SETs of ann and bob"
    (state,) = scim.app.extensions["scim.delivery"].inventory.receivers()
    assert (state.pending, state.dead, state.delivered) == (0, 1, len(jtis) + 1)
    assert store.execute("SELECT position FROM scim_delivery WHERE dead_at IS NOT NULL") == refused
    bulk, single = (scim("GET", f"/Async/{txn}") for txn in jobs)
    assert [one["status"] for one in bulk.json["Operations"]] == ["201", "201"], bulk.text
    assert single.status_code == 200, single.text


RELEASED = [name for name in NAMES if name.endswith(("8a276f1", "8fb352f"))]


@pytest.mark.parametrize("store", RELEASED, indirect=True)
def test_two_processes_that_start_at_once_on_an_old_store_both_serve_it(store: Store) -> None:
    program = (
        "import os\nfrom app import create_app\nfrom app.configuration.settings import Settings\n"
        "app = create_app(Settings.from_env(os.environ))\n"
        "answer = app.test_client().get('/Users', headers={'x-api-key': os.environ['API_KEY']})\n"
        "print(answer.json['totalResults'])"
    )
    environ = {"PATH": os.environ["PATH"], "SET_POLL_ENABLED": "true", **store.environ}

    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environ,
            cwd=LAYOUTS.parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    ended = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [(out.strip(), code) for (out, _), code in ended] == [("5", 0)] * 2, ended


@pytest.mark.parametrize("store", ["sqlite-3013d1f", "files-3013d1f"], indirect=True)
def test_readiness_covers_the_tables_of_delivery(
    store: Store, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    scim = store.with_events(receiver)
    assert scim("GET", "/health/ready").status_code == 200

    store.execute("DROP TABLE scim_begun")

    error_of(scim("GET", "/health/ready"), 503)
    assert "no such table: scim_begun" in caplog.text


@pytest.mark.parametrize(
    "store, table, environ",
    [
        ("sqlite-8a276f1", "scim_layout", {}),
        ("sqlite-8a276f1", "scim_state", {}),
        ("sqlite-8a276f1", "scim_state", {"SET_POLL_ENABLED": "true"}),
        ("files-3013d1f", "scim_state", {"SET_POLL_ENABLED": "true"}),
        ("files-3013d1f", "scim_state", {"ASYNC_REQUEST": "request"}),
    ],
    indirect=["store"],
)
def test_a_store_of_a_later_release_is_refused_in_words(
    store: Store, table: str, environ: dict[str, str]
) -> None:
    store.execute(f"UPDATE {table} SET version = 99")
    for command in ("serve", "worker"):
        ended = subprocess.run(
            [Path(sys.executable).parent / "scim", command],
            env={"PATH": os.environ["PATH"], "PORT": "0", **store.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
        )

        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith("scim: ") and "version 99, made by a later release" in line
        known = {"scim_layout": tables.VERSION, "scim_state": state_tables.VERSION}[table]
        assert line.endswith(f"up to {known}: {WHAT_TO_DO}")


@pytest.mark.parametrize(
    "store, table",
    [
        ("sqlite-8a276f1", "scim_layout"),
        ("sqlite-8a276f1", "scim_state"),
        ("postgresql-8fb352f", "scim_layout"),
        ("files-3013d1f", "scim_state"),
    ],
    indirect=["store"],
)
def test_a_check_says_that_the_start_would_refuse_a_store(store: Store, table: str) -> None:
    store.execute(f"UPDATE {table} SET version = 99")

    result = CliRunner().invoke(main, ["check", "--adopt"], env=store.environ)

    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "version 99, made by a later release" in line and line.endswith(WHAT_TO_DO)


@pytest.mark.parametrize(
    "store, table, command",
    [
        ("sqlite-8a276f1", "scim_layout", "scim import /dev/null"),
        ("sqlite-8a276f1", "scim_state", "scim import /dev/null"),
        ("sqlite-8a276f1", "scim_layout", "scim events list"),
        ("files-3013d1f", "scim_state", "scim events list"),
        ("sqlite-8a276f1", "scim_layout", "uwsgi --ini uwsgi.ini"),
        ("sqlite-8a276f1", "scim_state", "gunicorn --bind 127.0.0.1:0 --threads 2 wsgi:application"),
        ("sqlite-8a276f1", "scim_layout", "celery -A wsgi.celery worker"),
        ("files-3013d1f", "scim_state", "celery -A wsgi.celery beat"),
    ],
    indirect=["store"],
)
def test_no_program_opens_a_store_of_a_later_release(store: Store, table: str, command: str) -> None:
    store.execute(f"UPDATE {table} SET version = 99")
    name, *words = command.split()
    fixed = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": "0", "WORKERS": "1", "THREADS": "2"}
    # No broker has to run: the store is opened first.
    settings = {"SET_POLL_ENABLED": "true", "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}

    ended = subprocess.run(
        [Path(sys.executable).parent / name, *words],
        env={**fixed, **settings, **store.environ},
        cwd=LAYOUTS.parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode != 0
    # uwsgi and gunicorn write lines of their own as well.
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("scim: ")]
    assert "version 99, made by a later release" in line and line.endswith(WHAT_TO_DO)
    assert store.execute(f"SELECT version FROM {table}") == [(99,)]


def columns(execute: Callable[..., list[Any]]) -> list[str]:
    """Return every column of ours in an SQLite file."""
    rows = execute(
        "SELECT m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c "
        "WHERE m.type = 'table' AND m.name LIKE 'scim_%' ORDER BY 1"
    )
    return [name for (name,) in rows]


@pytest.mark.parametrize("store", [n for n in NAMES if n.startswith("sqlite")], indirect=True)
def test_an_old_store_gets_the_layout_of_a_new_one(
    store: Store, receiver: HttpReceiver, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    new = Store(store.server, url, {"DATABASE_URL": url})
    new.with_events(receiver)
    store.with_events(receiver)

    assert columns(store.execute) == columns(new.execute)
    # This fails when a table changes without a new version: raise it, say how old tables get there, and
    # put a store of the last commit with the old layout among the others.
    file = LAYOUTS / f"columns of {tables.VERSION} and {state_tables.VERSION}.txt"
    assert columns(new.execute) == file.read_text().splitlines()
    new.close()
