"""How many functions of ours one request runs, in how many files, and what it costs beside another tree.

    python -m benchmarks.trace [--json] [--cpu 200 [--against FOLDER]]

One request of each kind, on the embedded SQLite store with one push receiver (nothing is pushed), after
some of its kind, so that caches are filled. The asynchronous POST is counted with the piece of the
worker that carries it out, in the same thread.

functions: the calls of named functions of app, schema, scim_filter, set_delivery and storage; lambdas,
comprehensions and generator expressions are no functions here, a generator counts each time it goes on.
files: the files that these functions are in. changes: how often a call is in another file than the
call before it, which is how often somebody who follows the request turns to another file. distinct:
functions that are called at least once.

With --cpu, microseconds of CPU per request as well: the median of rounds of that many requests, the
kinds in turn. With --against, the same of the tree in FOLDER: processes take turns, and the ratio is that
of their medians.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count, cycle, pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import click
import orjson

import app as application
from app import create_app
from benchmarks.operations import Service
from schema import urns

PACKAGES: Final = ("app", "schema", "scim_filter", "set_delivery", "storage")
ROUNDS: Final = 5
_ROOT: Final = Path(application.__file__).parent.parent
# Even: members are added and removed in turn, and the PATCH that is counted adds one.
_WARM_UP: Final = 6
# Starts this file with the modules of the tree that is the current folder.
_STARTED: Final = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"

Request = Callable[[], object]


def requests(folder: str) -> dict[str, Request]:
    """Return one request of each kind, by title, on a new store in `folder`."""
    environ = {"API_KEY": "key", "DATABASE_URL": f"sqlite:///{folder}/scim.db", "LOGLEVEL": "ERROR"}
    environ |= {"ASYNC_REQUEST": "request", "EMBEDDED_WORKER": "false"}
    environ |= {"SET_PUSH_URL": "http://127.0.0.1:9/events", "SET_ISSUER": "https://scim.example.org"}
    served = create_app(application.Settings.from_env(environ))
    service, numbers = Service(served), count(1000)
    # Trees of release 0.2.0 and earlier call it worker, and a piece is a function.
    work = served.extensions.get("scim.work") or served.extensions["scim.worker"]
    piece = next(piece for name, piece in work.pieces.items() if name.startswith("requests"))
    carry_out = getattr(piece, "run", piece)

    def created(path: str, urn: str, **attributes: Any) -> str:
        answer = service("POST", path, body={"schemas": [urn], **attributes})
        return str(orjson.loads(answer)["id"])

    def patch(path: str, operation: dict[str, Any]) -> object:
        return service("PATCH", path, body={"schemas": [urns.PATCH_OP], "Operations": [operation]})

    def create(**headers: str) -> object:
        body = {"schemas": [urns.USER], "userName": f"new{next(numbers)}"}
        return service("POST", "/Users", body=body, headers=headers)

    def create_later() -> object:
        create(HTTP_PREFER="respond-async")
        return carry_out(lambda: False)

    ids = [created("/Users", urns.USER, userName=f"user{number:02}") for number in range(25)]
    group = created("/Groups", urns.GROUP, displayName="Guides", members=[{"value": ids[0]}])
    members = cycle(
        {"op": op, "path": path, **value}
        for op, path, value in (
            ("add", "members", {"value": [{"value": ids[1]}]}),
            ("remove", f'members[value eq "{ids[1]}"]', {}),
        )
    )
    user, filtered, titles = f"/Users/{ids[0]}", "filter=userName%20sw%20%22user%22", count()
    return {
        "GET by id": lambda: service("GET", user),
        "list, filtered, 25 resources": lambda: service("GET", "/Users", filtered),
        "POST": create,
        "PATCH title": lambda: patch(user, {"op": "replace", "path": "title", "value": f"T{next(titles)}"}),
        "PATCH one member": lambda: patch(f"/Groups/{group}", next(members)),
        "asynchronous POST": create_later,
    }


def counted(request: Request) -> dict[str, dict[str, int]]:
    """Return the counts of one request: "all", and "core", which is without the storage."""
    calls: list[CodeType] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        request()
    finally:
        sys.setprofile(before)
    ours = [(code, where) for code in calls if (where := _place(code))]
    core = [(code, where) for code, where in ours if not where.startswith("storage/")]
    return {"all": _counts(ours), "core": _counts(core)}


def _place(code: CodeType) -> str:
    """Return the file of a named function of ours, empty for another."""
    path = Path(code.co_filename)
    if code.co_name.startswith("<") or not path.is_relative_to(_ROOT):
        return ""
    place = path.relative_to(_ROOT)
    return place.as_posix() if place.parts[0] in PACKAGES else ""


def _counts(calls: Sequence[tuple[CodeType, str]]) -> dict[str, int]:
    places = [place for _, place in calls]
    return {
        "functions": len(calls),
        "files": len(set(places)),
        "changes": sum(one != other for one, other in pairwise(places)),
        "distinct": len({code for code, _ in calls}),
    }


def measure(cpu: int = 0) -> dict[str, dict[str, Any]]:
    """Return the counts of each kind of request, and its microseconds of CPU where `cpu` is not 0."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = requests(folder)
        figures: dict[str, dict[str, Any]] = {}
        for title, request in kinds.items():
            for _ in range(_WARM_UP):
                request()
            figures[title] = dict(counted(request))
        if cpu:
            rounds: dict[str, list[float]] = {title: [] for title in kinds}
            for _ in range(ROUNDS):
                for title, request in kinds.items():
                    rounds[title].append(_cpu_us(request, cpu))
            for title, values in rounds.items():
                figures[title]["cpu_us"] = statistics.median(values)
    return figures


