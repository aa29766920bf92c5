"""The change log: one order, values that can be erased, and sabotage that is found."""

import pytest

from set_delivery.change_log import ChangeEntry, ChangeLog, Head, chained, contents
from set_delivery.change_order import ChangeOrder
from set_delivery.change_verification import LogBroken
from set_delivery.dispatch import Dispatcher
from set_delivery.streams import Publishing
from storage.errors import ValueRefused
from storage.index.database import Database

KEY = b"k" * 32
ENTRY = ChangeEntry(
    1000, "User", "u", None, "patch", "2", '["title"]', "p", "c", "192.0.2.1", "rest", "t", "r"
)


def filled(database: Database, count: int = 6) -> tuple[ChangeLog, ChangeOrder]:
    """Return a log of some changes, one second apart, with values and positions."""
    log, order = ChangeLog(database), ChangeOrder(database, [KEY], lambda: 10_000)
    for number in range(count):
        log.append(
            ENTRY._replace(at=number * 1000, resource_id=f"u{number}", txn=f"t{number}"),
            None,
            (None, f'{{"title":"{number}"}}'),
        )
    assert give_positions(database, order) == count
    return log, order


def give_positions(database: Database, order: ChangeOrder) -> int:
    """Have the dispatcher give positions, and return to how many changes."""
    before = order.head().position
    Dispatcher(database, ChangeLog(database), order, Publishing("scim")).run()
    return order.head().position - before


def run(database: Database, *statements: str) -> None:
    with database.transaction():
        for statement in statements:
            database.run(statement)


def test_changes_are_read_by_resource_txn_and_position(database: Database) -> None:
    log, order = filled(database)

    (of_resource,) = log.of_resource("User", "u3")
    assert log.of_txn("t3") == [of_resource] and of_resource.entry.txn == "t3"
    assert [one.position for one in log.after(3, 2)] == [4, 5]
    assert order.verify() == [] and order.head().position == 6
    assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 0


def test_changes_are_placed_in_the_order_that_the_caller_gives(database: Database) -> None:
    log, order = filled(database)
    for _ in range(3):
        log.append(ENTRY)
    first, second, third = (one.seq for one in log.of_txn(ENTRY.txn))

    with order.alone():
        order.place([third, first])
        order.place([first, second, third, third + 1])

    assert [one.seq for one in log.after(6, 9)] == [third, first, second]
    assert order.head().position == 9 and order.verify() == []
    assert give_positions(database, order) == 0


def test_a_change_that_is_undone_is_not_logged(database: Database) -> None:
    log, order = filled(database, 0)
    with pytest.raises(ZeroDivisionError), database.transaction():
        log.append(ENTRY)
        raise ZeroDivisionError

    assert give_positions(database, order) == 0 and log.of_txn("t") == []


def test_a_change_is_read_in_its_transaction_and_goes_with_a_part_that_is_undone(database: Database) -> None:
    log, order = filled(database, 0)
    with database.transaction():
        for _ in range(9):
            log.append(ENTRY)
        with pytest.raises(ZeroDivisionError), database.savepoint():
            log.append(ENTRY._replace(txn="undone"))
            raise ZeroDivisionError
        assert len(log.of_txn("t")) == 9
        log.append(ENTRY)

    assert len(log.of_txn("t")) == 10 and log.of_txn("undone") == []
    assert give_positions(database, order) == 10


def test_what_the_database_refuses_undoes_the_part_that_it_is_in_alone(database: Database) -> None:
    log, order = filled(database, 0)
    with database.transaction():
        log.append(ENTRY)
        with pytest.raises(ValueRefused), database.savepoint():
            log.append(ENTRY._replace(principal="\ud800"))
        log.append(ENTRY)

    assert give_positions(database, order) == 2 and order.verify() == []


