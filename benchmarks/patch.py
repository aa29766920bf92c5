"""What a PATCH costs by the number of its operations, as ratios of one run.

    python -m benchmarks.patch [--operations 10 --operations 10000] [--save]

Each operation changes another value; the resource has as many values as the PATCH has operations, so
that a cost of operations times values would show. Figures are CPU time from the body to the patched
resource, without the storage; each number takes its turn in every round, and a figure is the median.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from app.protocol.patch import PatchRules, RequestedMembers, apply_patch, plan_patch, read_operations
from app.protocol.profiles import profile_of
from benchmarks.scale import PATCH
from schema.registry import load_registry
from schema.resource_type import ResourceType

RESULTS = Path(__file__).parent / "results" / "patch.md"
ROUNDS = 5
# The ratio of the cost of one operation, among the most operations and among the fewest.
TARGET = 2.0
DEFAULT = profile_of("default")

Operation = Callable[[int], dict[str, Any]]
USERS: dict[str, Operation] = {
    "add emails": lambda n: {"op": "add", "path": "emails", "value": [{"value": f"new{n}@x"}]},
    'add emails[type eq "N"].value': lambda n: {
        "op": "add",
        "path": f'emails[type eq "n{n}"].value',
        "value": f"n{n}@x",
    },
    'replace emails[value eq "N"].display': lambda n: {
        "op": "replace",
        "path": f'emails[value eq "e{n}@x"].display',
        "value": "D",
    },
    'remove emails[value eq "N"]': lambda n: {"op": "remove", "path": f'emails[value eq "e{n}@x"]'},
    "remove emails by value": lambda n: {"op": "remove", "path": "emails", "value": [{"value": f"e{n}@x"}]},
}
GROUPS: dict[str, Operation] = {
    "add members": lambda n: {"op": "add", "path": "members", "value": [{"value": f"new{n}"}]},
    "remove members by value": lambda n: {"op": "remove", "path": "members", "value": [{"value": str(n)}]},
    'remove members[value eq "N"]': lambda n: {"op": "remove", "path": f'members[value eq "{n}"]'},
    'remove members[display eq "N"]': lambda n: {"op": "remove", "path": f'members[display eq "name {n}"]'},
}


def members(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"value": str(number), "type": "User", "display": f"name {number}"}


def measured(resource_type: ResourceType, operation: Operation, count: int) -> float:
    """Return microseconds of CPU per operation for a PATCH of `count` operations."""
    resource: dict[str, Any] = {"displayName": "g"}
    if resource_type.members is None:
        emails = [{"value": f"e{number}@x", "type": "t"} for number in range(count)]
        resource = {"userName": "u", "emails": emails}
    body = {"schemas": [PATCH], "Operations": [operation(number) for number in range(count)]}
    changes = RequestedMembers(lambda: members(count))
    started = time.process_time()
    plan = plan_patch(PatchRules(resource_type, DEFAULT), read_operations(body, DEFAULT))
    apply_patch(plan, resource, changes)
    return (time.process_time() - started) / count * 1e6


def measure(numbers: list[int]) -> dict[str, list[float]]:
    """Return microseconds per operation, for each number of operations."""
    types = {one.name: one for one in load_registry().resource_types}
    works = [(title, types["User"], work) for title, work in USERS.items()]
    works += [(title, types["Group"], work) for title, work in GROUPS.items()]
    rounds: dict[str, list[list[float]]] = {title: [[] for _ in numbers] for title, _, _ in works}
    for _ in range(ROUNDS):
        for title, resource_type, work in works:
            for position, count in enumerate(numbers):
                # A PATCH of a few operations is repeated, so that the clock can tell.
                times = max(1, 200 // count)
                figures = [measured(resource_type, work, count) for _ in range(times)]
                rounds[title][position].append(statistics.median(figures))
    return {title: [statistics.median(values) for values in row] for title, row in rounds.items()}


def report(numbers: list[int], figures: dict[str, list[float]]) -> str:
    """Return the figures as Markdown."""
    heads = [f"{number:,} operations" for number in numbers]
    lines = [f"| microseconds per operation | {' | '.join(heads)} | ratio | target |"]
    lines.append("|---" * (len(numbers) + 3) + "|")
    for title, row in figures.items():
        shown = " | ".join(f"{value:,.0f}" for value in row)
        lines.append(f"| `{title}` | {shown} | {row[-1] / row[0]:.2f} | <= {TARGET} |")
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    ending = f"{machine}; CPU time, medians of {ROUNDS} interleaved rounds; as many values as operations."
    return "\n".join([*lines, "", ending, ""])


@click.command()
@click.option("--operations", "numbers", type=int, multiple=True, default=(10, 100, 1000, 10_000))
@click.option("--save", is_flag=True, help=f"Write the table to benchmarks/results/{RESULTS.name} as well.")
def main(numbers: tuple[int, ...], save: bool) -> None:
    """Measure a PATCH by the number of its operations."""
    ordered = sorted(numbers)
    text = report(ordered, measure(ordered))
    click.echo(text)
    if save:
        RESULTS.write_text(f"# A PATCH by the number of its operations\n\n{text}")


if __name__ == "__main__":
    main()
