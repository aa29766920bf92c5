"""The page for authors of backends: its blocks are parts of the example, its commands install and run it."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Selection, StorageAdapter
from storage.testing import USER, StorageContract, ready, stored
from tests.conftest import Server
from tests.distributions import EXAMPLE
from tests.docs.pages import DOCS, Block, blocks

BLOCKS = list(blocks((DOCS / "writing-a-backend.md").read_text()))
FILES = {
    *("setup.cfg", "pyproject.toml", "test_json_lines.py"),
    *(f"json_lines/{name}.py" for name in ("options", "opening", "adapter")),
}
COMMANDS = [line for block in BLOCKS if block.language == "shell" for line in block.text.splitlines()]
INSTALL, TEST, SERVE = COMMANDS
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def has_builder() -> bool:
    """Return whether this environment can build a wheel without fetching setuptools."""
    try:
        return tuple(map(int, version("setuptools").split(".")[:2])) >= (70, 1)
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the command of the page has installed the example."""
    checkout, site = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, checkout / "examples" / "json_lines")
    options = f"--quiet --no-deps --target {site} {'--no-build-isolation' if has_builder() else ''}"
    command = INSTALL.replace("pip install", f"pip install {options}")
    subprocess.run(["sh", "-c", command], cwd=checkout, env={**os.environ, "PATH": PATH}, check=True)
    return site


PARTS = {f"{block.title} {block.line}": block for block in BLOCKS if block.title in FILES}


@pytest.mark.parametrize("block", PARTS.values(), ids=PARTS)
def test_a_block_with_a_file_as_its_title_is_a_part_of_that_file(block: Block) -> None:
    (path,) = EXAMPLE.rglob(block.title)
    text = path.read_text()

    assert block.text in text
    if block.language in ("ini", "toml"):
        assert block.text == text


def test_each_block_of_the_page_is_tested() -> None:
    tested = {block.title for block in BLOCKS if block.language in ("ini", "toml", "python")}

    assert tested == {*FILES, "candidates"}
    assert {block.language for block in BLOCKS} == {"ini", "toml", "python", "text", "shell"}


def test_the_example_has_the_files_of_the_page() -> None:
    (tree,) = (block.text for block in BLOCKS if block.language == "text")

    named = {line.split()[0] for line in tree.splitlines() if not line.split()[0].endswith("/")}
    kept = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".cfg", ".toml")]
    assert {path.name for path in kept if "build" not in path.parts} == named


class TestCandidates(StorageContract):
    """The adapter of the page that answers some filters itself."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> StorageAdapter:
        (source,) = (block.text for block in BLOCKS if block.title == "candidates")
        module: dict[str, Any] = {}
        exec(source, module)
        adapter: StorageAdapter = module["WithLookUp"](tmp_path / "scim.jsonl")
        return ready(adapter)

    def test_a_filter_that_names_an_id_has_one_candidate(self, adapter: StorageAdapter) -> None:
        for name in "abc":
            adapter.create(USER, stored(name, userName=name))

        expected = {'id eq "b" and userName eq "a"': ["b"], 'id eq "b" or title pr': ["a", "b", "c"]}
        for text, candidates in expected.items():
            node = resolve(parse_filter(text), USER)
            found = adapter.candidates(USER, Selection(node))
            assert [one.id for one in found.resources] == candidates and found.residual == node


def test_the_installed_example_passes_its_own_tests(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "json_lines" / "tests"
    shutil.copytree(EXAMPLE / "tests", folder, ignore=shutil.ignore_patterns("__pycache__"))
    # More random cases run with the tests in its folder.
    environ = {"PATH": PATH, "PYTHONPATH": str(site), "SCIM_TEST_CASES": "10"}

    ended = subprocess.run(["sh", "-c", TEST], cwd=tmp_path, env=environ, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout


def test_the_installed_example_serves_with_several_processes(site: Path, tmp_path: Path) -> None:
    class ServerOfPage(Server):
        def command(self) -> list[str]:
            return ["sh", "-c", f"cd {tmp_path}; exec env {SERVE}"]

    server = ServerOfPage(PATH=PATH, PYTHONPATH=str(site), LOGLEVEL="ERROR")

    def create(number: int) -> int:
        return server("POST", "/Users", json={"userName": f"user {number // 2}"}).status_code

    try:
        with ThreadPoolExecutor(6) as pool:
            assert Counter(pool.map(create, range(24))) == {201: 12, 409: 12}
        assert server("GET", "/Users", params={"filter": 'userName sw "USER"'}).json()["totalResults"] == 12
    finally:
        server.stop()

    assert (tmp_path / "data" / "scim.jsonl").read_text().count("\n") == 12
