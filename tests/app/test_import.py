"""`scim import`: many resources at once, and again where it was interrupted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.configuration.settings import Settings
from app.protocol import importing
from app.protocol.context import system
from app.protocol.importing import ResourceImport
from app.wiring.base import open_base
from tests.conftest import GROUP, KEY, USER, ScimClient

Import = Callable[..., Result]
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@pytest.fixture
def run(
    backend: Callable[[set[str]], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Import:
    """Import documents, or lines of text, from a file."""
    for name, value in {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set())}.items():
        monkeypatch.setenv(name, value)

    def run(*lines: Any) -> Result:
        file = tmp_path / "resources.ndjson"
        file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
        return CliRunner().invoke(main, ["import", str(file)])

    return run


def user(name: str, **attributes: Any) -> dict[str, Any]:
    return {"schemas": [USER], "userName": name, **attributes}


def group(name: str, *members: str, **attributes: Any) -> dict[str, Any]:
    values = [{"value": member} for member in members]
    return {"schemas": [GROUP], "displayName": name, "members": values, **attributes}


def test_members_follow_the_ids_that_their_resources_get(run: Import, scim: ScimClient) -> None:
    result = run(group("guides", "a1", "b1", id="g1"), user("ann", id="a1"), user("bob", id="b1"))

    assert (result.exit_code, result.stdout) == (0, "created 3, already there 0, failed 0\n")
    (guides,) = scim("GET", "/Groups").json["Resources"]
    assert sorted(member["display"] for member in guides["members"]) == ["ann", "bob"]


@pytest.mark.on("forward", "irods")
def test_lines_of_one_id_become_members_by_their_types(run: Import, scim: ScimClient) -> None:
    both = [{"value": "1", "type": "User"}, {"value": "1", "type": "group"}]
    lines = (
        {**group("all"), "id": "g", "members": both},
        {**group("some"), "id": "h", "members": both[1:]},
        user("ann", id="1"),
        group("crew", id="1"),
    )
    result = run(*lines)

    assert (result.exit_code, result.stdout) == (0, "created 4, already there 0, failed 0\n")
    shown = {one["displayName"]: one for one in scim("GET", "/Groups").json["Resources"]}
    assert {
        name: {(member["type"], member["display"]) for member in one.get("members", ())}
        for name, one in shown.items()
    } == {
        "all": {("User", "ann"), ("Group", "crew")},
        "some": {("Group", "crew")},
        "crew": set(),
    }


def test_resources_come_in_as_if_a_client_had_sent_them(run: Import, scim: ScimClient) -> None:
    meta = {"resourceType": "User", "created": "2020-01-01T01:00:00+01:00"}
    result = run(
        user("ann", id="a1", emails=[{"value": "ann@x"}], active="True", meta=meta, password="hush"),
        user("bob"),
        group("guides", "a1", id="g1"),
    )

    assert (result.exit_code, result.stdout) == (0, "created 3, already there 0, failed 0\n")
    ann = scim("GET", "/Users/a1").json
    assert ann["active"] is True and "password" not in ann
    assert ann["meta"]["created"] == ann["meta"]["lastModified"] == "2020-01-01T00:00:00.000Z"
    assert [one["display"] for one in ann["groups"]] == ["guides"]
    assert scim.names('emails.value eq "ann@x"') == ["ann"]
    assert scim("GET", "/Users").json["totalResults"] == 2
    assert scim("POST", "/Users", user("BOB")).status_code == 409


def test_members_may_come_before_or_after_and_missing_ones_are_named(run: Import, scim: ScimClient) -> None:
    result = run(group("outer", "g2", "nobody", id="g1"), group("inner", "u1", id="g2"), user("ann", id="u1"))

    assert result.exit_code == 0
    assert "line 1: members: there is no resource with the id nobody" in result.stderr
    assert {one["value"]: one["type"] for one in scim("GET", "/Users/u1").json["groups"]} == {
        "g1": "indirect",
        "g2": "direct",
    }


def test_what_cannot_come_in_is_named_and_the_rest_comes_in(run: Import, scim: ScimClient) -> None:
    result = run(
        user("ann"),
        "{broken",
        "",
        "[1]",
        user("ANN"),
        user("bob", id="a/b"),
        {"schemas": ["urn:x"], "userName": "x"},
        {"schemas": [USER]},
        user("carl", meta={"created": "yesterday"}),
        user("dora"),
    )

    assert result.exit_code == 1
    assert result.stdout == "created 2, already there 0, failed 7\n"
    problems = [line for line in result.stderr.splitlines() if line.startswith("line ")]
    assert sorted(line.split(":")[0] for line in problems) == [f"line {n}" for n in (2, 4, 5, 6, 7, 8, 9)]
    assert any(line.startswith("line 5: userName: another") for line in problems)
    assert any(line.startswith("line 8: userName: is required") for line in problems)
    assert scim.names("userName pr") == ["ann", "dora"]


def test_done_again_it_goes_on(run: Import, scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_BATCH", 10)
    users = [user(f"u{number}", id=f"id{number}") for number in range(25)]

    run(*users[:13])
    result = run(*users)

    assert result.stdout == "created 12, already there 13, failed 0\n"
    assert scim("GET", "/Users").json["totalResults"] == 25
    assert scim.names('userName eq "u24"') == ["u24"]


def test_settings_that_are_wrong_are_said(run: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "oracle://x")

    result = run(user("a"))

    assert result.exit_code != 0
    assert "DATABASE_URL" in str(result.exception) + result.output


def test_lines_are_read_as_the_default_profile_reads_requests(run: Import, scim: ScimClient) -> None:
    old, extension = "urn:scim:schemas:core:2.0", "urn:scim:schemas:extension:enterprise:2.0"
    typed = {"resourceType": "User"}
    result = run(
        {"schemas": [f"{old}:User"], "userName": "a", extension: {"department": "d"}},
        {"schemas": [old], "meta": typed, "userName": "b", "emails": [{"type": "work", "value": ""}]},
        {"schemas": [f"{old}:Group"], "displayName": "g"},
        user("c", phoneNumbers=[{"number": "3"}]),
    )

    assert "created 3, already there 0, failed 1" in result.stdout
    assert "phoneNumbers[0]: number is not a sub-attribute" in result.stderr
    assert scim.names(f'{extension}:department eq "d"') == ["a"]
    assert scim.names("emails pr") == []


def test_done_again_without_ids_it_leaves_alone_what_is_there(run: Import, scim: ScimClient) -> None:
    lines = [
        user("Ann", title="new"),
        user("bob", externalId="b-1"),
        group("guides", externalId="g-1"),
        group("twins"),
        group("twins"),
    ]
    before = scim.user("ann", title="old")

    first, second = run(*lines), run(*lines, user("carol"))

    assert (first.exit_code, first.stdout) == (0, "created 4, already there 1, failed 0\n")
    assert (second.exit_code, second.stdout) == (0, "created 1, already there 5, failed 0\n")
    assert scim("GET", before["meta"]["location"]).json == before
    assert sorted(scim.names("id pr")) == ["ann", "bob", "carol"]
    assert scim("GET", "/Groups").json["totalResults"] == 3


def test_members_join_that_had_not_when_an_import_died(run: Import, scim: ScimClient) -> None:
    users = [user("ann", id="a1"), user("bob", id="b1")]
    # As kill -9 leaves them: the groups are kept, and their members are not.
    run(*users, group("guides", id="g1"), group("team", id="g2"))
    (team,) = scim.names('displayName eq "team"', "/Groups", "id")
    change = {"schemas": [PATCH], "Operations": [{"op": "add", "path": "externalId", "value": "mine"}]}
    scim("PATCH", f"/Groups/{team}", change)

    result = run(*users, group("guides", "a1", "b1", id="g1"), group("team", "a1", id="g2"))

    assert (result.exit_code, result.stdout) == (0, "created 0, already there 4, failed 0\n")
    members = {g["displayName"]: g.get("members", []) for g in scim("GET", "/Groups").json["Resources"]}
    assert sorted(member["display"] for member in members["guides"]) == ["ann", "bob"]
    assert members["team"] == [], "somebody has changed it since"


def test_what_another_import_made_meanwhile_is_there(run: Import, scim: ScimClient) -> None:
    problems: list[tuple[int, str]] = []
    base = open_base(Settings.from_env())
    work = ResourceImport(base.resources, base.imports, system("import"), lambda *p: problems.append(p))
    work.run([])
    scim.user("ann")

    result = work.run(json.dumps(user(name)).encode() for name in ("ann", "bob", "BOB"))

    base.adapter.close()
    assert (result.created, result.skipped, result.failed) == (1, 1, 1)
    assert [number for number, _ in problems] == [3]
    assert scim.names("userName pr") == ["ann", "bob"]


def test_members_may_be_those_that_are_there(run: Import, scim: ScimClient) -> None:
    run(user("ann", id="a1"))

    result = run(user("ann", id="a1"), group("guides", "a1", id="g1"))

    assert (result.exit_code, result.stdout) == (0, "created 1, already there 1, failed 0\n")
    (guides,) = scim("GET", "/Groups").json["Resources"]
    assert [member["display"] for member in guides["members"]] == ["ann"]


def test_the_type_of_a_member_must_be_so(run: Import, scim: ScimClient) -> None:
    guides = group("guides", id="g1")
    guides["members"] = [{"value": "a1", "type": "Group"}]

    result = run(user("ann", id="a1"), guides)

    assert "line 2: members: there is no resource with the id a1" in result.stderr
    (kept,) = scim("GET", "/Groups").json["Resources"]
    assert "members" not in kept


@pytest.mark.sqlite
def test_the_profile_decides_what_a_line_may_hold(
    run: Import, scim: ScimClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [user("ann", active="True"), user("bob", active=True), user("carol", nosuch="x")]
    monkeypatch.setenv("PROFILE", "strict")

    result = run(*lines)

    assert (result.exit_code, result.stdout) == (1, "created 1, already there 0, failed 2\n")
    assert "line 1: active" in result.stderr
    assert scim.names("id pr") == ["bob"]


@pytest.mark.sqlite
def test_a_line_that_is_nested_too_deeply_is_named(run: Import, scim: ScimClient) -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    line = f'{{"schemas": ["{USER}"], "userName": "deep", "unknown": {deep}}}'

    result = run(line, user("ann"))

    assert (result.exit_code, result.stdout) == (1, "created 1, already there 0, failed 1\n")
    assert "line 1: the line is nested more than 100 levels deep" in result.stderr
    assert scim.names("id pr") == ["ann"]


@pytest.mark.sqlite
def test_an_id_of_another_type_is_in_the_way(run: Import, scim: ScimClient) -> None:
    result = run(user("ann", id="one"), group("guides", id="one"))

    assert (result.exit_code, result.stdout) == (1, "created 1, already there 0, failed 1\n")
    assert "line 2: id" in result.stderr
    assert scim("GET", "/Groups").json["totalResults"] == 0


def test_dates_of_other_programs_are_taken_over_or_left_out(run: Import, scim: ScimClient) -> None:
    dates = ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z", "never", 5)
    lines = [user(f"u{n}", meta={"created": date, "lastModified": date}) for n, date in enumerate(dates)]

    result = run(*lines, user("good"))

    assert "already there 0, failed" in result.stdout and "created 0" not in result.stdout
    assert scim("GET", "/health/ready").status_code == 200
    assert scim.names('userName eq "u0"') == ["u0"] and scim.names('userName eq "good"') == ["good"]
    created = scim("GET", "/Users", query_string={"filter": 'userName eq "u0"'}).json["Resources"][0]["meta"]
    assert all(len(created[name]) == 24 for name in ("created", "lastModified"))
