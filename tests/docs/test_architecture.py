"""The pages for developers name modules, functions and tables of this code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from set_delivery import tables as state_tables

ROOT = Path(__file__).parent.parent.parent
WALKS = ROOT / "docs/explanation/walks.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
PACKAGES = ("app", "schema", "scim_filter", "set_delivery", "storage", "telemetry")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A path of a module, or a function of the module that was named last.
NAMES = re.compile(r"(?P<module>[\w/]+\.py)\b|(?P<function>[A-Za-z_][\w.]*)\(\)")
FOLDERS = "|".join((*PACKAGES, "tests", "benchmarks"))
PATHS = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/(?:[\w/]*\.py\b|[\w/]*/(?=`))")


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def definitions(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the qualified name of every function and class within a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield prefix + child.name
            yield from definitions(child, f"{prefix}{child.name}.")
        else:
            yield from definitions(child, prefix)


@cache
def functions_of(module: str) -> frozenset[str]:
    """Return the names of the functions and classes of a module, such as `get` and `Jobs.get`."""
    names = definitions(ast.parse((ROOT / module).read_text()))
    return frozenset(name for whole in names for name in ends_of(whole.split(".")))


def ends_of(parts: list[str]) -> Iterator[str]:
    return (".".join(parts[begin:]) for begin in range(len(parts)))


def unknown_names(text: str) -> Iterator[str]:
    """Yield each module of a text that does not exist, and each function that its module lacks."""
    module = ""
    for found in NAMES.finditer(text):
        if found["module"]:
            module = found["module"]
            if not (ROOT / module).is_file():
                yield f"there is no {module}"
        elif not module:
            yield f"no module is named before {found[0]}"
        elif (ROOT / module).is_file() and found["function"] not in functions_of(module):
            yield f"{module} has no {found[0]}"


def test_a_name_that_the_code_lacks_is_found() -> None:
    text = "app/lost.py; app/cli.py: `main()`, `Main()`; app/protocol/jobs.py: `Jobs.accept()`, `Jobs.main()`"

    assert list(unknown_names(text)) == [
        *("there is no app/lost.py", "app/cli.py has no Main()", "app/protocol/jobs.py has no Jobs.main()")
    ]


def test_every_module_and_function_of_the_walks_exists() -> None:
    text = WALKS.read_text()

    assert len(NAMES.findall(text)) > 200
    assert list(unknown_names(text)) == []


def test_every_step_of_a_walk_names_a_function() -> None:
    steps = re.findall(r"^\d+\. (.*(?:\n {4}.*)*)", WALKS.read_text(), re.MULTILINE)

    assert [step for step in steps if not NAMES.search(step)] == []


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_a_path_of_the_code_on_a_page_exists(page: Path) -> None:
    paths = PATHS.findall(page.read_text())

    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_table_of_folders_names_files_that_exist() -> None:
    rows = re.findall(r"^\| `([\w/]+/)` \| (.*) \|$", ARCHITECTURE.read_text(), re.MULTILINE)
    missing = [
        folder + name
        for folder, cell in rows
        for name in re.findall(r"`([\w/.]+(?:\.py|/))`", cell)
        if not (ROOT / folder / name).exists() and not (ROOT / name).exists()
    ]

    assert len(rows) > 10
    assert missing == []


def test_every_package_of_the_application_is_in_the_table_of_folders() -> None:
    rows = re.findall(r"^\| `([\w/]+)/` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    packages = [short(path.parent) for path in (ROOT / "app").glob("*/__init__.py")]

    assert sorted({*packages, *PACKAGES} - set(rows)) == []


def test_every_table_of_the_state_database_is_described() -> None:
    described = set(re.findall(r"`(scim_\w+)`", ARCHITECTURE.read_text()))

    assert sorted(set(state_tables._TABLES) - described) == []
