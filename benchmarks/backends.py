"""What operations cost on each backend, as ratios to SQLite in one run.

    python -m benchmarks.backends [--users 1000] [--save]

Servers are those of the tests, on this machine and without waiting for the disk; JumpCloud and iRODS
are the fakes of the tests, so their rows say what the adapters cost, not what a network does. The
backends take turns in every round, and a figure is the median of the rounds.
"""

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson

from app import create_app
from app.configuration.settings import Settings
from benchmarks.operations import Service, measured, user
from benchmarks.scale import ENVIRON, GROUP, PATCH
from tests.fake_irods import FakeIrodsServer
from tests.fake_jumpcloud import FakeJumpcloudServer
from tests.mongodb import MongodbServer
from tests.openldap import LdapServer
from tests.servers import MariadbServer, PostgresqlServer
from tests.upstream import UpstreamServer

RESULTS = Path(__file__).parent / "results" / "backends.md"
ROUNDS = 5
SERVERS: dict[str, Callable[[], Any]] = {
    "postgresql": PostgresqlServer,
    "mariadb": MariadbServer,
    "mongodb": MongodbServer,
    "ldap": LdapServer,
    "forward": UpstreamServer,
    "jumpcloud": FakeJumpcloudServer,
    "irods": FakeIrodsServer,
}


def environs(stack: ExitStack, names: Collection[str] = ()) -> dict[str, Callable[[], dict[str, str]]]:
    """Return what gives the variables of an empty store, by backend; `stack` ends what was started.

    Without `names` of backends, that is all of them.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    numbers = iter(range(10**9))
    makers: dict[str, Callable[[], dict[str, str]]] = {
        "sqlite": lambda: {"DATABASE_URL": f"sqlite:///{folder}/{next(numbers)}.db"},
        "files": lambda: {"DATA_PATH": f"{folder}/{next(numbers)}"},
    }
    for name, make in SERVERS.items():
        if not names or name in names:
            server = make()
            stack.callback(server.remove)
            makers[name] = partial(_environ, server)
    return {name: make for name, make in makers.items() if not names or name in names}


def _environ(server: Any) -> dict[str, str]:
    environ: dict[str, str] = server.environ(server.new_database())
    return environ


def service_on(environ: Mapping[str, str]) -> Service:
    """Return a service on a store."""
    return Service(create_app(Settings.from_env({**ENVIRON, **environ})))


def operations(service: Service, count: int) -> dict[str, Callable[[], object]]:
    """Return each operation by name, in a store of `count` users and a group of 100."""
    ids = [created(service, "/Users", user(number)) for number in range(count)]
    members = [{"value": user_id} for user_id in ids[:100]]
    group = created(service, "/Groups", {"schemas": [GROUP], "displayName": "g", "members": members})
    new, turns = iter(range(2 * 10**9, 3 * 10**9)), iter(range(10**9))
    quiet = "attributes=displayName"

    def found(text: str) -> None:
        answer = orjson.loads(service("GET", "/Users", f"filter={quote(text)}"))
        assert answer["totalResults"] == 1, answer

    def change(op: str, member: str) -> None:
        operation = {"op": op, "path": "members", "value": [{"value": member}]}
        body = {"schemas": [PATCH], "Operations": [operation]}
        answer = service("PATCH", f"/Groups/{group}", quiet, body)
        assert b'"displayName"' in answer, answer

    def change_member() -> None:
        turn = next(turns)
        change("remove" if turn % 2 else "add", ids[100 + turn // 2 % (count - 100)])

    return {
        "GET by id": lambda: service("GET", f"/Users/{ids[count // 2]}"),
        "userName eq": lambda: found(f'userName eq "user{count // 2:08}"'),
        "emails.value eq": lambda: found(f'emails.value eq "user{count // 2:08}@work.example"'),
        "list of 100": lambda: service("GET", "/Users", "count=100"),
        "create": lambda: created(service, "/Users", user(next(new))),
        "PATCH a member": change_member,
    }


def created(service: Service, endpoint: str, body: Any) -> str:
    """Create a resource and return its id."""
    answer = orjson.loads(service("POST", endpoint, "", body))
    assert "id" in answer, answer
    resource_id: str = answer["id"]
    return resource_id


def report(figures: dict[str, dict[str, float]], count: int) -> str:
    """Return the figures as Markdown."""
    names = list(figures)
    titles = list(figures["sqlite"])
    lines = [
        f"# Cost of operations on each backend, {count:,} users",
        "",
        f"{os.cpu_count()} cores, Python {platform.python_version()}. "
        "`python -m benchmarks.backends` measures it anew; its docstring says how.",
        "",
        "## Ratios to SQLite",
        "",
        f"| backend | {' | '.join(titles)} |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for name in names:
        cells = " | ".join(f"{figures[name][t] / figures['sqlite'][t]:.1f}" for t in titles)
        lines.append(f"| {name} | {cells} |")
    lines += ["", "## Microseconds", "", f"| backend | {' | '.join(titles)} |"]
    lines.append("|---" * (len(titles) + 1) + "|")
    for name in names:
        lines.append(f"| {name} | {' | '.join(f'{figures[name][t]:,.0f}' for t in titles)} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--users", "count", default=1000, help="How many users each store holds.")
@click.option("--save", is_flag=True, help="Write the tables to benchmarks/results as well.")
def main(count: int, save: bool) -> None:
    """Measure each backend."""
    with ExitStack() as stack:
        services = {name: service_on(make()) for name, make in environs(stack).items()}
        works = {name: operations(service, count) for name, service in services.items()}
        rounds: dict[str, dict[str, list[float]]] = {
            name: {title: [] for title in work} for name, work in works.items()
        }
        for _ in range(ROUNDS):
            for title in works["sqlite"]:
                for name, work in works.items():
                    rounds[name][title].append(measured(work[title], 20))
    figures = {
        name: {title: statistics.median(values) for title, values in row.items()}
        for name, row in rounds.items()
    }
    text = report(figures, count)
    click.echo(text)
    if save:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
