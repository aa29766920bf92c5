"""Slow searches in the log, and `scim explain`: what the storage answers, and what the server evaluates."""

import json
import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.wiring import base
from storage.errors import StorageUnavailable
from telemetry.lines import Values
from tests.conftest import KEY, ScimClient

LOGGER = "app.protocol.search_report"
INDEXED = {"INDEXED_ATTRIBUTES": "userName,displayName"}
ON_INDEX = pytest.mark.on("sqlite", "files", "postgresql", "mariadb", "mongodb")
SECRET = "Engineer of the Moon"
USERS = [{"user_name": f"ann{number}", "title": SECRET} for number in range(3)]


@pytest.fixture
def slow(make_scim: Callable[..., ScimClient]) -> Callable[..., ScimClient]:
    """Return a function that makes a base with three users, where every search counts as slow."""

    def make(**environ: str) -> ScimClient:
        scim = make_scim(**{**INDEXED, "SLOW_FILTER_MS": "0", "LOGLEVEL": "WARNING", **environ})
        for user in USERS:
            scim.user(**user)
        return scim

    return make


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@ON_INDEX
def test_a_slow_search_is_logged_with_its_plan_and_without_values(
    slow: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = slow()
    caplog.clear()

    answer = scim("GET", "/Users", query_string={"filter": f'userName sw "ann" and title eq "{SECRET}"'})

    assert answer.json["totalResults"] == 3
    (line,) = logged(caplog)
    assert "; User; filter userName sw ? and title eq ?; plan residual, 3 read, 3 found;" in line
    assert "storage: userName sw ?" in line
    assert "server: title eq ? (title has no index)" in line
    assert line.endswith("INDEXED_ATTRIBUTES lacks title")
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert record.levelno == logging.WARNING
    told = vars(record)["fields"]()
    assert SECRET not in f"{vars(record)} {told}"
    assert (told["message"], told["plan"], told["missing"]) == ("slow search", "residual", ["title"])


@ON_INDEX
def test_a_scan_and_an_order_of_the_server_are_logged(
    slow: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = slow()
    caplog.clear()

    by_title = {"sortBy": "title", "sortOrder": "descending"}
    scim("GET", "/Users", query_string={"filter": "nickName pr", **by_title})
    scim("GET", "/Users", query_string={"filter": 'userName eq "ann1"', "sortBy": "displayName"})

    scan, native = logged(caplog)
    assert "order title descending, by the server; plan scan, 3 read, 0 found" in scan
    assert scan.endswith("INDEXED_ATTRIBUTES lacks nickName,title")
    assert "order displayName, by the storage; plan native, 1 read, 1 found" in native
    assert "INDEXED_ATTRIBUTES" not in native


@pytest.mark.sqlite
def test_values_are_logged_where_a_setting_says_so(
    slow: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scim = slow()
    caplog.clear()
    monkeypatch.setattr(Values, "are_shown", True)

    scim("GET", "/Users", query_string={"filter": f'title eq "{SECRET}\u2028\\n"'})

    assert f'filter title eq "{SECRET}\\u2028\\n"' in logged(caplog)[0]
    assert logged(caplog)[0].isprintable()


@ON_INDEX
def test_searches_are_counted_by_plan(slow: Callable[..., ScimClient]) -> None:
    scim = slow()
    before = scim.figures()

    for text in ('userName eq "ann1"', 'userName sw "ann" and title pr', "title pr", "nickName pr"):
        scim("GET", "/Users", query_string={"filter": text})

    after = scim.figures()
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)}
    plans = {name: number for name, number in grown.items() if "_filter_" in name}
    assert plans == {
        'scim_filter_plans_total{plan="native",type="User"}': 1,
        'scim_filter_plans_total{plan="residual",type="User"}': 1,
        'scim_filter_plans_total{plan="scan",type="User"}': 2,
        'scim_filter_resources_read_total{plan="native",type="User"}': 1,
        'scim_filter_resources_read_total{plan="residual",type="User"}': 3,
        'scim_filter_resources_read_total{plan="scan",type="User"}': 6,
    }
    (slow_ones,) = [number for name, number in grown.items() if name.startswith("scim_slow_searches_total")]
    assert slow_ones == 4


@pytest.mark.sqlite
def test_a_search_below_the_limit_leaves_no_line(
    make_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    scim = make_scim(SLOW_FILTER_MS="1000000000", LOGLEVEL="WARNING")

    scim("GET", "/Users", query_string={"filter": "title pr"})

    assert logged(caplog) == []


@pytest.mark.sqlite
def test_a_search_succeeds_though_its_plan_cannot_be_told(
    slow: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(page: Any) -> None:
        raise StorageUnavailable("the directory is gone")

    scim = slow()
    caplog.clear()
    monkeypatch.setattr("app.protocol.search_report.plan_of", fail)

    answer = scim("GET", "/Users", query_string={"filter": "title pr"})

    assert answer.json["totalResults"] == 3
    problem, line = logged(caplog)
    assert problem == "the plan of a slow search cannot be told: the directory is gone"
    assert "filter title pr; plan scan, 3 read, 3 found" in line


Explain = Callable[..., Result]


@pytest.fixture
def explain(slow: Callable[..., ScimClient], backend: Callable[[set[str]], dict[str, str]]) -> Explain:
    """Return the command on a base with three users."""
    slow()
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set(INDEXED)), **INDEXED}

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["explain", *words], env=environ)

    return run


