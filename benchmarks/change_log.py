"""What the change log costs a writer, and its dispatcher, on each backend: CPU with it and without.

    python -m benchmarks.change_log [--save] [--backend sqlite --backend postgresql ...]

Both stores of a backend take turns in every round; a figure is the median of the rounds in
microseconds of CPU of the thread that answers requests, so that fakes and servers do not count.
Nobody receives events. Positions are given in a thread of their own, measured apart.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from app.configuration.settings import Settings
from app.wiring.base import open_base
from benchmarks.backends import SERVERS, created, environs, service_on
from benchmarks.operations import Service, user
from benchmarks.scale import ENVIRON, PATCH

RESULTS = Path(__file__).parent / "results" / "change_log.md"
ROUNDS = 15
TIMES = 40


def operations(service: Service) -> dict[str, Callable[[], object]]:
    """Return each kind of write by name."""
    numbers = iter(range(10**9))
    kept = created(service, "/Users", user(next(numbers)))

    def change_title() -> None:
        operation = {"op": "replace", "path": "title", "value": f"Title {next(numbers)}"}
        answer = service("PATCH", f"/Users/{kept}", body={"schemas": [PATCH], "Operations": [operation]})
        assert operation["value"].encode() in answer, answer

    return {
        "create": lambda: created(service, "/Users", user(next(numbers))),
        "PATCH of a title": change_title,
    }


def cpu_us(work: Callable[[], object], times: int = TIMES) -> float:
    """Return the microseconds of this thread's CPU that one call of `work` takes."""
    started = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - started) / times * 1e6


def figures_of(make: Callable[[], dict[str, str]], folder: str) -> dict[str, tuple[float, float]]:
    """Return the CPU of each kind of write on one backend, without the log and with it."""
    rounds: dict[str, dict[str, list[float]]] = {}
    works: dict[str, dict[str, Callable[[], object]]] = {}
    for log in ("off", "on"):
        more = {"CHANGE_LOG": log, "EMBEDDED_WORKER": "false"}
        environ = make()
        if log == "on" and not environ.keys() & {"DATABASE_URL", "DATA_PATH"}:
            more["STATE_DATABASE_URL"] = f"sqlite:///{folder}/{time.time_ns()}.db"
        works[log] = operations(service_on({**environ, **more}))
        rounds[log] = {title: [] for title in works[log]}
    for number in range(ROUNDS):
        for log in ("off", "on") if number % 2 else ("on", "off"):
            for title, work in works[log].items():
                rounds[log][title].append(cpu_us(work))
    return {
        title: (statistics.median(rounds["off"][title]), statistics.median(rounds["on"][title]))
        for title in rounds["off"]
    }


def dispatcher_us(folder: str) -> float:
    """Return the microseconds of CPU that the dispatcher takes for one row, on SQLite."""
    environ = {"DATABASE_URL": f"sqlite:///{folder}/dispatcher.db", "EMBEDDED_WORKER": "false"}
    work = operations(service_on(environ))["PATCH of a title"]
    for _ in range(1000):
        work()
    base = open_base(Settings.from_env({**ENVIRON, **environ}))
    return cpu_us(lambda: _dispatch(base), 1) / 1000


def _dispatch(base: Any) -> None:
    base.delivery.dispatcher.run()


def report(figures: dict[str, dict[str, tuple[float, float]]], dispatcher: float) -> str:
    """Return the figures as Markdown."""
    titles = list(next(iter(figures.values())))
    lines = [
        "# CPU of the change log",
        "",
        f"{os.cpu_count()} cores, Python {platform.python_version()}. "
        "`python -m benchmarks.change_log` measures it anew; its docstring says how.",
        "",
        f"| backend | {' | '.join(f'{title}, off | on | on / off' for title in titles)} |",
        "|---" * (3 * len(titles) + 1) + "|",
    ]
    for name, row in figures.items():
        cells = " | ".join(f"{off:,.0f} | {on:,.0f} | {on / off:.2f}" for off, on in row.values())
        lines.append(f"| {name} | {cells} |")
    lines += ["", f"The dispatcher gives a position in {dispatcher:.0f} us (SQLite, batches of many rows)."]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--save", is_flag=True, help="Write the table to benchmarks/results as well.")
@click.option("--backend", "names", multiple=True, type=click.Choice(["sqlite", "files", *SERVERS]))
def main(save: bool, names: tuple[str, ...]) -> None:
    """Measure each backend, or those that are named."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        makers = environs(stack, names)
        figures = {name: figures_of(make, folder) for name, make in makers.items()}
        text = report(figures, dispatcher_us(folder))
    click.echo(text)
    if save:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
