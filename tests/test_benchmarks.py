"""Benchmarks run with the documented installation; the README says which need more."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["operations", "scale", "files", "queue"])
def test_a_benchmark_needs_nothing_of_the_tests(name: str) -> None:
    program = f"import sys; sys.modules['pytest'] = None; import benchmarks.{name}"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.returncode == 0, ended.stderr