@ON_INDEX
def test_explain_shows_a_tree(explain: Explain) -> None:
    result = explain("User", f'userName sw "ann" and (title eq "{SECRET}" or userName eq "x")', "--count=1")

    assert result.exit_code == 0, result.output
    first, *tree, last, missing = result.stdout.splitlines()
    assert first == f'User: userName sw "ann" and (title eq "{SECRET}" or userName eq "x")'
    assert tree[0] == '├─ storage: userName sw "ann"'
    shown = "\n".join(tree)
    assert f'└─ server: title eq "{SECRET}" or userName eq "x"\n' in shown
    assert f'   ├─ server: title eq "{SECRET}"\n   │     title has no index\n' in shown
    assert '   └─ storage: userName eq "x"' in shown
    assert last.startswith("plan residual: 3 read from the storage, 3 found, ")
    assert missing == "INDEXED_ATTRIBUTES lacks title"


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb")
def test_explain_tells_how_the_index_is_used(explain: Explain) -> None:
    result = explain("User", 'userName co "nn"', "--queries")

    assert "   reads all index entries of the attribute\n" in result.stdout
    assert "   query: r.rid IN (SELECT a.rid FROM scim_attribute a" in result.stdout
    assert "ms\n" in result.stdout and "lacks" not in result.stdout


def test_explain_prints_an_object_on_every_backend(explain: Explain) -> None:
    result = explain("User", 'userName eq "ann1"', "--sort-by", "userName", "--json")

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["found"] == 1
    assert told["filter"] == 'userName eq "ann1"'
    assert told["resourceType"] == "User"
    assert told["plan"] in ("native", "residual", "scan")
    assert told["read"] >= 1
    for part in told["parts"]:
        assert part["filter"] == 'userName eq "ann1"'
        assert (part["by"] == "server") == (told["plan"] == "scan")


def test_explain_without_a_filter_lists_all(explain: Explain) -> None:
    result = explain("Group")

    assert result.exit_code == 0, result.output
    first, last = result.stdout.splitlines()
    assert first == "Group: all"
    assert ": 0 read from the storage, 0 found, " in last


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["Person", "title pr"], "Invalid value for TYPE: Person is none of User, Group"),
        (["User", "title is"], "Invalid value for FILTER: "),
        (["User", "title pr", "--sort-by", "nothing"], "Invalid value for --sort-by: sortBy: nothing is not"),
        (["User", "title pr", "--count", "-1"], "Invalid value for '--count'"),
    ],
)
def test_explain_refuses_what_it_does_not_know(explain: Explain, words: list[str], problem: str) -> None:
    result = explain(*words)

    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.sqlite
def test_explain_ends_with_a_line_where_the_storage_does_not_answer(
    explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StorageUnavailable("the database is gone")

    monkeypatch.setattr(base.Resources, "explain", fail)

    result = explain("User", "title pr")

    assert result.exit_code == 1
    assert "scim: the database is gone" in result.stderr


@pytest.mark.sqlite
def test_the_tree_in_the_docs_is_that_of_the_command(
    make_scim: Callable[..., ScimClient], backend: Callable[[set[str]], dict[str, str]]
) -> None:
    scim = make_scim(**INDEXED)
    for number in range(3):
        scim.user(f"ann{number}", title="Engineer" if number else "Clerk")
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "slow-filters.md").read_text()
    (block,) = re.findall(r"^    (\$ scim explain .*(?:\n    .*)+)", page, re.MULTILINE)
    command, *shown = block.split("\n    ")
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set(INDEXED)), **INDEXED}

    result = CliRunner().invoke(main, shlex.split(command)[2:], env=environ)

    timed = re.compile(r"[0-9.]+ ms$")
    assert [timed.sub("", line) for line in result.stdout.splitlines()] == [timed.sub("", o) for o in shown]
