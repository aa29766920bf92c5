"""The contract goes red for each fault of `faulty.py`: a test of the tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage import faulty

MODULE = Path(faulty.__file__)
ROOT = MODULE.parents[2]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """Run every test that a fault must turn red, in one process, and return PASSED or FAILED by test."""
    classes = {f"{MODULE}::Test_{spoil.__name__}": names for spoil, names in faulty.TESTS.items()}
    tests = [f"{name}::{test}" for name, names in classes.items() for test in names]
    command = [sys.executable, "-m", "pytest", "-rA", "--tb=no", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = re.findall(r"^(PASSED|FAILED) \S+?::Test_(.+?)(?: - .*)?$", run.stdout, re.M)
    assert len(found) == len(tests), run.stdout + run.stderr
    return {name: outcome for outcome, name in found}


@pytest.mark.parametrize("fault", [spoil.__name__ for spoil in faulty.FAULTS])
def test_a_fault_turns_its_part_of_the_contract_red(outcomes: dict[str, str], fault: str) -> None:
    red = {name: outcome for name, outcome in outcomes.items() if name.startswith(f"{fault}::")}

    assert red and set(red.values()) == {"FAILED"}, red


def test_without_a_fault_the_same_tests_are_green(outcomes: dict[str, str]) -> None:
    green = {name: outcome for name, outcome in outcomes.items() if name.startswith("right::")}

    assert set(green.values()) == {"PASSED"}, green
