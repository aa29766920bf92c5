"""This server beside others: the same load over HTTP in one run, and each answer checked.

    python -m benchmarks.compare [--save] [--users 1000 --users 10000] [--other NAME URL TOKEN]

Without --server, this server runs on SQLite and on PostgreSQL, beside scim2-server, which is installed
into a temporary folder. All run with their defaults. --other takes any empty server by its base URL. For
each operation the servers take turns in every round. A block of one connection gives CPU and latency, a
block of several the rate. The CPU is that of all processes of a server, its database included.
"""

import os
import platform
import random
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import click

from benchmarks.load import OUTSIDE, Client, Load, Operation
from benchmarks.peers import SERVERS, Peer, other

RESULTS = Path(__file__).parent / "results"
TARGET = 1.5


@dataclass
class Figures:
    """What was measured of one operation on one server; times are in seconds."""

    cpu_s: float = 0.0
    times: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    wrong: int = 0
    answers: int = 0

    @property
    def cpu_us(self) -> float:
        """The microseconds of CPU that an operation takes."""
        return self.cpu_s / max(1, len(self.times)) * 1e6

    @property
    def rate(self) -> float:
        """The operations per second of several connections."""
        return statistics.median(self.rates or [0.0])

    def quantile_ms(self, part: float) -> float:
        """Return the milliseconds that this part of the requests does not exceed."""
        times = sorted(self.times) or [0.0]
        return times[min(len(times) - 1, int(len(times) * part))] * 1e3


