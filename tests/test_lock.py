"""The lock files in requirements/ agree with setup.cfg, and `pip --require-hashes` can install them."""

import configparser
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
EXTRAS = SETUP["options.extras_require"]
# The extras that each file is for; test.txt is for all of them.
FILES = {
    "image": ["postgresql", "mysql", "mongodb", "ldap", "irods", "celery", "tracing"],
    "run": ["postgresql", "mysql", "mongodb", "irods"],
    "docs": ["docs"],
    "test": list(EXTRAS),
}


def read(file: str) -> str:
    return (ROOT / "requirements" / f"{file}.txt").read_text()


def pins(file: str) -> dict[str, str]:
    """Return the version of each package in a lock file that this machine installs."""
    lines = re.findall(r"^[a-z].*?(?= \\$)", read(file), re.MULTILINE)
    wanted = [Requirement(line) for line in lines]
    assert len(wanted) > 0
    here = [one for one in wanted if one.marker is None or one.marker.evaluate()]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}


def required(file: str) -> list[Requirement]:
    """Return what setup.cfg requires for the extras of a lock file."""
    texts = [SETUP["options"]["install_requires"], *(EXTRAS[extra] for extra in FILES[file])]
    found = [Requirement(line) for text in texts for line in text.split("\n") if line.strip()]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


@pytest.mark.parametrize("file", FILES)
def test_the_lock_has_each_package_of_setup_cfg_and_all_that_it_needs(file: str) -> None:
    pinned = pins(file)
    waiting = required(file)
    seen = set()

    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        assert name in pinned, f"requirements/{file}.txt lacks {name}: run `make lock`"
        assert one.specifier.contains(pinned[name], prereleases=True), f"{one}: run `make lock`"
        for extra in {"", *one.extras} - {had for known, had in seen if known == name}:
            seen.add((name, extra))
            needs = [Requirement(text) for text in distribution(name).requires or ()]
            waiting += [
                need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})
            ]

    assert {name for name, _ in seen} == set(pinned)


@pytest.mark.parametrize("file", FILES)
def test_what_is_tested_is_what_is_shipped(file: str) -> None:
    assert pins(file).items() <= pins("test").items()


@pytest.mark.parametrize("file", [*FILES, "build"])
def test_every_package_has_hashes_and_comes_from_no_particular_index(file: str) -> None:
    text = read(file)

    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert all(re.search(r"==\S+.* \\\n    --hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert len(blocks) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    assert "://" not in text


def test_the_container_is_built_with_what_pyproject_asks_for() -> None:
    line = re.search(r'^requires = \["(.+)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert line is not None
    wanted = Requirement(line[1])

    assert wanted.specifier.contains(pins("build")[wanted.name])
