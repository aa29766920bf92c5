"""How long an asynchronous request takes, beside the same one done at once.

    python -m benchmarks.asynchronous [--rounds 100] [--save]

A server of two processes on SQLite; once its own threads carry requests out, once a Celery worker on
Redis does. A client creates users one after the other, at once and later in turns, and asks for the
result every millisecond; a third user is created with `Prefer: wait`, so that the server waits for the
result. Figures are medians, and the 95th percentile behind them.
"""

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import requests

from tests.brokers import RedisServer
from tests.conftest import KEY, Server

RESULTS = Path(__file__).parent / "results" / "async.md"
TITLES = ("synchronous", "time to the 202", "from the 202 to the result", "answer that waits for the result")


def measure(server: Server, rounds: int) -> list[list[float]]:
    """Return milliseconds: of the request done at once, of the 202, from there to the result, of the wait."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {KEY}"
    figures: list[list[float]] = [[], [], [], []]

    def create(name: str, **headers: str) -> requests.Response:
        return session.post(f"{server.url}/Users", json={"userName": name}, headers=headers, timeout=30)

    for number in range(rounds):
        started = time.perf_counter()
        assert create(f"now{number}").status_code == 201
        at_once = time.perf_counter()
        answer = create(f"later{number}", Prefer="respond-async")
        accepted = time.perf_counter()
        where = server.url + answer.headers["Location"]
        while session.get(where, timeout=30).status_code != 200:
            time.sleep(0.001)
        done = time.perf_counter()
        assert create(f"waited{number}", Prefer="respond-async, wait=10").status_code == 201
        waited = time.perf_counter()
        times = (at_once - started, accepted - at_once, done - accepted, waited - done)
        for row, value in zip(figures, times, strict=True):
            row.append(value * 1000)
    return figures


@contextmanager
def served(**environ: str) -> Iterator[Server]:
    """Start a server on a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/scim.db"
        server = Server(DATABASE_URL=url, ASYNC_REQUEST="long", WORKERS="2", LOGLEVEL="ERROR", **environ)
        try:
            with celery_worker(url, environ) if "CELERY_BROKER_URL" in environ else ExitStack():
                yield server
        finally:
            server.kill()


@contextmanager
def celery_worker(url: str, environ: dict[str, str]) -> Iterator[None]:
    """Start a Celery worker and its beat on the store of a server."""
    command = [Path(sys.executable).parent / "celery", "-A", "wsgi.celery"]
    variables = {"PATH": os.environ["PATH"], "API_KEY": KEY, "DATABASE_URL": url, **environ}
    variables |= {"ASYNC_REQUEST": "long", "LOGLEVEL": "ERROR"}
    quiet, schedule = ("-l", "ERROR"), f"{url.removeprefix('sqlite:///')}.beat"
    running = [
        subprocess.Popen([*command, *words, *quiet], env=variables, start_new_session=True)
        for words in (("worker", "--concurrency", "2"), ("beat", "-s", schedule))
    ]
    try:
        time.sleep(5)
        yield
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def shown(values: list[float]) -> str:
    """Return the median and the 95th percentile."""
    return f"{statistics.median(values):.1f} / {sorted(values)[int(len(values) * 0.95)]:.1f} ms"


@click.command()
@click.option("--rounds", default=100, help="How many requests of each kind.")
@click.option("--save", is_flag=True, help="Write the table to benchmarks/results as well.")
def main(rounds: int, save: bool) -> None:
    """Measure the threads of the server, then Celery on Redis."""
    rows = {}
    with served() as server:
        rows["threads of the web processes"] = measure(server, rounds)
    redis = RedisServer()
    try:
        with served(CELERY_BROKER_URL=redis.url) as server:
            rows["Celery on Redis"] = measure(server, rounds)
    finally:
        redis.remove()
    lines = [
        "# Asynchronous requests",
        "",
        "Creation of a user on SQLite: median / 95th percentile. "
        f"{os.cpu_count()} cores, Python {platform.python_version()}.",
        "",
        f"| carried out by | {' | '.join(TITLES)} |",
        "|---" * (len(TITLES) + 1) + "|",
        *(f"| {name} | {' | '.join(map(shown, row))} |" for name, row in rows.items()),
    ]
    text = "\n".join(lines) + "\n"
    click.echo(text)
    if save:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