class Compared:
    """One server with its load, and what was measured of it."""

    def __init__(self, peer: Peer, users: int) -> None:
        self.peer, self.load = peer, Load(users)
        client = peer.client()
        self.load.fill(client)
        client.close()
        self.operations = self.load.operations()
        self.figures = {name: Figures() for name in self.operations}
        self._numbers = count()

    def empty(self) -> None:
        """Delete what the server was given."""
        client = self.peer.client()
        self.load.empty(client)
        client.close()

    def run(self, name: str, clients: int, seconds: float) -> None:
        """Measure a block of one operation by one client, then one by several."""
        figures, operation = self.figures[name], self.operations[name]
        before = self.peer.cpu_s()
        times, _ = self._block(figures, operation, 1, seconds)
        figures.cpu_s += self.peer.cpu_s() - before
        figures.times += times
        times, took_s = self._block(figures, operation, clients, seconds)
        if times:
            figures.rates.append(len(times) / took_s)
        client = self.peer.client()
        figures.wrong += operation.look_again(client)
        client.close()

    def _block(
        self, figures: Figures, operation: Operation, clients: int, seconds: float
    ) -> tuple[list[float], float]:
        """Return the seconds of each request of a block, and of the whole block."""
        left = iter(range(min(operation.times, operation.most())))
        times: list[float] = []
        answers: list[bool] = []
        started = time.perf_counter()

        def send() -> None:
            client = self.peer.client()
            for _ in left:
                answers.append(self._is_right(client, operation))
                if time.perf_counter() - started > seconds:
                    break
            times.extend(client.times)
            client.close()

        threads = [threading.Thread(target=send) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures.answers += len(answers)
        figures.wrong += answers.count(False)
        return times, time.perf_counter() - started

    def _is_right(self, client: Client, operation: Operation) -> bool:
        try:
            return operation.call(client, next(self._numbers))
        except (OSError, HTTPException, AttributeError, KeyError, TypeError):
            # No answer, or a document of another shape.
            return False


def measure(peers: Sequence[Peer], users: int, rounds: int, clients: int, seconds: float) -> list[Compared]:
    """Return the servers with their figures at a number of users, which they hold from then on."""
    compared = [Compared(peer, users) for peer in peers]
    for number in range(rounds):
        for name in compared[0].operations:
            for one in compared if number % 2 else reversed(compared):
                one.run(name, clients, seconds)
        click.echo(f"{users} users: round {number + 1} of {rounds}", err=True)
    return compared


def table(heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a table of Markdown."""
    lines = [f"| operation | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    return [*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()), ""]


def ratios(compared: Sequence[Compared]) -> dict[str, dict[str, float]]:
    """Return by operation the CPU of each other server beside that of this server on each database."""
    ours = [one for one in compared if one.peer.is_ours]
    theirs = [one for one in compared if not one.peer.is_ours and one.peer.roots]
    return {
        name: {
            f"{other.peer.name} / {one.peer.name}": other.figures[name].cpu_us / one.figures[name].cpu_us
            for other in theirs
            for one in ours
            if other.figures[name].times and one.figures[name].cpu_s
        }
        for name in compared[0].operations
    }


def report(compared: Sequence[Compared], users: int, clients: int) -> list[str]:
    """Return the figures at a number of users as Markdown."""
    names = [one.peer.name for one in compared]
    rows = {name: [one.figures[name] for one in compared] for name in compared[0].operations}
    found = ratios(compared)
    pairs = list(dict.fromkeys(pair for row in found.values() for pair in row))
    cpu = {
        name: [
            *(f"{figures.cpu_us:,.0f}" if one.peer.roots else "" for one, figures in zip(compared, row)),
            *(f"{found[name][pair]:,.2f}" if pair in found[name] else "" for pair in pairs),
        ]
        for name, row in rows.items()
    }
    latency = {
        name: [f"{one.quantile_ms(0.5):,.2f} / {one.quantile_ms(0.99):,.2f}" for one in row]
        for name, row in rows.items()
    }
    rate = {name: [f"{one.rate:,.0f}" for one in row] for name, row in rows.items()}
    wrong = {name: [f"{one.wrong:,} of {one.answers:,}" for one in row] for name, row in rows.items()}
    below = {pair: [name for name in found if found[name].get(pair, TARGET) < TARGET] for pair in pairs}
    return [
        *(f"## {users:,} users", "", "### Microseconds of CPU for each operation", ""),
        *table([*names, *pairs], cpu),
        *(f"- {pair} is below {TARGET}: {', '.join(row) or 'nowhere'}." for pair, row in below.items()),
        *("", "### Milliseconds until the answer, one connection: median / 99 of 100", ""),
        *table(names, latency),
        *(f"### Operations per second, {clients} connections", ""),
        *table(names, rate),
        *("### Wrong answers", ""),
        *table(names, wrong),
    ]


@click.command()
@click.option("--users", "numbers", type=click.IntRange(10), multiple=True, default=(1000, 10_000))
@click.option("--server", "servers", type=click.Choice([*SERVERS]), multiple=True, default=[*SERVERS])
@click.option("--other", "others", nargs=3, multiple=True, metavar="NAME URL TOKEN", help="Another server.")
@click.option("--rounds", default=5)
@click.option("--clients", default=4, help="Connections of the blocks that give the rate.")
@click.option("--seconds", default=3.0, help="A block ends after this time.")
@click.option("--save", is_flag=True, help="Write the tables and the plot to benchmarks/results as well.")
def main(
    numbers: tuple[int, ...],
    servers: tuple[str, ...],
    others: tuple[tuple[str, str, str], ...],
    rounds: int,
    clients: int,
    seconds: float,
    save: bool,
) -> None:
    """Compare servers under the same load."""
    random.seed(1)
    if save and find_spec("matplotlib") is None:
        raise click.ClickException("--save needs matplotlib")
    lines: list[str] = []
    with ExitStack() as stack:
        peers = [stack.enter_context(SERVERS[name]()) for name in servers]
        peers += [other(*words) for words in others]
        for users in numbers:
            compared = measure(peers, users, rounds, clients, seconds)
            lines += report(compared, users, clients)
            for one in compared:
                # The program ends its own servers with all that they hold.
                if users != numbers[-1] or one.peer in peers[len(servers) :]:
                    one.empty()
    lines.append(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, shared by the servers and the clients; "
        f"{rounds} rounds. The group has all users; {OUTSIDE} more join and leave it. A server counts with "
        "all of its processes and its database."
    )
    text = "\n".join(lines)
    click.echo(text)
    if save:
        _save(text, ratios(compared), numbers[-1])


def _save(text: str, found: Mapping[str, Mapping[str, float]], users: int) -> None:
    # Its module needs matplotlib.
    from benchmarks.plot import write_plot

    RESULTS.mkdir(exist_ok=True)
    head = f"# Beside other servers\n\n![CPU of others at {users:,} users](compare.svg)"
    (RESULTS / "compare.md").write_text(f"{head}\n\n{text}\n")
    names = list(dict.fromkeys(pair for row in found.values() for pair in row))
    rows = {name: [row.get(pair, 0.0) for pair in names] for name, row in found.items()}
    write_plot(RESULTS / "compare.svg", rows, dict.fromkeys(rows, TARGET), names, "log")


if __name__ == "__main__":
    main()
