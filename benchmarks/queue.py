"""How long one writer waits beside a Bulk that hashes 60 passwords, as a ratio to its wait alone.

    python -m benchmarks.queue [--save]

The writer is a process of its own, as another worker of a server is. It sends one small POST after the
other: alone at first, and then while the Bulk runs. The longest of each is compared, in one run. All
share one machine: with two cores, the Bulk takes one of them.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from app import create_app
from app.configuration.settings import Settings
from benchmarks.operations import Service

RESULTS = Path(__file__).parent / "results" / "queue.md"
ROUNDS = 1
PASSWORDS = 60
ALONE = 30
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


def service(backend: str, folder: str) -> Service:
    """Return a service on a store in a folder."""
    stores = {"SQLite": {"DATABASE_URL": f"sqlite:///{folder}/scim.db"}, "files": {"DATA_PATH": folder}}
    environ = {"API_KEY": "key", "LOGLEVEL": "CRITICAL", "BULK_MAX_OPERATIONS": "1000", **stores[backend]}
    return Service(create_app(Settings.from_env(environ)))


def bulk(backend: str, folder: str, number: int) -> None:
    """Send one Bulk; what the process for it does."""
    operations = [
        {
            "method": "POST",
            "path": "/Users",
            "bulkId": str(one),
            "data": {"schemas": [USER], "userName": f"bulk-{number}-{one}", "password": "t1meMa$heen"},
        }
        for one in range(PASSWORDS)
    ]
    found = service(backend, folder)
    print("ready", flush=True)
    sys.stdin.readline()
    answer = found("POST", "/Bulk", body={"schemas": [BULK], "Operations": operations})
    assert answer.count(b'"201"') == PASSWORDS, answer[:500]


def post(writer: Service, name: str) -> float:
    """Return how long one POST takes, in seconds."""
    began = time.perf_counter()
    answer = writer("POST", "/Users", body={"schemas": [USER], "userName": name})
    took = time.perf_counter() - began
    assert b'"id"' in answer, answer
    return took


def measured(backend: str, number: int) -> tuple[float, float, float]:
    """Return the longest wait alone, the longest beside the Bulk, and how long that ran."""
    with tempfile.TemporaryDirectory() as folder:
        writer = service(backend, folder)
        alone = [post(writer, f"alone-{one}") for one in range(ALONE)]
        command = [sys.executable, "-m", "benchmarks.queue", "--bulk", backend, folder, str(number)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None and other.stdout is not None
            other.stdout.readline()
            other.stdin.write(b"go\n")
            other.stdin.flush()
            beside, began = [], time.perf_counter()
            while other.poll() is None:
                beside.append(post(writer, f"beside-{len(beside)}"))
            ran = time.perf_counter() - began
        assert other.returncode == 0
    return max(alone), max(beside), ran


def lines() -> list[str]:
    """Return the table."""
    table = [
        "| a writer beside a Bulk of 60 passwords | longest wait alone | longest beside it "
        "| ratio | the Bulk runs |",
        "|---|---|---|---|---|",
    ]
    for backend in ("SQLite", "files"):
        rounds: list[Any] = [measured(backend, number) for number in range(ROUNDS)]
        alone, beside, ran = (statistics.median(column) for column in zip(*rounds, strict=True))
        table.append(
            f"| {backend} | {alone * 1e3:.0f} ms | {beside * 1e3:.0f} ms "
            f"| {beside / alone:.1f} | {ran:.1f} s |"
        )
    return table


@click.command()
@click.option("--save", is_flag=True, help="Write the results beside those of the other benchmarks.")
@click.option("--bulk", "bulk_of", nargs=3, hidden=True)
def main(save: bool, bulk_of: tuple[str, str, str] | None) -> None:
    """Measure, and print a table."""
    if bulk_of:
        bulk(bulk_of[0], bulk_of[1], int(bulk_of[2]))
        return
    text = "\n".join(
        [
            "# Waiting time of a writer beside a long Bulk request",
            "",
            *lines(),
            "",
            f"Python {platform.python_version()}, {os.cpu_count()} cores; wall time, one run; "
            f"{ALONE} POSTs alone.",
            "",
        ]
    )
    print(text)
    if save:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
