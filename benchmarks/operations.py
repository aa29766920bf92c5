"""What each operation costs at several numbers of users, beside a bare Flask view in the same run.

    python -m benchmarks.operations --users 1000 --users 100000 [--save]

Requests go to the WSGI callable itself, so that the figures are of the service and not of a server.
Rounds are interleaved; a figure is the median of the rounds in microseconds of wall time.
"""

import io
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson
from flask import Flask, Response

from app import create_app
from app.configuration.settings import Settings

RESULTS = Path(__file__).parent / "results" / "sqlite.md"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ROUNDS = 5


def user(number: int) -> dict[str, Any]:
    """Return a user of about 1.3 KB."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "externalId": f"ext-{number:08}",
        "userName": f"user{number:08}",
        "name": {"givenName": f"Given{number % 997}", "familyName": f"Family{number % 9973}"},
        "displayName": f"Given{number % 997} Family{number % 9973}",
        "title": "Tour Guide",
        "userType": "Employee" if number % 10 else "Contractor",
        "preferredLanguage": "en-US",
        "locale": "en-US",
        "timezone": "Europe/Amsterdam",
        "active": bool(number % 10),
        "profileUrl": f"https://login.example.com/{number}",
        "emails": [
            {"value": f"user{number:08}@work.example", "type": "work", "primary": True},
            {"value": f"u{number:08}@home.example", "type": "home"},
        ],
        "phoneNumbers": [{"value": f"+31-20-{number:08}", "type": "work"}],
        "addresses": [{"type": "work", "streetAddress": f"Street {number}", "locality": "Utrecht"}],
        ENTERPRISE: {"employeeNumber": str(number), "department": f"D{number % 50}", "organization": "Acme"},
    }


class Service:
    """An application with a store of its own, called as a WSGI server calls it."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(
        self,
        method: str,
        path: str,
        query: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        return b"".join(self.parts(method, path, query, body, headers))

    def parts(
        self,
        method: str,
        path: str,
        query: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterable[bytes]:
        """Return the body of the answer as it comes."""
        raw = b"" if body is None else orjson.dumps(body)
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "HTTP_HOST": "localhost",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_AUTHORIZATION": "Bearer key",
            "CONTENT_TYPE": "application/scim+json",
            "CONTENT_LENGTH": str(len(raw)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(raw),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **(headers or {}),
        }
        answer: Iterable[bytes] = self._application.wsgi_app(environ, lambda *status: None)
        return answer


def bare_service() -> Service:
    """Return a Flask view that answers 1 KB, the floor of every figure."""
    app = Flask("bare")
    content = b"x" * 1024

    @app.route("/bare")
    def bare() -> Response:
        return Response(content, content_type="application/json")

    return Service(app)


def loaded_service(folder: str, count: int) -> tuple[Service, list[str]]:
    """Return a service that holds `count` users, and their ids."""
    environ = {"API_KEY": "key", "DATABASE_URL": f"sqlite:///{folder}/scim.db", "LOGLEVEL": "ERROR"}
    service = Service(
        create_app(Settings.from_env({**environ, "BULK_MAX_PAYLOAD_SIZE": str(16 * 1024 * 1024)}))
    )
    ids: list[str] = []
    with click.progressbar(range(0, count, 1000), label=f"{count} users", file=sys.stderr) as starts:
        for start in starts:
            operations = [
                {"method": "POST", "path": "/Users", "bulkId": str(n), "data": user(n)}
                for n in range(start, min(count, start + 1000))
            ]
            body = {
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
                "Operations": operations,
            }
            results = orjson.loads(service("POST", "/Bulk", body=body))["Operations"]
            ids += [result["location"].rpartition("/")[2] for result in results]
    return service, ids


def operations(service: Service, ids: list[str]) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return each operation by name, and how often a round repeats it."""
    count, new = len(ids), iter(range(10**8 - 1, 0, -1))
    created: list[str] = []

    def listed(text: str, more: str = "") -> object:
        return service("GET", "/Users", f"filter={quote(text)}{more}")

    def any_user() -> int:
        return random.randrange(count)

    def replace() -> object:
        return service("PUT", f"/Users/{created[0]}", body=user(random.randrange(10**8, 10**9)))

    def create() -> None:
        answer = orjson.loads(service("POST", "/Users", body=user(next(new))))
        created.append(answer["id"])

    version = {"HTTP_IF_NONE_MATCH": 'W/"1"'}
    return {
        "GET by id": (400, lambda: service("GET", f"/Users/{ids[any_user()]}")),
        "GET by id, 304": (400, lambda: service("GET", f"/Users/{ids[any_user()]}", headers=version)),
        "userName eq": (200, lambda: listed(f'userName eq "user{any_user():08}"')),
        "externalId eq": (200, lambda: listed(f'externalId eq "ext-{any_user():08}"')),
        "emails.value eq": (200, lambda: listed(f'emails.value eq "u{any_user():08}@home.example"')),
        "userName sw, 10 found": (100, lambda: listed(f'userName sw "user{any_user():08}"'[:-2] + '"')),
        "list page of 100, first": (20, lambda: service("GET", "/Users")),
        "list page of 100, middle": (20, lambda: service("GET", "/Users", f"startIndex={count // 2}")),
        "sortBy userName, first page": (10, lambda: service("GET", "/Users", "sortBy=userName")),
        "displayName co": (2, lambda: listed('displayName co "Family77 "')),
        "create": (50, create),
        "PUT": (50, replace),
        "DELETE": (25, lambda: service("DELETE", f"/Users/{created.pop()}")),
    }


def measured(work: Callable[[], object], times: int) -> float:
    """Return the microseconds that one call of `work` takes."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times * 1e6


def table(numbers: list[int], figures: Mapping[str, list[float]], floor: float) -> str:
    """Return the figures as a Markdown table."""
    heads = [f"us at {number:,}" for number in numbers]
    lines = [
        f"| operation | {' | '.join(heads)} | last / first | last / bare view |",
        "|---" * (len(heads) + 3) + "|",
    ]
    for name, row in figures.items():
        cells = " | ".join(f"{value:,.0f}" for value in row)
        lines.append(f"| {name} | {cells} | {row[-1] / row[0]:.2f} | {row[-1] / floor:.1f} |")
    lines.append("")
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    lines.append(f"Bare Flask view: {floor:.0f} us. {machine},")
    lines.append(f"SQLite with synchronous=FULL; medians of {ROUNDS} interleaved rounds.")
    return "\n".join(lines)


@click.command()
@click.option("--users", "numbers", type=int, multiple=True, default=(1000, 100_000))
@click.option("--save", is_flag=True, help=f"Write the table to benchmarks/results/{RESULTS.name} as well.")
def main(numbers: tuple[int, ...], save: bool) -> None:
    """Measure each operation at each number of users."""
    random.seed(1)
    bare = bare_service()
    with tempfile.TemporaryDirectory() as folder:
        loaded = [loaded_service(f"{folder}/{number}", number) for number in numbers]
        works = [operations(service, ids) for service, ids in loaded]
        rounds: dict[str, list[list[float]]] = {name: [[] for _ in numbers] for name in works[0]}
        floors = []
        for _ in range(ROUNDS):
            floors.append(measured(lambda: bare("GET", "/bare"), 1000))
            for name in rounds:
                for position, work in enumerate(works):
                    times, call = work[name]
                    rounds[name][position].append(measured(call, times))
    figures = {name: [statistics.median(values) for values in row] for name, row in rounds.items()}
    text = table(list(numbers), figures, statistics.median(floors))
    click.echo(text)
    if save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(f"# Operations on SQLite\n\n{text}\n")


if __name__ == "__main__":
    main()
