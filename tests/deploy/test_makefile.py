"""The commands of the Makefile, as `make help` lists them."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_on_one_line() -> None:
    commands = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()

    ended = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    listed = re.findall(r"^(\S+) +\S.*$", ended.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(commands)
    assert len(ended.stdout.splitlines()) == len(commands)


def test_make_demands_the_python_that_the_package_demands() -> None:
    required = re.findall(r"python_requires = >=(\d+)\.(\d+)\n", (ROOT / "setup.cfg").read_text())

    demanded = re.findall(r"version_info < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())

    assert demanded == required
