"""How many statements delivery takes: so many for a batch, however many SETs are in it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from set_delivery.change_log import ChangeLog
from set_delivery.dispatch import Dispatcher
from set_delivery.events import ChangeEvents
from set_delivery.poll import Streams
from set_delivery.push import Pusher
from set_delivery.streams import Publishing, Receiver
from storage.index.database import Database
from tests.receivers import HttpReceiver
from tests.set_delivery.conftest import append, dispatcher_of, members_change, user_change, user_event


class Counted:
    """A state database that counts its statements and transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def transaction(self) -> Any:
        if not self._database.in_transaction:
            self.statements.append("BEGIN")
        return self._database.transaction()

    def rows(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        self.statements.append(statement)
        return self._database.rows(statement, params)

    def row(self, statement: str, params: Sequence[Any] = ()) -> Any:
        self.statements.append(statement)
        return self._database.row(statement, params)

    def run(self, statement: str, params: Sequence[Any] = ()) -> Any:
        self.statements.append(statement)
        return self._database.run(statement, params)

    def taken(self) -> int:
        """Return how many there were since the last call."""
        count = len(self.statements)
        self.statements.clear()
        return count


class Explained:
    """A PostgreSQL database that has its look-ups in the queue explained, as it carries them out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.plans: dict[str, str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def rows(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        self._explain(statement, params)
        return self._database.rows(statement, params)

    def row(self, statement: str, params: Sequence[Any] = ()) -> Any:
        self._explain(statement, params)
        return self._database.row(statement, params)

    def _explain(self, statement: str, params: Sequence[Any]) -> None:
        if self.plans is not None and "FROM scim_queue q" in statement and statement not in self.plans:
            lines = self._database.rows(f"EXPLAIN (ANALYZE, COSTS OFF) {statement}", params)
            self.plans[statement] = "\n".join(line for (line,) in lines)


@pytest.fixture
def counted(database: Database) -> Any:
    return Counted(database)


def both(receiver: Receiver) -> Publishing:
    return Publishing("scim", receivers=(receiver,), poll=True)


def test_a_hundred_changes_become_sets_in_the_statements_of_one(database: Database, counted: Any) -> None:
    dispatcher: Dispatcher = dispatcher_of(counted, both(Receiver("r", "http://127.0.0.1/")))
    log, taken = ChangeLog(database), []
    # The first run also looks for changes of an earlier release.
    for numbers in (range(1), range(1, 2), range(2, 102)):
        for number in numbers:
            append(log, user_change(number))
        assert dispatcher.run() == len(numbers)
        taken.append(counted.taken())

    assert taken[1] == taken[2] == 17


def test_the_next_changes_are_found_without_the_history(database: Database) -> None:
    """PostgreSQL tells how many rows it reads: of the queue and of the log, those of the batch."""
    if database.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL chose to join the whole history")
    explained = Explained(database)
    dispatcher: Dispatcher = dispatcher_of(explained, Publishing("scim", poll=True))
    log = ChangeLog(database)
    with database.transaction():
        for number in range(3000):
            append(log, user_change(number))
    batches = iter(range(28))
    dispatcher.run(lambda: next(batches, None) is None)
    explained.plans = {}

    assert dispatcher.run() == 100

    look, changes = explained.plans.values()
    assert "Seq Scan" not in look
    for plan in (look, changes):
        read = re.findall(r"rows=(\d+)(?:\.\d+)? loops=(\d+)", plan)
        assert read and sum(int(rows) * int(loops) for rows, loops in read) <= 400, plan


def test_the_memberships_of_a_group_become_sets_in_a_few_statements(database: Database, counted: Any) -> None:
    append(ChangeLog(database), members_change(5000))

    assert dispatcher_of(counted, both(Receiver("r", "http://127.0.0.1/"))).run() == 5001

    assert counted.taken() < 5001 / 20


def test_events_with_much_data_do_not_share_one_statement(database: Database, counted: Any) -> None:
    """MariaDB takes 16 MB at once."""
    log = ChangeLog(database)
    for number in range(60):
        event = replace(user_event(number), data={"text": "x" * 300_000})
        append(log, ChangeEvents(f"txn-{number}", [event]))

    assert dispatcher_of(counted, Publishing("scim", poll=True)).run() == 60

    inserts = [one for one in counted.statements if one.startswith("INSERT INTO scim_set ")]
    assert len(inserts) == 20
    part = Streams(database).after("default", None, 60)
    assert [one.event.subject.resource_id for one in part.sets] == [str(number) for number in range(60)]


def test_a_batch_is_pushed_in_the_statements_of_one_set(
    database: Database, counted: Any, receiver: HttpReceiver
) -> None:
    one = Receiver("r", receiver.url)
    pusher = Pusher(counted, both(one), "me")
    log, taken = ChangeLog(database), []
    for numbers in (range(1), range(1, 41)):
        for number in numbers:
            append(log, user_change(number))
        dispatcher_of(database, both(one)).run()
        counted.taken()
        assert pusher.run(one) == len(numbers)
        taken.append(counted.taken())
    pusher.close()

    # The first also makes the row of the receiver.
    assert taken[0] - 1 == taken[1]


def test_a_page_is_read_and_acknowledged_in_few_statements(database: Database, counted: Any) -> None:
    append(ChangeLog(database), members_change(1999))
    dispatcher_of(database, Publishing("scim", poll=True)).run()
    streams = Streams(counted)

    part = streams.unacknowledged("default", 1000)
    read = counted.taken()
    streams.acknowledge("default", [one.jti for one in part.sets])

    assert len(part.sets) == 1000 and part.more_available
    assert (read, counted.taken()) == (2, 5)
