"""The change log over HTTP: each write is a row that says who changed what, however it came."""

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from app.protocol.context import system
from app.protocol.importing import ResourceImport
from set_delivery.change_log import ChangeEntry
from tests.conftest import KEY, USER, ScimClient, error_of
from tests.events import BULK, PATCH_OP, POLL, kinds, sets

Make = Callable[..., ScimClient]
LOG = {"CHANGE_LOG": "on", "EMBEDDED_WORKER": "false"}


class Logged:
    """A service and what is in its log."""

    def __init__(self, scim: ScimClient) -> None:
        self.scim = scim
        self.delivery = scim.app.extensions["scim.delivery"]

    def entries(self) -> list[ChangeEntry]:
        """Return the rows in the order of their positions, after a look at whether the log verifies."""
        self.delivery.dispatcher.run()
        assert self.delivery.order.verify() == []
        return [one.entry for one in self.delivery.log.after(0, 1000)]

    def told(self) -> list[tuple[str, str, str, list[str]]]:
        return [
            (one.kind, one.resource_type, one.resource_id, sorted(orjson.loads(one.paths)))
            for one in self.entries()
        ]


@pytest.fixture
def logged(make_scim: Make) -> Logged:
    return Logged(make_scim(**LOG))


def patch(path: str, value: Any, op: str = "replace") -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": [{"op": op, "path": path, "value": value}]}


def test_each_write_is_a_row(logged: Logged) -> None:
    scim = logged.scim
    ann, bob = scim.user("ann", externalId="x-1")["id"], scim.user("bob")["id"]
    group = scim.group("team", ann)["id"]
    scim("PATCH", f"/Users/{ann}", patch("title", "Boss"))
    scim("PUT", f"/Users/{bob}", {"schemas": [USER], "userName": "bob", "nickName": "B"})
    scim("PATCH", f"/Groups/{group}", patch("members", [{"value": bob}], "add"))
    # Nothing changes, and nothing is logged.
    scim("PATCH", f"/Users/{ann}", patch("title", "Boss"))
    error_of(scim("PATCH", f"/Users/{ann}", patch("userName", "bob")), 409, "uniqueness")
    scim("DELETE", f"/Users/{ann}")

    assert logged.told() == [
        ("create", "User", ann, ["externalId", "userName"]),
        ("create", "User", bob, ["userName"]),
        ("create", "Group", group, ["displayName", "members"]),
        ("patch", "User", ann, ["title"]),
        ("put", "User", bob, ["nickName"]),
        ("patch", "Group", group, ["members"]),
        ("patch", "Group", group, ["members"]),
        ("delete", "User", ann, []),
    ]
    entries = logged.entries()
    assert (entries[0].external_id, entries[-1].external_id) == ("x-1", "x-1")
    assert entries[-1].version is None and entries[-1].txn == entries[-2].txn
    shown = scim("GET", f"/Users/{bob}").json["meta"]["version"]
    assert entries[4].version == shown
    assert logged.delivery.inventory.waiting() == 0


def test_a_row_says_who_made_a_change_from_where(logged: Logged) -> None:
    headers = {"X-Request-ID": "request-7"}
    logged.scim("POST", "/Users", {"schemas": [USER], "userName": "ann"}, headers)

    (entry,) = logged.entries()

    assert entry.principal and entry.principal == entry.credential and KEY not in entry.principal
    assert (entry.address, entry.origin, entry.request_id) == ("127.0.0.1", "rest", "request-7")


def test_operations_of_bulk_are_rows_each(logged: Logged) -> None:
    users = [
        {"method": "POST", "path": "/Users", "bulkId": f"b{n}", "data": {"schemas": [USER], "userName": name}}
        for n, name in enumerate(["ann", "ann", "bob"])
    ]
    answer = logged.scim("POST", "/Bulk", {"schemas": [BULK], "Operations": users})
    assert [one["status"] for one in answer.json["Operations"]] == ["201", "409", "201"]

    assert [(one.kind, one.origin) for one in logged.entries()] == [("create", "bulk")] * 2


