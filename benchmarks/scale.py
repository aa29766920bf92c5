"""What operations cost in a store of 1,000,000 users beside one of 1,000, on each database.

Every answer of `benchmarks.searches` is compared with evaluation in the same run.

    python -m benchmarks.scale [--database sqlite] [--database postgresql] [--database mariadb] [--save]

Servers are started for this, with the durability they have by default. Users come in through the
import path. Requests go to the WSGI callable itself; the two stores take turns in every round, and
a figure is the median of the rounds. Memory is measured in a process of its own.
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from app import create_app
from app.configuration.settings import Settings
from app.protocol.context import system
from app.protocol.importing import ResourceImport
from app.wiring.base import open_base
from benchmarks.operations import Service, measured, user
from benchmarks.searches import PARTS, SEARCHES, calls, compared, filled_in
from tests.servers import MariadbServer, PostgresqlServer

RESULTS = Path(__file__).parent / "results"
DATABASES = ("sqlite", "postgresql", "mariadb")
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ENVIRON = {"API_KEY": "key", "LOGLEVEL": "ERROR"}
ROUNDS = 7
# Members of the small group, in both stores; the large group of a store has all users.
SMALL = 100

# The ratio each should stay below: of the large store to the small one, or, where there are two
# names, of the second to the first in the large store.
TARGETS: dict[tuple[str, ...], float] = {
    ("GET by id",): 1.5,
    ("userName eq",): 1.5,
    ("externalId eq",): 1.5,
    ("emails.value eq",): 1.5,
    ("create",): 2.0,
    ("PATCH a member, small group", "PATCH a member, large group"): 1.5,
    ("members.value eq, small group", "members.value eq, large group"): 1.5,
    ("groups of a user, small group", "groups of a user, large group"): 1.5,
    ("cursor page of 100, first", "cursor page of 100, middle"): 1.5,
    ("userName eq", "userName eq, sorted"): 1.5,
    ("emails.value eq", "emails.value eq, sorted"): 1.5,
    ("sortBy userName, first page", "sortBy userName, descending"): 1.5,
    ("meta.lastModified gt, few, sorted",): 1.5,
    ("id sw",): 1.5,
}
# Megabytes that a web process may take.
MEMORY_TARGET = 300


class Store:
    """A service on one database that holds `count` users, a small group and a large one."""

    def __init__(self, url: str, count: int) -> None:
        self.url, self.count, self.rate = url, count, 0.0
        settings = Settings.from_env({**ENVIRON, "DATABASE_URL": url})
        base = open_base(settings)
        started = time.perf_counter()
        for lines in (self._users(), self._groups()):
            ResourceImport(base.resources, base.imports, system("import"), _complain).run(lines)
            # The users are what counts; a group is a single line.
            self.rate = self.rate or count / (time.perf_counter() - started)
        base.adapter.close()

    @staticmethod
    def service_of(url: str, **more: str) -> Service:
        """Return a service on the database at `url`, with more settings."""
        return Service(create_app(Settings.from_env({**ENVIRON, "DATABASE_URL": url, **more})))

    def _users(self) -> Iterator[bytes]:
        with click.progressbar(range(self.count), label=f"{self.count} users", file=sys.stderr) as numbers:
            for number in numbers:
                yield orjson.dumps({**user(number), "id": user_id(number)})

    def _groups(self) -> Iterator[bytes]:
        for name, members in (("small", range(SMALL)), ("large", range(SMALL, self.count))):
            values = [{"value": user_id(number)} for number in members]
            yield orjson.dumps({"schemas": [GROUP], "id": name, "displayName": name, "members": values})


def _complain(number: int, problem: str) -> None:
    raise ValueError(f"line {number}: {problem}")


def user_id(number: int) -> str:
    """Return the id of a user, in no order that an index could profit from."""
    return f"{number * 2654435761 % 2**32:08x}-{number:08}"


def operations(store: Store) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return each operation by name, and how often a round repeats it."""
    service, count = Store.service_of(store.url), store.count
    new = iter(range(2 * 10**9, 3 * 10**9))

    def found(text: str, endpoint: str = "/Users", total: int | None = 1, **more: str) -> Any:
        query = "&".join(f"{key}={quote(value)}" for key, value in {"filter": text, **more}.items() if value)
        answer = orjson.loads(service("GET", endpoint, query))
        assert total in (None, answer["totalResults"]), (text, answer["totalResults"])
        return answer

    def any_user() -> int:
        return random.randrange(SMALL, count)

    def small_user() -> int:
        return random.randrange(SMALL)

    def change(group: str, member: int) -> None:
        # Out and in again, so that every round finds the group as it was.
        for op in ("remove", "add"):
            operation = {"op": op, "path": "members", "value": [{"value": user_id(member)}]}
            body = {"schemas": [PATCH], "Operations": [operation]}
            answer = service("PATCH", f"/Groups/{group}", bare, body)
            assert b'"displayName"' in answer, answer

    def groups_of(member: int) -> object:
        return found(f'members.value eq "{user_id(member)}"', "/Groups", 1, excludedAttributes="members")

    def retitled(number: int) -> object:
        return service("PUT", f"/Users/{user_id(number)}", body={**user(number), "title": str(next(new))})

    def shown(member: int) -> None:
        assert b'"groups"' in service("GET", f"/Users/{user_id(member)}")

    middle = middle_cursor(service, count)
    bare = "excludedAttributes=members"
    short = {"attributes": "userName"}
    return {
        "GET by id": (200, lambda: service("GET", f"/Users/{user_id(any_user())}")),
        "userName eq": (100, lambda: found(f'userName eq "user{any_user():08}"')),
        "externalId eq": (100, lambda: found(f'externalId eq "ext-{any_user():08}"')),
        "emails.value eq": (100, lambda: found(f'emails.value eq "u{any_user():08}@home.example"')),
        "create": (50, lambda: service("POST", "/Users", body=user(next(new)))),
        "PUT": (25, lambda: retitled(any_user())),
        "PATCH a member, small group": (25, lambda: change("small", small_user())),
        "PATCH a member, large group": (25, lambda: change("large", any_user())),
        "members.value eq, small group": (50, lambda: groups_of(small_user())),
        "members.value eq, large group": (50, lambda: groups_of(any_user())),
        "groups of a user, small group": (100, lambda: shown(small_user())),
        "groups of a user, large group": (100, lambda: shown(any_user())),
        "group without members, small group": (50, lambda: service("GET", "/Groups/small", bare)),
        "group without members, large group": (50, lambda: service("GET", "/Groups/large", bare)),
        "cursor page of 100, first": (10, lambda: service("GET", "/Users", "cursor=&count=100")),
        "cursor page of 100, middle": (10, lambda: service("GET", "/Users", middle)),
        "sortBy userName, first page": (10, lambda: service("GET", "/Users", "sortBy=userName")),
        "userName sw, 10 found": (50, lambda: found(f'userName sw "user{any_user() // 10:07}"', total=10)),
        "userName eq or emails.value eq": (
            50,
            lambda: found(
                f'userName eq "user{any_user():08}" or emails.value eq "u{any_user():08}@home.example"',
                total=None,
            ),
        ),
        "emails[type eq home and value sw]": (
            20,
            lambda: found(f'emails[type eq "home" and value sw "u{any_user():08}"]'),
        ),
        "active eq true, first page of 10": (
            2,
            lambda: found("active eq true", total=None, count="10", **short),
        ),
        **dict(calls(filled_in({**SEARCHES, **PARTS}, service, count, SMALL + 77), service)),
    }