def test_values_can_be_erased(database: Database) -> None:
    log, order = filled(database)

    assert [log.erase_values("User", f"u{number}") for number in range(3)] == [1, 1, 1]

    assert order.verify() == []
    assert [one.after for one in log.after(0, 4)] == [None, None, None, '{"title":"3"}']
    assert database.row("SELECT COUNT(*) FROM scim_change_value WHERE new_value IS NULL")[0] == 3
    assert log.erase_values("User", "u0") == 0 and log.erase_values("Group", "u4") == 0


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("UPDATE scim_change SET principal = 'x' WHERE txn = 't2'", 3),
        ("UPDATE scim_change_value SET new_value = 'x' WHERE seq IN "
         "(SELECT seq FROM scim_order WHERE position = 3)", 3),
        ("UPDATE scim_order SET hash = 'x' WHERE position = 3", 3),
        ("DELETE FROM scim_change WHERE txn = 't2'", 3),
        ("DELETE FROM scim_order WHERE position = 3", 4),
        ("DELETE FROM scim_order WHERE position < 3", 3),
    ],
)
def test_what_is_edited_or_deleted_is_found(database: Database, statement: str, position: int) -> None:
    log, order = filled(database)

    run(database, statement)

    assert position in [problem.position for problem in order.verify()]
    with pytest.raises(LogBroken):
        order.trim(0)


def test_a_tail_that_is_cut_is_found_by_a_checkpoint_or_a_remembered_head(database: Database) -> None:
    log, order = filled(database)
    head = order.head()
    cut = ("DELETE FROM scim_change WHERE txn = 't5'", "DELETE FROM scim_order WHERE position = 6")

    run(database, *cut)

    assert order.verify() == [], "the database alone cannot tell"
    assert [one.position for one in order.verify(head)] == [6]


def rewrite(database: Database) -> None:
    """Change a row and calculate all hashes anew, as a writer of every table can."""
    run(database, "UPDATE scim_change SET principal = 'x' WHERE txn = 't2'")
    log = ChangeLog(database)
    content = contents(database, [one.seq for one in log.after(0, 100)])
    previous = "0" * 64
    with database.transaction():
        for one in log.after(0, 100):
            previous = chained(previous, *content[one.seq])
            database.run("UPDATE scim_order SET hash = ? WHERE seq = ?", (previous, one.seq))


def test_a_consistent_rewrite_is_found_by_a_checkpoint_or_a_remembered_head(database: Database) -> None:
    log, order = filled(database)
    head = order.head()

    rewrite(database)

    assert order.verify() == [], "the database alone cannot tell"
    assert [one.position for one in order.verify(head)] == [6]


def test_a_signed_checkpoint_finds_both_and_cannot_be_forged(database: Database) -> None:
    log, order = filled(database)
    assert order.checkpoint() == order.head()

    rewrite(database)
    assert [one.position for one in order.verify()] == [6]
    with database.transaction():
        database.run("UPDATE scim_checkpoint SET hash = ?", (order.head().hash,))
    assert [one.text for one in order.verify()] == ["the signature of the checkpoint is wrong"]


def test_a_checkpoint_lets_former_keys_go(database: Database) -> None:
    _, order = filled(database)
    order.trim(7_500)
    order.checkpoint()
    new = ChangeOrder(database, [b"new", KEY], lambda: 10_000)
    assert {one.position for one in ChangeOrder(database, [b"new"]).verify()} == {3, 6}

    new.checkpoint()

    assert ChangeOrder(database, [b"new"]).verify() == []


def test_trimming_leaves_a_checkpoint_that_the_rest_follows(database: Database) -> None:
    log, order = filled(database)

    assert order.trim(7_500) == 3

    assert [one.position for one in log.after(0, 9)] == [4, 5, 6]
    assert order.verify() == []
    assert ChangeOrder(database, [b"new", KEY]).verify() == []
    assert order.trim(0) == 3 and order.head() == Head(6, order.head().hash)
    log.append(ENTRY)
    assert give_positions(database, order) == 1 and order.head().position == 7 and order.verify() == []
    run(database, "DELETE FROM scim_checkpoint")
    assert [one.position for one in order.verify()][:1] == [7]
