"""The example of a backend, installed by pip as an author or an operator does."""

import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.distributions import EXAMPLE


def has_builder() -> bool:
    """Return whether this environment can build a wheel without fetching setuptools."""
    try:
        return tuple(map(int, version("setuptools").split(".")[:2])) >= (70, 1)
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed example."""
    source, site = tmp_path_factory.mktemp("source") / "json_lines", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source)
    options = ["--no-build-isolation"] if has_builder() else []
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *options]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


def test_the_installed_example_passes_its_own_tests(site: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    # More random cases run with the tests in its folder.
    environ = {"PYTHONPATH": str(site), "SCIM_TEST_CASES": "10"}

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout


def test_the_installed_example_serves_with_several_processes(site: Path, tmp_path: Path) -> None:
    chosen = {"STORAGE": "json_lines", "JSON_LINES_PATH": f"{tmp_path}/scim.jsonl"}
    state = {"STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db"}
    server = Server(PYTHONPATH=str(site), WORKERS="3", LOGLEVEL="ERROR", **chosen, **state)

    def create(number: int) -> int:
        return server("POST", "/Users", json={"userName": f"user {number // 2}"}).status_code

    try:
        with ThreadPoolExecutor(6) as pool:
            assert Counter(pool.map(create, range(24))) == {201: 12, 409: 12}
        assert server("GET", "/Users", params={"filter": 'userName sw "USER"'}).json()["totalResults"] == 12
    finally:
        server.stop()

    assert (tmp_path / "scim.jsonl").read_text().count("\n") == 12