def _cpu_us(request: Request, times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        request()
    return (time.process_time() - started) / times * 1e6


def compared(against: Path, cpu: int) -> dict[str, dict[str, Any]]:
    """Return the figures of this tree, with the CPU of the tree in `against` and the ratio to it."""
    trees: dict[Path, list[dict[str, dict[str, Any]]]] = {against: [], _ROOT: []}
    for _ in range(ROUNDS):
        for tree, results in trees.items():
            command = [sys.executable, "-c", _STARTED, __file__, "--json", "--cpu", str(cpu)]
            ended = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=True)
            results.append(json.loads(ended.stdout))
    figures = trees[_ROOT][0]
    for title, row in figures.items():
        there, here = (
            statistics.median(result[title]["cpu_us"] for result in results) for results in trees.values()
        )
        row |= {"cpu_us": here, "cpu_us_there": there, "ratio": here / there}
        row["there"] = trees[against][0][title]["all"]
    return figures


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    counts = ("functions", "files", "changes", "distinct")
    heads = ["request", *counts, *(f"{name}, no storage" for name in counts)]
    more = {"cpu_us": "us of CPU", "cpu_us_there": "us there", "ratio": "ratio"}
    first = next(iter(figures.values()))
    heads += [head for name, head in more.items() if name in first]
    heads += ["functions / files / changes there"] if "there" in first else []
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for title, row in figures.items():
        cells = [str(row[part][name]) for part in ("all", "core") for name in counts]
        cells += [f"{row[name]:,.{2 * (name == 'ratio')}f}" for name in more if name in row]
        if "there" in row:
            cells.append(" / ".join(str(row["there"][name]) for name in counts[:3]))
        lines.append(f"| {' | '.join([title, *cells])} |")
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    return "\n".join([*lines, "", f"{machine}; SQLite, one push receiver, caches filled.", ""])


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
@click.option("--cpu", type=click.IntRange(min=0), default=0, help="Requests in each round; 0: only count.")
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Another tree of this project, whose requests are measured in turn with these.",
)
def main(as_json: bool, cpu: int, against: Path | None) -> None:
    """Count the functions, the files and the changes of file of one request of each kind."""
    figures = compared(against, cpu or 200) if against is not None else measure(cpu)
    click.echo(json.dumps(figures, indent=2) if as_json else table(figures))


if __name__ == "__main__":
    main()
