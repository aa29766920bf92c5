"""What a release up to 0.2.0 left in scim_outbox is taken over once, whole."""

from typing import Any

import orjson
import pytest

from set_delivery.change_log import ChangeLog
from set_delivery.change_order import ChangeOrder
from set_delivery.dispatch import Dispatcher
from set_delivery.events import DELETE, ChangeEvents
from set_delivery.former_outbox import FormerOutbox
from set_delivery.intents import IntentTable
from storage.index.database import Database
from tests.set_delivery.conftest import members_change, user_change, user_event
from tests.set_delivery.test_dispatch import POLL, subjects

COMPLETION = "urn:ietf:params:scim:event:misc:asyncresp"


def put(database: Database, body: Any, made_at: int = 1000, due_at: int = 0, done: int = 0) -> None:
    """Write a row as such a release does."""
    with database.transaction():
        statement = "INSERT INTO scim_outbox (made_at, due_at, body) VALUES (?, ?, ?)"
        database.run(statement, (made_at, due_at, orjson.dumps(body).decode()))
        if done:
            (seq,) = database.row("SELECT MAX(seq) FROM scim_outbox")
            database.run("INSERT INTO scim_begun (seq, done) VALUES (?, ?)", (seq, done))


def counted(database: Database, *tables: str) -> list[int]:
    return [database.row(f"SELECT COUNT(*) FROM {table}")[0] for table in tables]


def dispatcher(database: Database) -> Dispatcher:
    return Dispatcher(
        database, ChangeLog(database), ChangeOrder(database), POLL, lambda uri: f"type of {uri}"
    )


def test_changes_move_to_the_log_with_what_is_known_of_them(database: Database) -> None:
    put(database, user_change(1).as_json(), made_at=1000)
    put(database, ChangeEvents("txn-2", [user_event(2, DELETE)]).as_json(), made_at=2000)
    put(database, ChangeEvents("txn-3", [user_event(3, COMPLETION)]).as_json())
    put(database, ChangeEvents("txn-4", [user_event(4, "urn:x:activate")]).as_json())
    assert FormerOutbox(database).has_changes() and dispatcher(database).is_due()

    assert dispatcher(database).run() == 4

    entries = [one.entry for one in ChangeLog(database).after(0, 9)]
    assert [(one.kind, one.at) for one in entries[:2]] == [("create", 1000), ("delete", 2000)]
    assert [one.kind for one in entries[2:]] == ["completion", "patch"]
    first = entries[0]
    assert (first.resource_type, first.resource_id, first.external_id) == ("type of /Users/1", "1", "ext-1")
    assert (first.version, first.paths, first.origin, first.txn) == ('W/"1"', '["userName"]', "rest", "txn-1")
    assert subjects(database) == [f"/Users/{number}" for number in (1, 2, 3, 4)]
    assert counted(database, "scim_outbox", "scim_begun", "scim_queue") == [0, 0, 0]
    assert not dispatcher(database).is_due() and not FormerOutbox(database).has_changes()


def test_a_change_that_was_begun_goes_on_where_it_was(database: Database) -> None:
    put(database, members_change(5).as_json(), done=3)

    # Its event and the first three members are SETs already.
    dispatcher(database).run()

    assert subjects(database, "g") == ["/Users/3", "/Users/4"]
    assert counted(database, "scim_outbox", "scim_begun", "scim_queue", "scim_queue_part") == [0, 0, 0, 0]


def test_a_change_of_members_without_an_event_is_one_of_its_group(database: Database) -> None:
    put(database, {**members_change(1).as_json(), "events": []})

    dispatcher(database).run()

    (logged,) = ChangeLog(database).after(0, 9)
    assert (logged.entry.kind, logged.entry.resource_id, logged.entry.version) == ("patch", "g", None)


def test_no_more_is_taken_over_than_asked_for(database: Database) -> None:
    for number in range(3):
        put(database, user_change(number).as_json())

    with database.transaction():
        FormerOutbox(database).hand_over_changes(ChangeLog(database), lambda uri: "", 2)

    assert counted(database, "scim_outbox", "scim_change") == [1, 2]
    assert ChangeLog(database).of_txn("txn-1") and not ChangeLog(database).of_txn("txn-2")


def test_intents_move_when_they_are_due(database: Database) -> None:
    for txn, due_at in (("a", 5_000), ("b", 50_000)):
        put(database, {"plan": {"txn": txn}}, made_at=4_000, due_at=due_at)
    intents = IntentTable(database, clock=lambda: 10_000)
    assert not FormerOutbox(database).has_changes() and dispatcher(database).run() == 0

    (intent,) = intents.overdue()

    assert (intent.since, intent.plan) == (4_000, {"txn": "a"})
    assert list(database.rows("SELECT txn, due_at FROM scim_intent")) == [("a", 5_000)]
    assert counted(database, "scim_outbox") == [1]


@pytest.mark.parametrize("txn", ["a", "b"])
def test_intents_move_when_their_request_goes_on(database: Database, txn: str) -> None:
    for one in ("a", "b"):
        put(database, {"plan": {"txn": one}}, made_at=4_000, due_at=50_000)

    (intent,) = IntentTable(database, clock=lambda: 10_000).of_txn(txn)

    assert intent.plan == {"txn": txn}
    assert counted(database, "scim_outbox", "scim_intent") == [1, 1]