def test_an_asynchronous_request_is_a_row_when_it_is_carried_out(make_scim: Make) -> None:
    logged = Logged(make_scim(**LOG, ASYNC_REQUEST="request"))
    headers = {"Prefer": "respond-async"}
    answer = logged.scim("POST", "/Users", {"schemas": [USER], "userName": "ann"}, headers)
    assert answer.status_code == 202 and logged.entries() == []

    logged.scim.work()

    (entry,) = logged.entries()
    assert (entry.kind, entry.origin, entry.txn) == ("create", "async", answer.headers["Set-Txn"])


def test_an_import_is_rows_and_no_events(make_scim: Make) -> None:
    logged = Logged(make_scim(**LOG, SET_POLL_ENABLED="true"))
    base = logged.scim.app.extensions["scim.base"]
    lines = [
        orjson.dumps({"schemas": [USER], "id": f"u{n}", "userName": f"u{n}", "title": "t"}) for n in range(3)
    ]
    problems: list[Any] = []
    result = ResourceImport(
        base.resources, base.imports, system("import"), lambda *said: problems.append(said)
    ).run(lines)

    assert result.created == 3 and problems == []
    assert {(one.kind, one.origin, one.principal) for one in logged.entries()} == {
        ("create", "import", "system")
    }
    assert len(logged.entries()) == 3 and sets(logged.scim) == []


def test_events_and_rows_tell_the_same_in_one_order(make_scim: Make) -> None:
    logged = Logged(make_scim(**LOG, SET_POLL_ENABLED="true", EVENT_IGNORED_ATTRIBUTES="title"))
    ann = logged.scim.user("ann")["id"]
    logged.scim("PATCH", f"/Users/{ann}", patch("title", "Boss"))
    logged.scim("PATCH", f"/Users/{ann}", patch("nickName", "A"))

    told = kinds(sets(logged.scim))

    assert told == [("prov:create:notice", f"/Users/{ann}"), ("prov:patch:notice", f"/Users/{ann}")]
    # What is ignored for events is logged all the same.
    assert [one[3] for one in logged.told()] == [["userName"], ["title"], ["nickName"]]


def test_without_a_log_only_events_are_kept_until_they_are_taken(make_scim: Make) -> None:
    scim = make_scim(**POLL, CHANGE_LOG="off")
    ann = scim.user("ann")["id"]
    database = scim.app.extensions["scim.delivery"].database
    assert database.row("SELECT COUNT(*) FROM scim_change")[0] == 1

    assert kinds(sets(scim)) == [("prov:create:notice", f"/Users/{ann}")]

    tables = ("scim_change", "scim_queue", "scim_order")
    assert [database.row(f"SELECT COUNT(*) FROM {table}")[0] for table in tables] == [0, 0, 0]


@pytest.mark.sqlite
def test_old_rows_go_and_leave_a_signed_checkpoint(
    make_scim: Make, caplog: pytest.LogCaptureFixture
) -> None:
    logged = Logged(make_scim(**LOG, CHANGE_RETENTION="1"))
    database = logged.delivery.database
    for name in ("ann", "bob"):
        logged.scim.user(name)
    logged.entries()
    time.sleep(1.1)
    logged.scim.user("eve")
    logged.entries()

    logged.delivery.expire()

    assert [one.position for one in logged.delivery.log.after(0, 9)] == [3]
    assert database.row("SELECT COUNT(*), MAX(position) FROM scim_checkpoint") == (1, 2)
    assert logged.delivery.order.verify() == [] and "do not verify" not in caplog.text


@pytest.mark.sqlite
def test_old_rows_that_were_changed_stay(make_scim: Make, caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(make_scim(**LOG, CHANGE_RETENTION="60"))
    logged.scim.user("ann")
    logged.entries()
    with logged.delivery.database.transaction():
        logged.delivery.database.run("UPDATE scim_change SET at = at - 3600000")

    logged.delivery.expire()

    assert logged.delivery.database.row("SELECT COUNT(*) FROM scim_change")[0] == 1
    assert "old rows of the change log stay, because they do not verify" in caplog.text


def test_metrics_show_the_log(logged: Logged) -> None:
    logged.scim.user("ann")
    before = logged.scim.figures()
    logged.entries()
    after = logged.scim.figures()

    assert (before["scim_change_log_rows"], after["scim_change_log_rows"]) == (0, 1)
    assert after["scim_change_log_lag_seconds"] == 0
    assert after["scim_change_log_bytes"] > 0
