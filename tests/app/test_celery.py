"""Celery over real brokers: messages wake the workers, and nothing depends on their arrival."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import create_app
from app.configuration.settings import Settings, SettingsError
from app.protocol.context import system
from app.protocol.write import Write
from schema.registry import load_registry
from set_delivery.intents import IntentTable
from set_delivery.leases import lease
from storage.adapter import StoredResource
from tests.brokers import PASSWORD, RabbitmqServer, RedisServer
from tests.conftest import KEY, ScimClient, error_of
from tests.receivers import ACCEPTS, Behaviour, HttpReceiver

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
PROGRAMS = Path(sys.executable).parent
WORKER = ("worker", "--without-mingle", "--without-gossip")
BROKERS = {"redis": RedisServer, "rabbitmq": RabbitmqServer}


class Service:
    """A service provider in this process, and what Celery does for it in others."""

    def __init__(self, folder: Path, broker: Any, **environ: str) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "API_KEY": KEY,
            "DATABASE_URL": f"sqlite:///{folder}/scim.db",
            "SQLITE_SYNCHRONOUS": "NORMAL",
            "CELERY_BROKER_URL": broker.url,
            **environ,
        }
        self.app = create_app(Settings.from_env(self.environ))
        self.scim = ScimClient(self.app.test_client())
        self._processes: list[subprocess.Popen[bytes]] = []

    def celery(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of Celery with the environment of the web server."""
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [PROGRAMS / "celery", "-A", "wsgi.celery", *arguments],
                cwd=self.folder,
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and its children at once, as a power failure would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def users(self, prefix: str, count: int) -> list[str]:
        """Create users and return their ids."""
        return [self.scim.user(f"{prefix}{number}")["id"] for number in range(count)]

    @property
    def log(self) -> str:
        """What Celery has said so far."""
        return (self.folder / "log").read_text()

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            if process.poll() is None:
                self.kill(process)
        self.app.extensions["scim.driver"].stop()
        self.app.extensions["scim.storage"].close()


def ids(receiver: HttpReceiver) -> list[str]:
    """Return the ids of the resources that a receiver was told of, in order."""
    # Who is killed leaves half a request behind.
    whole = [one for one in receiver.attempts if len(one.body) == int(one.headers["Content-Length"])]
    return [attempt.claims["sub_id"]["id"] for attempt in whole]


def takes_its_time(seconds: float) -> Behaviour:
    """Return a behaviour that accepts everything, after a while."""

    def behave(handler: Any) -> None:
        time.sleep(seconds)
        ACCEPTS(handler)

    return behave


def arrive(receiver: HttpReceiver, expected: list[str]) -> bool:
    """Return whether a receiver is told of all that is expected in time."""
    return receiver.wait_for(lambda: set(expected) <= set(ids(receiver)))


