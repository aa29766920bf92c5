"""Benchmarks run with the documented installation; the README says which need more."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.upstream import UPSTREAM_KEY, Upstream


@pytest.mark.parametrize("name", ["operations", "http", "scale", "files", "queue", "trace", "compare"])
def test_a_benchmark_needs_nothing_of_the_tests(name: str) -> None:
    program = f"import sys; sys.modules['pytest'] = None; import benchmarks.{name}"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr


def test_the_tracer_counts_the_same_each_time() -> None:
    results = [_traced() for _ in range(2)]

    assert results[0] == results[1]
    assert len(results[0]) == 6
    for row in results[0].values():
        everything, core = row["all"], row["core"]
        assert 0 < core["files"] < everything["files"] <= everything["distinct"] <= everything["functions"]
        assert core["functions"] < everything["functions"]
        assert everything["files"] - 1 <= everything["changes"] < everything["functions"]


def _traced() -> dict[str, dict[str, dict[str, int]]]:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.trace", "--json"], capture_output=True, text=True, check=True
    )
    traced: dict[str, dict[str, dict[str, int]]] = json.loads(ended.stdout)
    return traced


def forgetful(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a service provider that counts one user too many, and drops new members of groups."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PATCH" and environ["PATH_INFO"].startswith("/Groups"):
            start_response("204 No Content", [])
            return [b""]
        body = b"".join(app(environ, start_response))
        # As many characters as before.
        return [body.replace(b'"totalResults":130', b'"totalResults":131')]

    return answer


def test_servers_are_compared_and_wrong_answers_are_counted(tmp_path: Path) -> None:
    wrong = Upstream(tmp_path / "wrong.db", around=forgetful)
    options = ["--users", "30", "--rounds", "1", "--seconds", "0.2", "--clients", "2"]
    command = [sys.executable, "-m", "benchmarks.compare", *options, "--server", "sqlite"]

    ended = subprocess.run(
        [*command, "--other", "wrong", wrong.url, UPSTREAM_KEY], capture_output=True, text=True
    )
    wrong.stop()

    assert ended.returncode == 0, ended.stderr
    cpu = re.findall(r"^\| (\D.*?) \| ([\d,]+) \| ([\d,]+) \| [\d.]+ \|$", ended.stdout, re.M)
    counted = re.findall(r"^\| (.*?) \| ([\d,]+) of ([\d,]+) \| ([\d,]+) of [\d,]+ \|$", ended.stdout, re.M)
    assert len(counted) == 16 and cpu
    assert {name for name, right, answers, _ in counted if right != "0" or answers == "0"} == set()
    mistaken = {name for name, *_, wrong_answers in counted if wrong_answers != "0"}
    assert mistaken == {"list of 100", "sortBy userName, 100", "group: add a member"}
