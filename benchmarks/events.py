"""What publishing events costs a write, how fast they leave, and what 200 kills do to them.

    python -m benchmarks.events [--kills 200] [--save]

On SQLite and on PostgreSQL. Rounds are interleaved; a figure is the median of the rounds.
"""

import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from app import create_app
from app.configuration.settings import Settings
from benchmarks.operations import Service, measured, user
from benchmarks.scale import database
from tests.conftest import Server
from tests.receivers import HttpReceiver
from tests.storm import Storm

RESULTS = Path(__file__).parent / "results" / "events.md"
ROUNDS = 9
CREATES = 150
BACKLOG = 2000
POLLED = 10_000
PAGE = 1000
# The names of databases in the tables.
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
NewDatabase = Callable[[], str]


def _receive(found: Any, ending: Any) -> None:
    receiver = HttpReceiver()
    found.put(receiver.url)
    ending.wait()
    receiver.stop()


@contextmanager
def receiver_process() -> Iterator[str]:
    """Yield the URL of a receiver in a process of its own, which takes everything."""
    context = multiprocessing.get_context("spawn")
    found, ending = context.Queue(), context.Event()
    process = context.Process(target=_receive, args=(found, ending))
    process.start()
    yield found.get()
    ending.set()
    process.join()


def service(url: str, **environ: str) -> Any:
    """Return an application on a database, with a worker only if it is told so."""
    variables = {
        "API_KEY": "key",
        "LOGLEVEL": "ERROR",
        "EMBEDDED_WORKER": "false",
        "DATABASE_URL": url,
        "BULK_MAX_PAYLOAD_SIZE": str(16 * 1024 * 1024),
        **environ,
    }
    return create_app(Settings.from_env(variables))


def cost_of_publishing(new_database: NewDatabase, url: str) -> list[str]:
    """Return rows on what a create costs without events and with them."""
    described: dict[str, dict[str, str]] = {
        "no events": {},
        "notices to one receiver": {"SET_PUSH_URL": url},
        "full events to one receiver": {"SET_PUSH_URL": url, "EVENT_MODE": "full"},
        "notices to one receiver and a feed": {"SET_PUSH_URL": url, "SET_POLL_ENABLED": "true"},
    }
    variants = {name: service(new_database(), **more) for name, more in described.items()}
    numbers = iter(range(10**8))
    works: dict[str, Callable[[], object]] = {}
    for name, app in variants.items():
        called = Service(app)
        works[name] = lambda called=called: called("POST", "/Users", body=user(next(numbers)))
    figures: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            figures[name].append(measured(work, CREATES))
    base = statistics.median(figures["no events"])
    rows = []
    for name, row in figures.items():
        figure = statistics.median(row)
        rows.append(f"| create, {name} | {figure:,.0f} us | {figure / base:.2f} |")
    return rows