def is_healthy(service: Service, name: str = "") -> bool:
    """Ask for the worker on this host, or the host `name`, as the health check of compose.yaml does."""
    worker = yaml.safe_load(COMPOSE.read_text())["services"]["worker"]
    kind, command = worker["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    environ = {**service.environ, "HOSTNAME": name or socket.gethostname()}
    environ["PATH"] = f"{PROGRAMS}:{os.environ['PATH']}"
    shell = ["sh", "-c", command.replace("$$", "$")]
    return subprocess.run(shell, env=environ, cwd=service.folder, capture_output=True).returncode == 0


@pytest.fixture(scope="module", params=sorted(BROKERS))
def broker(request: pytest.FixtureRequest) -> Iterator[Any]:
    server = BROKERS[request.param]()
    yield server
    server.remove()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    listening = HttpReceiver()
    yield listening
    listening.stop()


@pytest.fixture
def make_service(broker: Any, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def make(**environ: str) -> Service:
        services.append(Service(tmp_path, broker, **environ))
        return services[-1]

    yield make
    for service in services:
        service.close()


def test_a_worker_of_celery_does_the_work_and_the_web_process_none(
    make_service: Callable[..., Service], receiver: HttpReceiver
) -> None:
    others = {thread.ident for thread in threading.enumerate()}
    service = make_service(SET_PUSH_URL=receiver.url, ASYNC_REQUEST="request", SET_POLL_ENABLED="true")
    # Even then, no password is to be seen.
    service.environ["LOGLEVEL"] = "DEBUG"
    service.celery(*WORKER, "--concurrency", "4")

    assert arrive(receiver, service.users("first", 1))
    # Without beat, only a message can have told of these.
    created = service.users("u", 40)
    assert arrive(receiver, created)

    # In order, and once each, though four processes are there to deliver.
    assert ids(receiver)[1:] == created
    accepted = service.scim(
        "POST", "/Users", {"userName": "later"}, headers={"Prefer": "respond-async"}
    )
    assert accepted.status_code == 202
    assert receiver.wait_for(lambda: len(ids(receiver)) > 41)
    assert service.scim("GET", accepted.headers["Location"]).json["response"]["userName"] == "later"
    names = {thread.name for thread in threading.enumerate() if thread.ident not in others}
    assert not any(name.startswith(("scim push", "scim events", "scim requests")) for name in names)
    assert "scim wake-ups" in names
    assert "ready" in service.log and PASSWORD not in service.log
    assert is_healthy(service) and not is_healthy(service, name="elsewhere")


def test_without_a_broker_threads_of_the_web_process_do_the_work(
    tmp_path: Path, receiver: HttpReceiver
) -> None:
    environ = {"API_KEY": KEY, "DATABASE_URL": f"sqlite:///{tmp_path}/scim.db", "SET_PUSH_URL": receiver.url}
    app = create_app(Settings.from_env(environ))
    scim = ScimClient(app.test_client())

    created = [scim.user(f"u{number}")["id"] for number in range(10)]
    arrived = arrive(receiver, created)
    app.extensions["scim.driver"].stop()

    assert arrived and ids(receiver) == created
    app.extensions["scim.storage"].close()


def test_a_worker_that_is_killed_leaves_nothing_undone(
    make_service: Callable[..., Service], receiver: HttpReceiver
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    worker = service.celery(*WORKER, "--concurrency", "2")
    created = service.users("before", 1)
    assert arrive(receiver, created)
    receiver.behaviour = takes_its_time(0.1)

    created += service.users("u", 40)
    assert receiver.wait_for(lambda: len(receiver.attempts) > 10)
    service.kill(worker)
    assert len(set(ids(receiver))) < len(created)
    receiver.behaviour = ACCEPTS
    created += service.users("after", 5)
    service.celery(*WORKER, "--concurrency", "2", "--beat")

    assert arrive(receiver, created)
    assert list(dict.fromkeys(ids(receiver))) == created


def test_a_broker_that_is_down_fails_no_request_and_loses_nothing(
    make_service: Callable[..., Service], broker: Any, receiver: HttpReceiver, caplog: Any
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    # One process delivers, and the other listens to the broker.
    worker = service.celery(*WORKER, "--concurrency", "2")
    service.celery("beat")
    assert arrive(receiver, service.users("before", 1))
    assert service.scim("GET", "/health/ready").status_code == 200
    receiver.behaviour = takes_its_time(0.2)
    created = service.users("v", 10)
    assert receiver.wait_for(lambda: len(receiver.attempts) > 2)

    # While the worker is delivering.
    broker.stop(signal.SIGKILL)
    receiver.behaviour = ACCEPTS
    for number in range(30):
        created += service.users(f"u{number}-", 1)
        # A thread that sends in between is to get its turn.
        time.sleep(0.01)
    assert PASSWORD not in error_of(service.scim("GET", "/health/ready"), 503)

    def said() -> int:
        return sum("does not accept wake-ups" in record.getMessage() for record in caplog.records)

    assert receiver.wait_for(lambda: said() > 0)
    created += service.users("w", 5)
    broker.restart()

    assert arrive(receiver, created)
    assert service.scim("GET", "/health/ready").status_code == 200
    assert said() == 1
    assert worker.poll() is None
    assert PASSWORD not in caplog.text and PASSWORD not in service.log


def test_a_broker_that_does_not_answer_delays_no_request(
    make_service: Callable[..., Service], broker: Any, receiver: HttpReceiver
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    os.killpg(broker.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        service.users("u", 40)
        # Each would wait for two seconds, if it waited.
        written = time.monotonic()
        error_of(service.scim("GET", "/health/ready"), 503)
        checked = time.monotonic()
    finally:
        os.killpg(broker.process.pid, signal.SIGCONT)

    assert written - began < 60
    assert checked - written < 60


def test_what_cannot_be_delivered_fills_the_database_and_not_the_broker(
    make_service: Callable[..., Service], broker: Any, receiver: HttpReceiver
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    inventory = service.app.extensions["scim.delivery"].inventory
    receiver.stop()
    service.celery("beat")

    created = []
    for number in range(20):
        created += service.users(f"u{number}-", 5)
        time.sleep(0.05)
    # Beat has looked by now, and nobody takes any message.
    time.sleep(2.5)
    unseen = broker.waiting("scim.wake")
    service.celery(*WORKER, "--concurrency", "1")
    assert receiver.wait_for(lambda: inventory.receivers()[0].pending == 100)

    assert 1 <= unseen <= 2
    assert broker.waiting("scim.wake") + broker.waiting("scim.piece") < 5
    receiver.start()
    assert arrive(receiver, created)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.parametrize(
    ("task", "arguments"),
    [("scim.work", ("push push",)), ("scim.piece", ("default", "push push"))],
    ids=["0.2.0", "current"],
)
def test_a_message_names_a_base_and_a_piece_or_as_in_an_earlier_release_a_piece(
    make_service: Callable[..., Service], receiver: HttpReceiver, task: str, arguments: tuple[str, ...]
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    created = service.users("u", 1)
    service.app.extensions["scim.driver"].stop()
    work, celery = service.app.extensions["scim.work"], service.app.extensions["scim.celery"]
    work.pieces["events"].run(lambda: False)
    # No wake-up is left: the worker learns of the SET by this message alone.
    celery.control.purge()
    celery.send_task(task, arguments)
    service.celery(*WORKER, "--concurrency", "1")

    assert arrive(receiver, created)
    assert "unknown task" not in service.log


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_message_for_another_base_is_reported_and_does_nothing(
    make_service: Callable[..., Service], receiver: HttpReceiver
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    service.app.extensions["scim.celery"].send_task("scim.piece", ("other", "push push"))
    service.celery(*WORKER, "--concurrency", "1")

    assert receiver.wait_for(lambda: "unknown task other/push push" in service.log)
    assert arrive(receiver, service.users("u", 1))


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_slow_receiver_with_a_backlog_leaves_turns_to_the_others(
    make_service: Callable[..., Service], receiver: HttpReceiver
) -> None:
    slow = HttpReceiver()
    slow.behaviour = takes_its_time(0.5)
    receivers = f'[{{"name": "a", "url": "{slow.url}"}}, {{"name": "b", "url": "{receiver.url}"}}]'
    service = make_service(SET_RECEIVERS=receivers)
    try:
        created = service.users("u", 60)
        service.celery(*WORKER, "--concurrency", "1")

        assert arrive(receiver, created)
        assert 0 < len(slow.attempts) < 60
    finally:
        service.close()
        slow.stop()


FORKS = """
import os, time
from app import create_app
from app.configuration.settings import Settings
client = create_app(Settings.from_env()).test_client()
def write(name):
    headers = {"Authorization": "Bearer " + os.environ["API_KEY"]}
    answer = client.post("/Users", json={"userName": name}, headers=headers)
    print(answer.json["id"], flush=True)
    time.sleep(0.3)
write("parent")
child = os.fork()
if not child:
    write("child")
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_process_forked_from_one_that_has_sent_wake_ups_sends_its_own(
    make_service: Callable[..., Service], receiver: HttpReceiver
) -> None:
    service = make_service(SET_PUSH_URL=receiver.url)
    service.celery(*WORKER, "--concurrency", "1")
    assert arrive(receiver, service.users("first", 1))

    written = run("-c", FORKS, **service.environ)

    assert len(written.stdout.split()) == 2, written.stderr
    assert arrive(receiver, written.stdout.split())


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_piece_of_the_work_that_is_done_in_several_threads_is_done_once(
    make_service: Callable[..., Service], receiver: HttpReceiver
) -> None:
    # A lease takes so long to get that all of them ask for it.
    service = make_service(SET_PUSH_URL=receiver.url, SQLITE_SYNCHRONOUS="FULL")
    pieces = service.app.extensions["scim.work"].pieces
    together = threading.Barrier(8)
    created = []

    def work(piece: str) -> None:
        together.wait()
        pieces[piece].run(lambda: False)

    for number in range(5):
        created += service.users(f"u{number}-", 10)
        for piece in ("events", "push push"):
            threads = [threading.Thread(target=work, args=(piece,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    assert ids(receiver) == created


def test_writes_that_nobody_answered_for_are_judged_by_one_process_at_a_time(tmp_path: Path) -> None:
    environ = {"API_KEY": KEY, "DATA_PATH": str(tmp_path), "SET_POLL_ENABLED": "true"}
    app = create_app(Settings.from_env(environ))
    delivery, user = app.extensions["scim.delivery"], ScimClient(app.test_client()).user("a")
    removed = StoredResource("gone", "{}", "1", created=user["meta"]["created"])
    user_type = load_registry(None).resource_type("User")
    assert user_type
    plan = Write("delete", user_type, removed, None).plan(replace(system(), txn="txn"))
    intents = IntentTable(delivery.database)
    intents.leave(intents.begin(plan))

    with lease(delivery.database, "intents", "another process", 10):
        meanwhile = delivery.settle_intents()
    afterwards = delivery.settle_intents()

    assert (meanwhile, afterwards) == (0, 1)
    app.extensions["scim.storage"].close()
    delivery.database.close()


def test_the_broker_must_prove_who_it_is(
    make_service: Callable[..., Service], broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = broker.tls_url
    service = make_service(CELERY_BROKER_URL=url, SET_POLL_ENABLED="true")

    stranger = service.scim("GET", "/health/ready")
    monkeypatch.setenv("SSL_CERT_FILE", str(broker.certificate))
    known = service.scim("GET", "/health/ready")

    assert (stranger.status_code, known.status_code) == (503, 200)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "url", ["http://h", "redis", "redis://:hush@", "amqp://u:hush@h:0/", "redis://h;ftp://u:hush@h"]
)
def test_a_broker_url_that_cannot_be_used_is_a_problem_with_the_settings(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"CELERY_BROKER_URL": url})

    assert [problem.split(":")[0] for problem in caught.value.problems] == ["CELERY_BROKER_URL"]
    assert "hush" not in str(caught.value)


def test_without_a_broker_celery_is_not_even_imported(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/scim.db"

    ended = run("-c", "import sys, wsgi; print('celery' in sys.modules)", DATABASE_URL=database)

    assert ended.stdout == "False\n"


def test_celery_without_a_broker_says_what_is_missing(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/scim.db"

    ended = run("-m", "celery", "-A", "wsgi.celery", "worker", DATABASE_URL=database)

    assert ended.returncode != 0
    assert "CELERY_BROKER_URL: is required" in ended.stderr


@pytest.mark.parametrize("missing", ["celery", "redis"])
def test_a_broker_without_its_packages_is_a_problem_with_the_settings(tmp_path: Path, missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import wsgi"
    database = f"sqlite:///{tmp_path}/scim.db"

    ended = run("-c", program, DATABASE_URL=database, CELERY_BROKER_URL="redis://:hush@127.0.0.1/")

    assert "scim: CELERY_BROKER_URL: its driver (celery) is not installed" in ended.stderr
    assert "/pip install -e " in ended.stderr and "[celery]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hush" not in ended.stderr
