"""What is kept, for how long, and what is said before it goes."""

import logging

import pytest

from set_delivery.change_log import ChangeLog
from set_delivery.clock import now_ms
from set_delivery.inventory import Inventory
from set_delivery.retention import Retention
from set_delivery.streams import Publishing, Receiver
from storage.index.database import Database
from tests.set_delivery.conftest import (
    append,
    dispatcher_of,
    user_change,
)

HOUR_MS = 3_600_000
RECEIVERS = Receiver("r", "http://127.0.0.1/"), Receiver("s", "http://127.0.0.1/")
PUSH = Publishing("scim", receivers=RECEIVERS, retention_s=36000)


def made_at(database: Database, ages_h: list[float], publishing: Publishing) -> None:
    """Publish changes that were made so many hours ago."""
    for number, age in enumerate(ages_h):
        append(ChangeLog(database), user_change(number), now_ms() - int(age * HOUR_MS))
    dispatcher_of(database, publishing).run()


def count(database: Database, table: str) -> int:
    return int(database.row(f"SELECT COUNT(*) FROM {table}")[0])


def test_what_is_delivered_is_forgotten(database: Database) -> None:
    made_at(database, [0.0] * 600, PUSH)
    with database.transaction():
        database.run("DELETE FROM scim_delivery WHERE receiver = 'r'")
        database.run("DELETE FROM scim_delivery WHERE position <= 590")

    Retention(database, PUSH).run()

    assert count(database, "scim_set") == count(database, "scim_delivery") == 10


def test_what_is_pending_or_refused_is_kept(database: Database) -> None:
    made_at(database, [0.0, 5.0], PUSH)
    with database.transaction():
        database.run("UPDATE scim_delivery SET dead_at = 1, reason = 'x' WHERE receiver = 'r'")
        database.run("DELETE FROM scim_delivery WHERE receiver = 's'")

    Retention(database, PUSH).run()

    assert len(Inventory(database, PUSH).dead_letters()) == count(database, "scim_set") == 2


def test_it_warns_once_before_it_drops_and_says_what_it_dropped(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    made_at(database, [9.5, 1.0], PUSH)
    now = [now_ms()]
    retention = Retention(database, PUSH, lambda: now[0])

    retention.run()
    retention.run()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "receiver r has accepted no SETs for 9 hours" in caplog.messages[0]
    assert count(database, "scim_delivery") == 4
    now[0] += HOUR_MS
    retention.run()

    dropped = "1 undelivered SETs were too old and were dropped"
    assert caplog.messages[2:] == [f"receiver {name}: {dropped}" for name in "rs"]
    states = Inventory(database, PUSH).receivers()
    assert [(state.name, state.pending, state.dropped) for state in states] == [("r", 1, 1), ("s", 1, 1)]
    assert count(database, "scim_set") == 1


def test_what_was_refused_is_neither_waited_for_nor_dropped(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    publishing = Publishing("scim", receivers=RECEIVERS[:1], retention_s=36000)
    made_at(database, [9.5, 1.0], publishing)
    with database.transaction():
        database.run("UPDATE scim_delivery SET dead_at = 1, reason = 'x' WHERE position = 1")
    now = [now_ms()]
    retention = Retention(database, publishing, lambda: now[0])

    retention.run()
    retention.run()
    assert caplog.messages == ["receiver r has permanently refused 1 SETs: see scim events list --dead"]
    now[0] += HOUR_MS
    retention.run()

    assert caplog.messages[1:] == ["receiver r: 1 refused SETs were too old and were deleted"]
    (state,) = Inventory(database, publishing).receivers()
    assert (state.pending, state.dead, state.dropped) == (1, 0, 0)
    retention.run()
    with database.transaction():
        database.run("UPDATE scim_delivery SET dead_at = 1, reason = 'x'")
    retention.run()
    retention.run()
    assert len(caplog.messages) == 3, "each time that there is something to see, once"


def test_a_feed_keeps_the_latest_and_warns_when_it_fills_up(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    publishing = Publishing("scim", poll=True, feed_size=10)
    made_at(database, [0.0] * 10, publishing)
    retention = Retention(database, publishing)

    retention.run()
    assert len(caplog.messages) == 1 and "holds 10 unacknowledged SETs" in caplog.text
    assert count(database, "scim_stream") == 10
    made_at(database, [0.0] * 5, publishing)
    retention.run()

    assert count(database, "scim_stream") == count(database, "scim_set") == 10
    (state,) = Inventory(database, publishing).configured_feeds()
    assert (state.held, state.unacknowledged, state.dropped) == (10, 10, 5)


def test_acknowledged_events_leave_a_feed_without_being_counted_as_lost(database: Database) -> None:
    publishing = Publishing("scim", poll=True, feed_size=10)
    made_at(database, [0.0] * 15, publishing)
    with database.transaction():
        database.run("UPDATE scim_stream SET acked_at = 1")

    Retention(database, publishing).run()

    (state,) = Inventory(database, publishing).configured_feeds()
    assert (state.held, state.dropped) == (10, 0)


def test_events_of_a_feed_that_are_too_old_go(database: Database) -> None:
    publishing = Publishing("scim", poll=True, retention_s=36000)
    made_at(database, [12.0, 11.0, 1.0], publishing)

    Retention(database, publishing).run()

    assert count(database, "scim_stream") == count(database, "scim_set") == 1


def test_figures_tell_how_old_the_oldest_pending_event_is(database: Database) -> None:
    made_at(database, [2.0, 1.0], PUSH)

    state = Inventory(database, PUSH).receivers()[0]

    assert state.pending == 2
    assert state.oldest_s == pytest.approx(7200, abs=30)
