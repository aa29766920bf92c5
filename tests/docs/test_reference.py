"""docs/reference says what the code does: its generated pages are those of this code, and whole."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.configuration.settings import Settings
from app.configuration.types import as_text
from app.edge.description.vocabulary import ERRORS
from app.protocol.errors import STATUS
from app.protocol.profiles import ANSWERS, PROFILES, TOLERANCES, profile_of
from docs.generate.pages import PAGES, REFERENCE
from schema.errors import ScimError

ROOT = Path(__file__).parent.parent.parent
DECLARED = Settings.declarations()
PACKAGES = ("app", "schema", "scim_filter", "storage", "set_delivery", "telemetry")


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_that_of_the_code(name: str) -> None:
    assert page(name) == PAGES[name](), "run `make reference` and commit what it writes"


def test_every_setting_has_a_section_and_every_section_is_a_setting() -> None:
    sections = re.findall(r"^### `(\w+)`$", page("settings.md"), re.MULTILINE)

    assert sorted(sections) == sorted(name.upper() for name in DECLARED)


def test_every_variable_is_named_with_its_file() -> None:
    named = set(re.findall(r"`([A-Za-z0-9_]+)`", page("settings.md")))

    assert {*Settings.variables(), *Settings.file_variables()} <= named


@pytest.mark.parametrize("name", DECLARED)
def test_a_setting_is_described_in_sentences_and_with_its_values(name: str) -> None:
    metadata = DECLARED[name].metadata
    described = metadata["is"]

    for text in filter(None, (described.does, described.edges)):
        assert text[0] in "`" or text[0].isupper() or text.startswith("iRODS"), text
        assert text.endswith("."), text
    assert metadata["read"].__doc__, metadata["read"]


@pytest.mark.parametrize("name", DECLARED)
def test_the_default_on_the_page_is_read_as_the_default(name: str) -> None:
    entry = DECLARED[name]
    shown = as_text(entry.default)

    if shown and name != "set_feeds":
        assert entry.metadata["read"](shown) == entry.default
    elif shown:
        assert [feed.id for feed in entry.metadata["read"](shown)] == [feed.id for feed in entry.default]
    else:
        assert not entry.default


def test_the_page_of_profiles_has_every_switch_of_every_profile() -> None:
    rows = [line.strip("| ").split(" | ") for line in page("profiles.md").splitlines() if line[:2] == "| "]
    shown = {row[0].strip("`"): row[1:] for row in rows if len(row) == 2 + len(PROFILES)}
    names = shown.pop("switch")[1:]

    assert names == [f"`{name}`" for name in PROFILES]
    assert {switch: row[0] for switch, row in shown.items()} == {**TOLERANCES, **ANSWERS}
    for name, column in zip(PROFILES, zip(*(row[1:] for row in shown.values()), strict=True), strict=True):
        granted = {switch for switch, cell in zip(shown, column, strict=True) if cell == "yes"}
        assert granted == profile_of(name).switches


def test_every_deviation_names_its_switch() -> None:
    rows = [line.strip("| ").split(" | ") for line in page("profiles.md").splitlines() if line[:2] == "| "]
    named = {switch for row in rows if len(row) == 4 for switch in re.findall(r"`([a-z0-9-]+)`", row[1])}

    assert named == set(TOLERANCES)


@pytest.mark.sqlite
def test_every_endpoint_is_in_the_http_api(scim_paths: set[str]) -> None:
    named = {re.sub(r"\{\w+\}", "{id}", path) for path in re.findall(r"`(/[^` ]*)`", page("http-api.md"))}

    assert scim_paths <= named


@pytest.fixture(scope="module")
def calls() -> dict[str, list[ast.Call]]:
    """Every call of a name in the packages of the server, by the name."""
    found: dict[str, list[ast.Call]] = defaultdict(list)
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found[node.func.id].append(node)
    return found


def constants(calls: Iterable[ast.Call], position: int) -> set[Any]:
    """Return the constants among the arguments at a position."""
    arguments = [call.args[position] for call in calls if len(call.args) > position]
    return {argument.value for argument in arguments if isinstance(argument, ast.Constant)}


def test_every_status_of_the_code_has_a_section_in_the_errors(calls: dict[str, list[ast.Call]]) -> None:
    refused = constants((*calls["Refusal"], *calls["error_json"]), 0)
    sections = {int(status) for status in re.findall(r"^## (\d+)$", page("errors.md"), re.MULTILINE)}

    assert {411, 413, 415} <= refused
    assert {*refused, *STATUS.values(), *ERRORS} <= sections


def test_the_errors_have_every_scimtype_that_the_code_answers_and_no_other(
    calls: dict[str, list[ast.Call]],
) -> None:
    raised = {kind.scim_type for kind in ScimError.__subclasses__() if kind.__name__ in calls}
    rows = re.findall(r"^\| `(\w+)` \| \d+ \|", page("errors.md"), re.MULTILINE)

    assert set(rows) == raised | constants(calls["Refusal"], 2)
