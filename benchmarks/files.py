"""What operations cost in a folder of 100,000 users beside one of 1,000, as ratios of one run.

    python -m benchmarks.files [--users 1000 100000] [--save]

The files are written first, as another program would leave them; then the index is built from them.
Requests go to the WSGI callable itself; the two folders take turns in every round, and a figure is
the median of the rounds. Writes are durable: every one waits for the disk.
"""

import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from app import create_app
from app.configuration.settings import Settings
from benchmarks.operations import Service, measured, user
from benchmarks.scale import ENVIRON, GROUP, PATCH, SMALL, user_id

RESULTS = Path(__file__).parent / "results" / "files.md"
ROUNDS = 7
# The ratio that each should stay below.
TARGETS = {"GET by id": 2.0, "userName eq": 2.0, "emails.value eq": 2.0, "create": 2.0}


class Store:
    """A folder of `count` users, a small group and a large one; `built_s` is what its index took."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        for name in ("Users", "Groups"):
            (folder / name).mkdir(parents=True)
        for number in range(count):
            document = {"id": user_id(number), **user(number)}
            (folder / "Users" / user_id(number)).write_bytes(orjson.dumps(document))
        for name, members in (("small", range(SMALL)), ("large", range(count))):
            values = [{"value": user_id(number), "type": "User"} for number in members]
            document = {"schemas": [GROUP], "id": name, "displayName": name, "members": values}
            (folder / "Groups" / name).write_bytes(orjson.dumps(document))
        started = time.perf_counter()
        app = create_app(Settings.from_env({**ENVIRON, "DATA_PATH": str(folder)}))
        self.built_s = time.perf_counter() - started
        started = time.perf_counter()
        self.service = Service(app)
        self.service("GET", "/Users", "count=1")
        self.looked_s = time.perf_counter() - started


def operations(store: Store) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return each operation by name, and how often a round repeats it."""
    service, new = store.service, iter(range(2 * 10**9, 3 * 10**9))

    def found(text: str) -> None:
        answer = orjson.loads(service("GET", "/Users", f"filter={quote(text)}"))
        assert answer["totalResults"] == 1, (text, answer)

    def any_user() -> int:
        return random.randrange(SMALL, store.count)

    def change(group: str, number: int) -> None:
        # Out and in again, so that every round finds the group as it was.
        for op in ("remove", "add"):
            operation = {"op": op, "path": "members", "value": [{"value": user_id(number)}]}
            body = {"schemas": [PATCH], "Operations": [operation]}
            answer = service("PATCH", f"/Groups/{group}", "excludedAttributes=members", body)
            assert b'"displayName"' in answer, answer

    def titled() -> None:
        number = any_user()
        body = {**user(number), "title": str(next(new))}
        assert b'"title"' in service("PUT", f"/Users/{user_id(number)}", body=body)

    def created() -> None:
        assert b'"id"' in service("POST", "/Users", body=user(next(new)))

    return {
        "GET by id": (200, lambda: service("GET", f"/Users/{user_id(any_user())}")),
        "userName eq": (100, lambda: found(f'userName eq "user{any_user():08}"')),
        "emails.value eq": (100, lambda: found(f'emails.value eq "u{any_user():08}@home.example"')),
        "create": (50, created),
        "PUT": (50, titled),
        "PATCH a member, group of 100": (25, lambda: change("small", random.randrange(SMALL))),
        "PATCH a member, group of all": (1, lambda: change("large", any_user())),
        "list page of 100": (10, lambda: service("GET", "/Users")),
    }


def measure(stores: list[Store]) -> dict[str, list[float]]:
    """Return microseconds per operation, for each of the stores."""
    works = [operations(store) for store in stores]
    rounds: dict[str, list[list[float]]] = {title: [[] for _ in stores] for title in works[0]}
    for _ in range(ROUNDS):
        for title, row in rounds.items():
            for position, work in enumerate(works):
                times, call = work[title]
                row[position].append(measured(call, times))
    return {title: [statistics.median(values) for values in row] for title, row in rounds.items()}


def report(stores: list[Store], figures: dict[str, list[float]]) -> str:
    """Return the figures as Markdown."""
    small, large = stores
    lines = [f"| microseconds | {small.count:,} users | {large.count:,} users | ratio | target |"]
    lines.append("|---|---|---|---|---|")
    for title, (first, second) in figures.items():
        target = f"<= {TARGETS[title]}" if title in TARGETS else ""
        lines.append(f"| {title} | {first:,.0f} | {second:,.0f} | {second / first:.2f} | {target} |")
    lines += ["", f"| seconds | {small.count:,} users | {large.count:,} users |", "|---|---|---|"]
    rows: dict[str, Any] = {
        "start without an index": (small.built_s, large.built_s),
        "first request, which checks every file": (small.looked_s, large.looked_s),
    }
    lines += [f"| {title} | {first:.3f} | {second:.3f} |" for title, (first, second) in rows.items()]
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    return "\n".join([*lines, "", f"{machine}; medians of {ROUNDS} interleaved rounds.", ""])


@click.command()
@click.option("--users", "numbers", type=(int, int), default=(1000, 100_000), help="The two sizes.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write, on the disk to measure.")
@click.option("--save", is_flag=True, help=f"Write the table to benchmarks/results/{RESULTS.name} as well.")
def main(numbers: tuple[int, int], folder: Path | None, save: bool) -> None:
    """Measure the small folder beside the large one."""
    random.seed(1)
    with tempfile.TemporaryDirectory(dir=folder) as root:
        stores = [Store(Path(root) / str(number), number) for number in numbers]
        text = report(stores, measure(stores))
    click.echo(text)
    if save:
        RESULTS.parent.mkdir(exist_ok=True)
        title = f"# Flat files: {numbers[1]:,} users compared with {numbers[0]:,}"
        RESULTS.write_text(f"{title}\n\n{text}")


if __name__ == "__main__":
    main()
