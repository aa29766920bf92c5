"""What the layers above the storage cost: reads beside a bare Flask view with the same authentication.

    python -m benchmarks.http [--users 10000] [--save]

Requests go to the WSGI callable itself, in this process. Rounds of the two sides alternate in one run; a
figure is the median of the rounds in microseconds of CPU time.
"""

import hashlib
import hmac
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import click
from flask import Flask, Response, abort, request

from benchmarks.operations import Service, loaded_service
from storage.hashing import Hasher
from storage.shared_options import Hashing

RESULTS = Path(__file__).parent / "results" / "http.md"
ROUNDS = 15
VERSION = 'W/"1"'
KNOWN = {"HTTP_IF_NONE_MATCH": VERSION}


def bare_service(content: bytes) -> Service:
    """Return a Flask view that knows one bearer token, one version and one answer."""
    app, digest = Flask("bare"), hashlib.sha256(b"key").digest()

    @app.before_request
    def authenticate() -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = hmac.compare_digest(hashlib.sha256(token.encode()).digest(), digest)
        if scheme.lower() != "bearer" or not known:
            abort(401)

    @app.route("/Users/<resource_id>")
    def get(resource_id: str) -> Response:
        headers = {"ETag": VERSION, "Location": f"/Users/{resource_id}"}
        if request.headers.get("If-None-Match") == VERSION:
            return Response(status=304, headers=headers)
        return Response(content, headers=headers, content_type="application/scim+json")

    return Service(app)


def reads(
    bare: Service, service: Service, ids: list[str]
) -> dict[str, tuple[int, Callable[[], object], Callable[[], object]]]:
    """Return, by name, how often a round repeats each read, the bare view and the read of the service."""

    def found(text: str) -> object:
        return service("GET", "/Users", f"filter={quote(text)}")

    def path() -> str:
        return f"/Users/{random.choice(ids)}"

    def any_name() -> str:
        return f"user{random.randrange(len(ids)):08}"

    def bare_get() -> object:
        return bare("GET", path())

    return {
        "GET by id": (300, bare_get, lambda: service("GET", path())),
        "GET by id, 304": (
            300,
            lambda: bare("GET", path(), headers=KNOWN),
            lambda: service("GET", path(), headers=KNOWN),
        ),
        "userName eq, 1 found": (200, bare_get, lambda: found(f'userName eq "{any_name()}"')),
        "userName eq, none found": (200, bare_get, lambda: found(f'userName eq "x{any_name()}"')),
        "list page of 100": (20, bare_get, lambda: service("GET", "/Users")),
    }


def measured(work: Callable[[], object], times: int) -> float:
    """Return the microseconds of CPU time that one call of `work` takes."""
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times * 1e6


@click.command()
@click.option("--users", default=10_000, help="How many users there are.")
@click.option("--save", is_flag=True, help=f"Write the table to benchmarks/results/{RESULTS.name} as well.")
def main(users: int, save: bool) -> None:
    """Measure reads of single users and of a page."""
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        service, ids = loaded_service(folder, users)
        bare = bare_service(service("GET", f"/Users/{ids[0]}"))
        rows = reads(bare, service, ids)
        rounds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in rows}
        for _ in range(ROUNDS):
            for name, (times, floor, ours) in rows.items():
                rounds[name][0].append(measured(floor, times))
                rounds[name][1].append(measured(ours, times))
    hasher = Hasher(Hashing())
    hashes = [measured(lambda: hasher.hash("a password"), 5) / 1000 for _ in range(5)]
    lines = ["| read | bare view, us | service, us | bare / service |", "|---|---|---|---|"]
    for name, sides in rounds.items():
        floor_us, ours_us = map(statistics.median, sides)
        lines.append(f"| {name} | {floor_us:.0f} | {ours_us:.0f} | {floor_us / ours_us:.2f} |")
    page, one = (statistics.median(rounds[name][1]) for name in ("list page of 100", "GET by id"))
    lines += ["", f"A list page of 100 takes as long as {page / one:.1f} GETs by id."]
    lines.append(f"An argon2id hash with default costs takes {statistics.median(hashes):.0f} ms of CPU time.")
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    lines.append(f"{machine}; {users:,} users of 1.3 KB on SQLite; medians of {ROUNDS} alternating rounds.")
    text = "\n".join(lines)
    click.echo(text)
    if save:
        RESULTS.write_text(f"# Reads beside a bare Flask view\n\n{text}\n")


if __name__ == "__main__":
    main()
