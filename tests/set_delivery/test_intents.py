"""Intents: what may have been changed by a backend without transactions, until it is known."""

from typing import Any, Final

import pytest

from app.protocol.changes import Note
from app.protocol.notes import Notes
from set_delivery.change_log import ChangeLog
from set_delivery.intents import IntentTable
from storage.index.database import Database
from tests.set_delivery.conftest import dispatcher_of, entry_of, user_change
from tests.set_delivery.test_dispatch import POLL, subjects

PLAN: Final[dict[str, Any]] = {"kind": "create", "txn": "t"}
NOTE: Final = Note(entry_of(user_change(1)), user_change(1))


def notes_in(database: Database) -> Notes:
    nobody: Any = None
    return Notes(nobody, ChangeLog(database), IntentTable(database), nobody, database, False, True)


def test_an_intent_is_no_event_until_it_is_confirmed(database: Database) -> None:
    notes = notes_in(database)
    first, second = notes.intents.begin(PLAN), notes.intents.begin(PLAN)
    dispatcher = dispatcher_of(database, POLL)
    assert dispatcher.run() == 0

    notes.confirm(first, NOTE)
    notes.confirm(second, None)

    assert dispatcher.run() == 1
    assert subjects(database) == ["/Users/1"]
    assert notes.intents.overdue() == []


def test_intents_are_looked_into_when_their_owner_is_gone(database: Database) -> None:
    now = [1_000_000]
    intents = IntentTable(database, clock=lambda: now[0])
    seq = intents.begin({**PLAN, "id": "1"})
    assert intents.overdue() == []

    now[0] += 121_000

    (intent,) = intents.overdue()
    assert (intent.seq, intent.plan) == (seq, {**PLAN, "id": "1"})


def test_an_intent_of_which_nobody_knows_is_looked_into_at_once(database: Database) -> None:
    intents = IntentTable(database)
    seq = intents.begin(PLAN)

    intents.leave(seq)

    assert [intent.seq for intent in intents.overdue()] == [seq]


def test_an_intent_that_may_still_take_effect_is_looked_at_until_it_is_settled(database: Database) -> None:
    now = [1_000_000]
    intents = IntentTable(database, 60_000, lambda: now[0])
    intents.leave(intents.begin(PLAN), is_settled=False)
    looks = []

    while now[0] < 1_061_000:
        for intent in intents.overdue():
            looks.append((now[0] - 1_000_000, intents.is_settled(intent)))
            intents.look_again(intent)
        now[0] += 500

    seconds = [at // 1000 for at, _ in looks]
    # The pauses grow, and the last look is when it is settled.
    assert len(looks) < 15 and seconds[:3] == [1, 2, 3] and seconds[-1] == 60
    assert [settled for _, settled in looks] == [False] * (len(looks) - 1) + [True]
    now[0] += 31 * 86_400_000
    intents.look_again(intents.overdue()[0])
    assert database.row("SELECT COUNT(*) FROM scim_intent") == (0,)


def test_an_intent_is_settled_once(database: Database) -> None:
    notes, finished = notes_in(database), [0]
    seq = notes.intents.begin(PLAN)
    dispatcher = dispatcher_of(database, POLL)

    notes.settle(seq, NOTE)
    dispatcher.run()
    notes.settle(seq, NOTE, lambda: finished.append(1))

    assert dispatcher.run() == 0
    assert (subjects(database), finished) == (["/Users/1"], [0, 1])


def test_a_change_that_was_settled_by_another_is_told_by_its_writer_too(database: Database) -> None:
    notes = notes_in(database)
    seq = notes.intents.begin(PLAN)

    notes.settle(seq, None)
    notes.confirm(seq, NOTE)

    assert dispatcher_of(database, POLL).run() == 1


def test_an_intent_stays_when_what_comes_with_it_fails(database: Database) -> None:
    notes = notes_in(database)
    seq = notes.intents.begin(PLAN)

    for end in (notes.confirm, notes.settle):
        with pytest.raises(ZeroDivisionError):
            end(seq, NOTE, lambda: 1 // 0)

    assert [one.seq for one in notes.intents.of_txn("t")] == [seq]
    assert dispatcher_of(database, POLL).run() == 0


def test_an_intent_that_is_taken_over_is_settled_from_then_on(database: Database) -> None:
    now = [1_000_000]
    intents = IntentTable(database, 60_000, lambda: now[0])
    intents.begin(PLAN)

    (intent,) = map(intents.take_over, intents.of_txn("t"))
    now[0] += 60_000

    assert intents.is_settled(intent)
    assert [one.since for one in intents.of_txn("t")] == [1_000_000]