def middle_cursor(service: Service, count: int) -> str:
    """Return the query for the page in the middle, which is come by page after page."""
    cursor = ""
    for _ in range(count // 200):
        answer = service("GET", "/Users", f"cursor={cursor}&count=100&attributes=userName")
        cursor = orjson.loads(answer)["nextCursor"]
    # A cursor belongs to one selection of resources, whatever is shown of them.
    return f"cursor={cursor}&count=100"


def memory_of(url: str) -> tuple[float, float]:
    """Return the megabytes of a process that lists 100,000 users, then reads the large group too."""
    service = Store.service_of(url)
    cursor = ""
    for _ in range(1000):
        cursor = orjson.loads(service("GET", "/Users", f"cursor={cursor}&count=100")).get("nextCursor")
        if cursor is None:
            break
    listed = _most_memory()
    total = sum(len(part) for part in service.parts("GET", "/Groups/large"))
    assert total > 0
    return listed, _most_memory()


def _most_memory() -> float:
    # Of this program alone; getrusage would count what it was forked from as well.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1]) / 1024


@contextmanager
def database(name: str) -> Iterator[Callable[[], str]]:
    """Yield a function that makes an empty database and returns its URL."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            numbers = iter(range(100))
            yield lambda: f"sqlite:///{folder}/{next(numbers)}.db"
        return
    # What an operator would give a database of this size; durable as they come.
    server: PostgresqlServer | MariadbServer
    if name == "postgresql":
        durable = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on")
        server = PostgresqlServer(shared_buffers="1GB", max_wal_size="4GB", **durable)
    else:
        sizes = {"innodb-buffer-pool-size": "2G", "innodb-log-file-size": "1G"}
        durable = {"innodb-flush-log-at-trx-commit": "1", "innodb-doublewrite": "1"}
        server = MariadbServer(**sizes, **durable)
    try:
        yield server.new_database
    finally:
        server.remove()


def measure(name: str, numbers: tuple[int, int]) -> dict[str, Any]:
    """Return the figures of one database."""
    with database(name) as new_database:
        stores = [Store(new_database(), number) for number in numbers]
        works = [operations(store) for store in stores]
        rounds: dict[str, list[list[float]]] = {title: [[], []] for title in works[0]}
        for _ in range(ROUNDS):
            for title in rounds:
                for position, work in enumerate(works):
                    times, call = work[title]
                    rounds[title][position].append(measured(call, times))
        settings: list[dict[str, str]] = [{}] if name == "mariadb" else [{}, {"FILTER_INDEX": "trigram"}]
        for more in settings:
            services = [Store.service_of(store.url, **more) for store in stores]
            sizes = [(store.url, store.count) for store in stores]
            rounds |= compared(services, sizes, SMALL + 77, ROUNDS if more else 0)
        command = [sys.executable, "-m", "benchmarks.scale", "--memory", stores[1].url]
        memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return {
            "figures": {t: [statistics.median(values) for values in row] for t, row in rounds.items()},
            "rate": stores[1].rate,
            "memory": [float(word) for word in memory],
        }


def ratio(figures: dict[str, list[float]], titles: tuple[str, ...]) -> float:
    """Return what `TARGETS` speaks of."""
    if len(titles) == 1:
        return figures[titles[0]][1] / figures[titles[0]][0]
    return figures[titles[1]][1] / figures[titles[0]][1]


def report(results: dict[str, dict[str, Any]], numbers: tuple[int, int]) -> str:
    """Return the figures as Markdown."""
    names = list(results)
    lines = ["## Ratios", "", f"| what | target | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for titles, target in TARGETS.items():
        what = f"{titles[0]}: {numbers[1]:,} / {numbers[0]:,} users"
        if len(titles) == 2:
            what = f"{titles[1]} / {titles[0].rpartition(', ')[2]}"
        cells = " | ".join(f"{ratio(results[name]['figures'], titles):.2f}" for name in names)
        lines.append(f"| {what} | <= {target} | {cells} |")
    for position, what in enumerate(("that lists 100,000 users", "that reads the large group too")):
        cells = " | ".join(f"{results[name]['memory'][position]:.0f} MB" for name in names)
        lines.append(f"| memory of a process {what} | <= {MEMORY_TARGET} MB | {cells} |")
    cells = " | ".join(f"{results[name]['rate']:,.0f}/s" for name in names)
    lines += [f"| import of {numbers[1]:,} users | >= 5,000/s on SQLite | {cells} |", ""]
    for name in names:
        lines += [f"## {name}, microseconds", "", "| operation | small store | large store | ratio |"]
        lines.append("|---|---|---|---|")
        for title, (small, large) in results[name]["figures"].items():
            lines.append(f"| {title} | {small:,.0f} | {large:,.0f} | {large / small:.2f} |")
        lines.append("")
    return "\n".join(lines)


@click.command()
@click.option("--database", "names", multiple=True, type=click.Choice(DATABASES), default=DATABASES)
@click.option("--users", "numbers", type=(int, int), default=(1000, 1_000_000), help="The two sizes.")
@click.option("--memory", help="Print the megabytes that a process takes on the database at this URL.")
@click.option("--save", is_flag=True, help="Write the table and the plot to benchmarks/results as well.")
def main(names: tuple[str, ...], numbers: tuple[int, int], memory: str | None, save: bool) -> None:
    """Measure each database, the small store beside the large one."""
    random.seed(1)
    if memory is not None:
        click.echo(" ".join(map(str, memory_of(memory))))
        return
    results = {name: measure(name, numbers) for name in names}
    text = report(results, numbers)
    click.echo(text)
    if save:
        RESULTS.mkdir(exist_ok=True)
        title = f"# A store of {numbers[1]:,} users compared with one of {numbers[0]:,}"
        (RESULTS / "scale.md").write_text(f"{title}\n\n![ratios](scale.svg)\n\n{text}")
        # Here, because memory is measured without it.
        from benchmarks.plot import write_plot

        rows = {
            titles[-1]: [ratio(results[name]["figures"], titles) for name in names] for titles in TARGETS
        }
        write_plot(RESULTS / "scale.svg", rows, {t[-1]: target for t, target in TARGETS.items()}, names)


if __name__ == "__main__":
    main()