def cost_with_delivery(new_database: NewDatabase, url: str) -> list[str]:
    """Return rows on the rate of creates through a server that delivers at the same time."""
    variants: dict[str, dict[str, str]] = {
        "no events": {},
        "notices stored for readers": {"SET_POLL_ENABLED": "true"},
        "notices pushed at the same time by `scim worker`": {"SET_PUSH_URL": url, "EMBEDDED_WORKER": "false"},
        "notices pushed at the same time by the same processes": {"SET_PUSH_URL": url},
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(3):
        for name, more in variants.items():
            server = Server(DATABASE_URL=new_database(), WORKERS="2", LOGLEVEL="CRITICAL", **more)
            workers = []
            if "EMBEDDED_WORKER" in more:
                scim = Path(sys.executable).parent / "scim"
                workers.append(subprocess.Popen([scim, "worker"], env=server.environ))
            rates[name].append(_rate(server))
            for process in workers:
                process.kill()
                process.wait()
            server.stop()
    base = statistics.median(rates["no events"])
    return [
        f"| creates over HTTP, 2 processes, 4 clients, {name} | {statistics.median(row):,.0f} /s "
        f"| {base / statistics.median(row):.2f} |"
        for name, row in rates.items()
    ]


def _rate(server: Server, seconds: float = 4.0) -> float:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        counts = pool.starmap(_create_for, [(server.url, number, seconds) for number in range(4)])
    return sum(counts) / seconds


def _create_for(url: str, client: int, seconds: float) -> int:
    import requests

    from tests.conftest import KEY

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"
    count, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = session.post(f"{url}/Users", json=user(client * 10**6 + count), timeout=30)
        assert answer.status_code == 201, answer.text
        count += 1
    return count


def signatures(folder: str) -> dict[str, dict[str, str]]:
    """Return the settings for each kind of signature by its name."""
    keys: dict[str, Any] = {
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
    }
    variants: dict[str, dict[str, str]] = {"unsigned": {}, "HS256": {"SET_SIGNING_SECRET": "x" * 32}}
    for algorithm, key in keys.items():
        path = Path(folder) / f"{algorithm}.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        variants[algorithm] = {"SET_SIGNING_KEY_FILES": str(path), "SET_SIGNING_ALGORITHM": algorithm}
    return variants


def throughput(new_database: NewDatabase, url: str) -> list[str]:
    """Return rows on how fast a backlog reaches one receiver."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, more in signatures(folder).items():
            app = service(new_database(), SET_PUSH_URL=url, **more)
            _fill(app, BACKLOG)
            delivery = app.extensions["scim.delivery"]
            started = time.perf_counter()
            delivery.dispatcher.run()
            dispatched = time.perf_counter()
            pusher, receiver = delivery.pusher(), delivery.publishing.receivers[0]
            assert pusher.run(receiver) == BACKLOG
            delivered = time.perf_counter()
            pusher.close()
            if not rows:
                rows.append(f"| from the queue to SETs | {BACKLOG / (dispatched - started):,.0f} /s | |")
            rows.append(
                f"| delivered to one receiver, {name} | {BACKLOG / (delivered - dispatched):,.0f} /s | |"
            )
    return rows


def polled(new_database: NewDatabase, url: str) -> list[str]:
    """Return rows on how long a reader takes for a backlog, and to acknowledge it."""
    rows, database = [], new_database()
    with tempfile.TemporaryDirectory() as folder:
        _fill(service(database, SET_POLL_ENABLED="true"), POLLED)
        for name, more in signatures(folder).items():
            app = service(database, SET_POLL_ENABLED="true", **more)
            delivery = app.extensions["scim.delivery"]
            delivery.dispatcher.run()
            with delivery.database.transaction():
                delivery.database.run("UPDATE scim_stream SET acked_at = NULL")
            started = time.perf_counter()
            assert _poll(Service(app)) == POLLED
            took_s = time.perf_counter() - started
            rows.append(f"| poll of {POLLED:,} SETs in pages of {PAGE:,}, {name} | {took_s:.2f} s | |")
    return rows


def _poll(called: Service) -> int:
    count, asked = 0, {"maxEvents": PAGE, "returnImmediately": True}
    sets: dict[str, str] = {}
    while True:
        body = {**asked, "ack": [*sets]}
        sets = orjson.loads(called("POST", "/Events/Feeds/default/Stream", body=body))["sets"]
        count += len(sets)
        if not sets:
            return count


def _fill(app: Any, count: int) -> None:
    called = Service(app)
    for start in range(0, count, 1000):
        body = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [
                {"method": "POST", "path": "/Users", "bulkId": str(n), "data": user(n)}
                for n in range(start, start + 1000)
            ],
        }
        called("POST", "/Bulk", body=body)


def killed(folder: str, kills: int) -> list[str]:
    """Return rows on a client that writes while processes are killed; nothing may be lost."""
    receiver = HttpReceiver()
    environ = {"SET_PUSH_URL": receiver.url, "WORKERS": "2", "LOGLEVEL": "CRITICAL"}
    server = Server(DATABASE_URL=f"sqlite:///{folder}/storm.db", **environ)
    storm = Storm(server, server.environ, receiver)
    try:
        storm.run(kills)
        storm.settle(120)
        figures = storm.check()
    finally:
        storm.close()
        server.kill()
        receiver.stop()
    kinds = ", ".join(f"{count} x {what}" for what, count in sorted(storm.kills.items()))
    rows = [f"| {name} | {count:,} |" for name, count in figures.items()]
    return [*rows, "| writes lost, events lost, events without a write | 0, 0, 0 |", "", f"Killed: {kinds}."]


@click.command()
@click.option("--database", "names", multiple=True, type=click.Choice([*TITLES]), default=[*TITLES])
@click.option("--kills", type=int, default=200)
@click.option("--save", is_flag=True, help=f"Write the tables to benchmarks/results/{RESULTS.name} as well.")
def main(names: tuple[str, ...], kills: int, save: bool) -> None:
    """Measure what events cost, how fast they leave, and what survives."""
    with tempfile.TemporaryDirectory() as folder, receiver_process() as url:
        lines = ["| what | figure | ratio to no events |", "|---|---|---|"]
        for name in names:
            with database(name) as new_database:
                for measure in (cost_of_publishing, cost_with_delivery, throughput, polled):
                    lines += [f"| {TITLES[name]}: {row[2:]}" for row in measure(new_database, url)]
                    click.echo("\n".join(lines), file=sys.stderr)
        machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, databases with fsync"
        lines += ["", f"{machine}; users of about 1.3 KB; the receiver is a process of its own."]
        if kills:
            lines += ["", "## Processes killed while a client writes without pauses", ""]
            lines += ["| what | figure |", "|---|---|", *killed(folder, kills)]
    text = "\n".join(lines)
    click.echo(text)
    if save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Events\n\n{text}\n")


if __name__ == "__main__":
    main()
