"""Benchmarks run with the documented installation; the README says which need more."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["operations", "scale", "files", "queue", "trace"])
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
