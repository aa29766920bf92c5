"""From the change log to feeds and receivers: nothing is missed, whoever writes at the same time."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from set_delivery.change_log import ChangeLog
from set_delivery.change_order import ChangeOrder
from set_delivery.clock import now_ms
from set_delivery.events import DELETE, FEED_ADD, ChangeEvents
from set_delivery.poll import Streams
from set_delivery.streams import Feed, Publishing, Receiver
from storage.index.database import Database
from tests.set_delivery.conftest import (
    append,
    dispatcher_of,
    entry_of,
    members_change,
    user_change,
    user_event,
)

POLL = Publishing("scim", poll=True)


def subjects(database: Database, feed: str = "default") -> list[str]:
    """Return what the events of a feed are about, in order."""
    part = Streams(database).after(feed, None, 100_000)
    return [one.event.subject.uri for one in part.sets]


def test_changes_become_sets_in_the_order_of_the_log(database: Database) -> None:
    log = ChangeLog(database)
    for number in range(250):
        append(log, user_change(number))

    made = dispatcher_of(database, POLL).run()

    assert made == 250
    assert subjects(database) == [f"/Users/{number}" for number in range(250)]
    assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 0


def test_a_change_that_is_undone_is_no_event(database: Database) -> None:
    log = ChangeLog(database)
    with pytest.raises(ZeroDivisionError), database.transaction():
        append(log, user_change(1))
        raise ZeroDivisionError

    assert dispatcher_of(database, POLL).run() == 0


def test_the_log_wakes_only_when_it_is_committed(database: Database) -> None:
    woken: list[bool] = []
    log = ChangeLog(database, lambda: woken.append(database.in_transaction))

    with database.transaction():
        append(log, user_change(1))
        assert woken == []

    assert woken == [False]


def test_sets_of_one_change_share_their_txn_and_nothing_else(database: Database) -> None:
    append(ChangeLog(database), ChangeEvents("t", [user_event(1), user_event(1, DELETE)]))

    dispatcher_of(database, POLL).run()

    first, second = Streams(database).after("default", None, 10).sets
    assert first.txn == second.txn == "t"
    assert first.jti != second.jti
    assert first.position < second.position


def test_a_reader_who_goes_on_after_the_last_position_misses_nothing(database: Database) -> None:
    """Writers commit in another order than they began, and two processes dispatch."""
    writing = threading.Event()
    writing.set()

    def write(start: int) -> None:
        log = ChangeLog(database)
        for number in range(start, start + 25):
            with database.transaction():
                append(log, user_change(number))
                if database.dialect.name != "sqlite":
                    time.sleep(random.uniform(0, 0.01))
        database.close()

    def dispatch() -> None:
        dispatcher = dispatcher_of(database, POLL)
        while writing.is_set():
            dispatcher.run()
        dispatcher.run()
        database.close()

    writers = [threading.Thread(target=write, args=(n * 25,)) for n in range(4)]
    dispatchers = [threading.Thread(target=dispatch) for _ in range(2)]
    for thread in (*writers, *dispatchers):
        thread.start()
    read: list[Any] = []

    def go_on() -> None:
        last = read[-1].position if read else 0
        rows = database.rows("SELECT position FROM scim_stream WHERE feed = 'default' ORDER BY position")
        streams = Streams(database).after("default", read[-1].jti if read else None, 1000)
        assert all(one.position > last for one in streams.sets)
        assert len(rows) >= len(read)
        read.extend(streams.sets)

    while any(thread.is_alive() for thread in writers):
        go_on()
    writing.clear()
    for thread in (*writers, *dispatchers):
        thread.join()
    go_on()

    assert sorted(one.event.subject.uri for one in read) == sorted(f"/Users/{n}" for n in range(100))
    # Each writer's own changes keep their order.
    for start in range(0, 100, 25):
        own = [int(one.event.subject.resource_id) for one in read]
        assert [n for n in own if start <= n < start + 25] == list(range(start, start + 25))


class Interrupted:
    """A state database whose process dies in the transaction of that number."""

    def __init__(self, database: Database, dies_in: int = 0) -> None:
        self._database = database
        self._dies_in = dies_in
        self.transactions = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._database.in_transaction:
            yield
            return
        self.transactions += 1
        with self._database.transaction():
            yield
            if self.transactions == self._dies_in:
                raise SystemExit


def test_a_group_of_very_many_members_is_one_row_and_several_transactions(database: Database) -> None:
    append(ChangeLog(database), members_change(5000))
    assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 1
    counted = Interrupted(database)

    made = dispatcher_of(counted, POLL).run()

    assert made == 5001
    assert counted.transactions >= 5
    assert subjects(database, "g") == ["/Groups/g", *(f"/Users/{number}" for number in range(5000))]


def test_what_dies_in_the_middle_of_a_large_group_is_taken_up_again(database: Database) -> None:
    append(ChangeLog(database), members_change(3000))
    append(ChangeLog(database), user_change(1))

    with pytest.raises(SystemExit):
        dispatcher_of(Interrupted(database, dies_in=3), POLL).run()
    dispatcher_of(database, POLL).run()

    everything = ["/Groups/g", *(f"/Users/{number}" for number in range(3000))]
    assert subjects(database, "g") == everything
    assert subjects(database) == [*everything, "/Users/1"]


def test_a_large_group_has_its_position_before_all_of_it_is_published(database: Database) -> None:
    log = ChangeLog(database)
    large = append(log, members_change(3000))
    small = append(log, user_change(1))
    parts = "SELECT seq, done FROM scim_queue_part"

    with pytest.raises(SystemExit):
        dispatcher_of(Interrupted(database, dies_in=2), POLL).run()

    # One transaction is committed, with a thousand SETs and what is known of the next ones.
    ((seq, done),) = database.rows(parts)
    assert seq == large and 0 < done < 1500
    assert [(one.seq, one.position) for one in log.after(0, 9)] == [(large, 1)]
    made = dispatcher_of(database, POLL).run()
    assert made == 3000 - done + 1
    assert [(one.seq, one.position) for one in log.after(0, 9)] == [(large, 1), (small, 2)]
    tables = ("scim_queue", "scim_queue_part")
    assert [list(database.rows(f"SELECT seq FROM {table}")) for table in tables] == [[], []]


def test_what_is_appended_meanwhile_is_taken_over_too(database: Database) -> None:
    log = ChangeLog(database)
    for number in range(150):
        append(log, user_change(number))
    appended: list[int] = []

    def until() -> bool:
        if not appended:
            appended.append(append(log, user_change(150)))
        return False

    assert dispatcher_of(database, POLL).run(until) == 151
    assert dispatcher_of(database, POLL).run(lambda: True) == 0


def test_it_ends_after_one_transaction_when_asked_to(database: Database) -> None:
    log = ChangeLog(database)
    for number in range(150):
        append(log, user_change(number))
    dispatcher = dispatcher_of(database, POLL)

    assert [dispatcher.run(lambda: True), dispatcher.is_due()] == [100, True]
    assert [dispatcher.run(lambda: True), dispatcher.is_due()] == [50, False]


def test_without_history_the_log_goes_with_the_queue(database: Database) -> None:
    log = ChangeLog(database, keeps_history=False)
    append(log, members_change(3000))
    append(log, user_change(1))
    dispatcher = dispatcher_of(database, POLL)

    dispatcher.run(lambda: True)
    # What is not published as a whole yet is kept.
    assert database.row("SELECT COUNT(*) FROM scim_change") == (2,)
    dispatcher.run()

    tables = ("scim_change", "scim_queue", "scim_queue_part", "scim_order")
    assert [list(database.rows(f"SELECT * FROM {table}")) for table in tables] == [[]] * 4
    assert len(subjects(database)) == 3002


def test_what_was_written_with_history_keeps_it_when_the_log_is_switched_off(database: Database) -> None:
    log, order = ChangeLog(database), ChangeOrder(database)
    append(log, members_change(3000))
    append(log, user_change(1))
    with pytest.raises(SystemExit):
        dispatcher_of(Interrupted(database, dies_in=2), POLL).run()

    append(ChangeLog(database, keeps_history=False), user_change(2))
    dispatcher_of(database, POLL).run()

    assert [one.entry.txn for one in log.after(0, 9)] == ["txn-g", "txn-1"]
    assert database.row("SELECT COUNT(*) FROM scim_change")[0] == 2
    assert order.verify() == []


def test_events_wait_for_a_process_that_has_receivers(database: Database) -> None:
    """A process without receivers gives positions, and publishes nothing of others."""
    log, nobody = ChangeLog(database), dispatcher_of(database, Publishing("scim"))
    append(log, user_change(1))
    append(ChangeLog(database, keeps_history=False), user_change(2))
    log.append(entry_of(user_change(3)))

    assert nobody.run() == 0 and not nobody.is_due()
    assert [one.entry.txn for one in log.after(0, 9)] == ["txn-1", "txn-3"]
    append(log, user_change(4))

    assert dispatcher_of(database, POLL).run() == 3
    assert subjects(database) == ["/Users/1", "/Users/2", "/Users/4"]
    assert [one.entry.txn for one in log.after(0, 9)] == ["txn-1", "txn-3", "txn-4"]


def test_events_wait_also_when_the_row_of_their_change_is_trimmed(database: Database) -> None:
    nobody = dispatcher_of(database, Publishing("scim"))
    append(ChangeLog(database), user_change(1))
    nobody.run()
    assert ChangeOrder(database, [b"k" * 32], lambda: now_ms() + 1000).trim(0) == 1

    assert not nobody.is_due() and nobody.run() == 0
    assert dispatcher_of(database, POLL).run() == 1
    assert subjects(database) == ["/Users/1"]


def test_events_that_nobody_wants_are_not_kept(database: Database) -> None:
    receiver = Receiver("r", "http://127.0.0.1/", event_uris=frozenset({DELETE}))
    log = ChangeLog(database)
    append(log, ChangeEvents("t", [user_event(1), user_event(1, DELETE)]))

    dispatcher_of(database, Publishing("scim", receivers=(receiver,))).run()

    assert database.row("SELECT COUNT(*) FROM scim_set")[0] == 1
    assert database.row("SELECT COUNT(*) FROM scim_delivery")[0] == 1


def test_receivers_get_what_they_chose_by_feed_and_by_event(database: Database) -> None:
    everything = Receiver("all", "http://127.0.0.1/")
    group = Receiver("group", "http://127.0.0.1/", feeds=frozenset({"g"}))
    joins = Receiver("joins", "http://127.0.0.1/", event_uris=frozenset({FEED_ADD}))
    publishing = Publishing("scim", receivers=(everything, group, joins))
    append(ChangeLog(database), members_change(2))
    append(ChangeLog(database), user_change(9))

    dispatcher_of(database, publishing).run()

    counts = "SELECT receiver, COUNT(*) FROM scim_delivery GROUP BY receiver"
    assert dict(database.rows(counts)) == {"all": 4, "group": 3, "joins": 2}


def test_every_feed_of_the_settings_has_every_event(database: Database) -> None:
    publishing = Publishing("scim", poll=True, feeds=(Feed("a", "A"), Feed("b", "B")))
    append(ChangeLog(database), members_change(2))

    dispatcher_of(database, publishing).run()

    assert subjects(database, "a") == subjects(database, "b") == subjects(database, "g")


def test_without_feeds_of_groups_there_is_no_such_stream(database: Database) -> None:
    publishing = Publishing("scim", poll=True, groups_are_feeds=False)
    append(ChangeLog(database), ChangeEvents("t", [user_event(1)], ["g"]))

    dispatcher_of(database, publishing).run()

    assert subjects(database) == ["/Users/1"]
    assert subjects(database, "g") == []
