"""AUDIT_VALUES: what rows of the change log say of attributes, and never say."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from app.cli import main
from app.protocol.context import system
from app.protocol.importing import ResourceImport
from tests.conftest import GROUP, KEY, USER, ScimClient
from tests.events import ENTERPRISE, patch

Make = Callable[..., ScimClient]
LOG = {"CHANGE_LOG": "on", "EMBEDDED_WORKER": "false"}
SECRET = "correct-horse-battery"
Row = tuple[str, str, Any, Any]


def rows(scim: ScimClient) -> list[Row]:
    """Return kind, resource, before and after of each row, after a look at whether the log verifies."""
    delivery = scim.app.extensions["scim.delivery"]
    delivery.dispatcher.run()
    assert delivery.order.verify() == []
    return [
        (
            one.entry.kind,
            one.entry.resource_id,
            one.before and orjson.loads(one.before),
            one.after and orjson.loads(one.after),
        )
        for one in delivery.log.after(0, 1000)
    ]


def everything(scim: ScimClient) -> str:
    """Return all cells of the tables of the log as text."""
    database = scim.app.extensions["scim.delivery"].database
    tables = ("scim_change", "scim_change_value", "scim_queue")
    return str([database.rows(f"SELECT * FROM {table}") for table in tables])


def test_values_of_users_are_logged_before_and_after(make_scim: Make) -> None:
    scim = make_scim(**LOG, AUDIT_VALUES="values")
    name = {"givenName": "Ann", "familyName": "A"}
    ann = scim.user("ann", name=name, **{ENTERPRISE: {"department": "D1"}})["id"]
    patch(scim, f"/Users/{ann}", {"op": "replace", "path": "name.givenName", "value": "Anna"})
    patch(scim, f"/Users/{ann}", {"op": "replace", "path": f"{ENTERPRISE}:department", "value": "D2"})
    scim("PUT", f"/Users/{ann}", {"schemas": [USER], "userName": "ann", "title": "Boss"})
    scim("DELETE", f"/Users/{ann}")

    assert rows(scim) == [
        ("create", ann, None, {"userName": "ann", "name": name, f"{ENTERPRISE}:department": "D1"}),
        ("patch", ann, {"name": name}, {"name": {**name, "givenName": "Anna"}}),
        ("patch", ann, {f"{ENTERPRISE}:department": "D1"}, {f"{ENTERPRISE}:department": "D2"}),
        (
            "put",
            ann,
            {"name": {**name, "givenName": "Anna"}, f"{ENTERPRISE}:department": "D2"},
            {"title": "Boss"},
        ),
        ("delete", ann, {"userName": "ann", "title": "Boss"}, None),
    ]


def test_members_are_ids_that_were_added_and_removed(make_scim: Make) -> None:
    scim = make_scim(**LOG, AUDIT_VALUES="values")
    ann, bob, eve = (scim.user(name)["id"] for name in ("ann", "bob", "eve"))
    group = scim.group("team", ann)["id"]
    added = {"op": "add", "path": "members", "value": [{"value": ann}, {"value": bob}]}
    patch(scim, f"/Groups/{group}", added)
    body = {"schemas": [GROUP], "displayName": "team", "members": [{"value": bob}, {"value": eve}]}
    assert scim("PUT", f"/Groups/{group}", body).status_code == 200
    scim("DELETE", f"/Users/{eve}")
    scim("DELETE", f"/Groups/{group}")

    assert rows(scim)[3:] == [
        ("create", group, None, {"displayName": "team", "members": {"added": [ann]}}),
        ("patch", group, {}, {"members": {"added": [bob]}}),
        ("put", group, {"members": {"removed": [ann]}}, {"members": {"added": [eve]}}),
        ("patch", group, {"members": {"removed": [eve]}}, {}),
        ("delete", eve, {"userName": "eve"}, None),
        ("delete", group, {"displayName": "team", "members": {"removed": [bob]}}, None),
    ]


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb")
def test_passwords_and_their_copies_are_never_logged(make_scim: Make) -> None:
    mapping = '{"title": "nickName", "nickName": "password", "name.formatted": "password"}'
    scim = make_scim(**LOG, AUDIT_VALUES="values", USER_MAPPING=mapping, SET_POLL_ENABLED="true")
    ann = scim.user("ann", password=SECRET, displayName="A")["id"]
    patch(scim, f"/Users/{ann}", {"op": "replace", "path": "password", "value": SECRET + "2"})
    scim("DELETE", f"/Users/{ann}")

    found = rows(scim)
    assert found[0] == ("create", ann, None, {"userName": "ann", "displayName": "A"})
    assert found[1][2:] == ({}, {})
    assert SECRET not in everything(scim) and "argon2" not in everything(scim)


@pytest.mark.on("sqlite")
def test_a_copy_of_a_password_as_external_id_is_not_logged(make_scim: Make) -> None:
    scim = make_scim(**LOG, USER_MAPPING='{"externalId": "password"}')
    scim.user("ann", password=SECRET)

    assert rows(scim) and SECRET not in everything(scim)


def test_attributes_that_events_ignore_have_no_values(make_scim: Make) -> None:
    scim = make_scim(**LOG, AUDIT_VALUES="values", EVENT_IGNORED_ATTRIBUTES="title")
    ann = scim.user("ann", title="Boss")["id"]
    patch(scim, f"/Users/{ann}", {"op": "replace", "path": "title", "value": "Chief"})

    assert rows(scim) == [("create", ann, None, {"userName": "ann"}), ("patch", ann, {}, {})]


@pytest.mark.parametrize(("detail", "paths"), [("none", []), ("names", ["title"])])
def test_without_values_a_row_has_names_or_nothing(make_scim: Make, detail: str, paths: list[str]) -> None:
    scim = make_scim(**LOG, AUDIT_VALUES=detail, SET_POLL_ENABLED="true")
    ann = scim.user("ann")["id"]
    patch(scim, f"/Users/{ann}", {"op": "replace", "path": "title", "value": "Boss"})
    delivery = scim.app.extensions["scim.delivery"]

    assert [one[2:] for one in rows(scim)] == [(None, None)] * 2
    assert orjson.loads(delivery.log.after(1, 1)[0].entry.paths) == paths
    (event,) = delivery.database.row("SELECT event FROM scim_set ORDER BY position DESC LIMIT 1")
    assert "title" in event, "events do not depend on the setting"
    assert delivery.database.row("SELECT COUNT(*) FROM scim_change_value")[0] == 0


def test_an_import_logs_values(make_scim: Make) -> None:
    scim = make_scim(**LOG, AUDIT_VALUES="values")
    base = scim.app.extensions["scim.base"]
    users = [{"schemas": [USER], "id": f"u{n}", "userName": f"n{n}", "password": SECRET} for n in range(3)]
    group = {"schemas": [GROUP], "id": "g", "displayName": "g", "members": [{"value": "u0"}]}
    problems: list[Any] = []
    ResourceImport(
        base.resources, base.imports, system("import"), lambda *said: problems.append(said)
    ).run(map(orjson.dumps, [*users, group]))
    assert problems == []

    found = [one[2:] for one in rows(scim)]

    assert [after["userName"] for _, after in found[:3]] == ["n0", "n1", "n2"]
    assert [after for _, after in found[3:]][0] == {"displayName": "g"}
    (joined,) = [after["members"]["added"] for _, after in found if "members" in after]
    assert len(joined) == 1 and SECRET not in everything(scim)


def test_a_log_without_history_has_no_values(make_scim: Make) -> None:
    off = {**LOG, "CHANGE_LOG": "off"}
    scim = make_scim(**off, AUDIT_VALUES="values", SET_POLL_ENABLED="true")
    scim.user("ann")

    assert scim.app.extensions["scim.delivery"].database.row("SELECT COUNT(*) FROM scim_change_value")[0] == 0


@pytest.mark.on("sqlite", "files", "postgresql", "mariadb")
def test_values_of_a_resource_are_erased_and_the_log_verifies(
    make_scim: Make, backend: Callable[[set[str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {**LOG, "AUDIT_VALUES": "values"}
    for name, value in {"API_KEY": KEY, "LOGLEVEL": "ERROR", **backend(set()), **environ}.items():
        monkeypatch.setenv(name, value)
    scim = make_scim(**environ)
    ann, bob = scim.user("ann", title="Boss")["id"], scim.user("bob")["id"]
    patch(scim, f"/Users/{ann}", {"op": "replace", "path": "title", "value": "Chief"})
    rows(scim)

    result = CliRunner().invoke(main, ["audit", "erase", "--resource", f"User/{ann}"])
    again = CliRunner().invoke(main, ["audit", "erase", "--resource", f"User/{ann}"])

    assert result.exit_code == 0 and "the values of 2 changes are erased" in result.output
    assert "the values of 0 changes are erased" in again.output
    assert rows(scim) == [
        ("create", ann, None, None),
        ("create", bob, None, {"userName": "bob"}),
        ("patch", ann, None, None),
        ("erase", ann, None, None),
    ]
    assert "Boss" not in everything(scim) and "Chief" not in everything(scim)
    verified = CliRunner().invoke(main, ["audit", "verify"])
    assert verified.exit_code == 0 and "positions 1 to 4" in verified.output
