"""The change log: one order, values that can be erased, and sabotage that is found."""

from dataclasses import replace

import pytest

from set_delivery.change_log import ChangeEntry, ChangeLog, Head, LogBroken, _chained
from storage.sql.database import Database

KEY = b"k" * 32
ENTRY = ChangeEntry(
    1000, "User", "u", None, "patch", "2", '["title"]', "p", "c", "192.0.2.1", "rest", "t", "r"
)


def filled(database: Database, count: int = 6) -> ChangeLog:
    """Return a log of some changes, one second apart, with values and positions."""
    log = ChangeLog(database, [KEY], lambda: 10_000)
    for number in range(count):
        log.append(
            replace(ENTRY, at=number * 1000, resource_id=f"u{number}", txn=f"t{number}"),
            None,
            (None, f'{{"title":"{number}"}}'),
        )
    assert log.give_positions() == count
    return log


def run(database: Database, *statements: str) -> None:
    with database.transaction():
        for statement in statements:
            database.run(statement)


def test_changes_are_read_by_resource_txn_and_position(database: Database) -> None:
    log = filled(database)

    (of_resource,) = log.of_resource("User", "u3")
    assert log.of_txn("t3") == [of_resource] and of_resource.entry.txn == "t3"
    assert [one.position for one in log.after(3, 2)] == [4, 5]
    assert log.verify() == [] and log.head().position == 6
    assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 0


def test_a_change_with_a_body_stays_in_the_queue(database: Database) -> None:
    log = filled(database)
    seq = log.append(ENTRY, "{}")

    assert log.give_positions() == 1 and log.give_positions() == 0
    assert [tuple(row) for row in database.rows("SELECT seq, body FROM scim_queue")] == [(seq, "{}")]


def test_a_change_that_is_undone_is_not_logged(database: Database) -> None:
    log = filled(database, 0)
    with pytest.raises(ZeroDivisionError), database.transaction():
        log.append(ENTRY, "{}")
        raise ZeroDivisionError

    assert log.give_positions() == 0 and log.of_txn("t") == []


def test_values_can_be_erased(database: Database) -> None:
    log = filled(database)

    log.erase_values([one.seq for one in log.after(0, 3)])

    assert log.verify() == []
    assert database.row("SELECT COUNT(*) FROM scim_change_value WHERE new_value IS NULL")[0] == 3


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
    log = filled(database)

    run(database, statement)

    assert position in [problem.position for problem in log.verify()]
    with pytest.raises(LogBroken):
        log.trim(0)


def test_a_tail_that_is_cut_is_found_by_a_checkpoint_or_a_remembered_head(database: Database) -> None:
    log = filled(database)
    head = log.head()
    cut = ("DELETE FROM scim_change WHERE txn = 't5'", "DELETE FROM scim_order WHERE position = 6")

    run(database, *cut)

    assert log.verify() == [], "the database alone cannot tell"
    assert [one.position for one in log.verify(head)] == [6]


def rewrite(database: Database, log: ChangeLog) -> None:
    """Change a row and calculate all hashes anew, as a writer of every table can."""
    run(database, "UPDATE scim_change SET principal = 'x' WHERE txn = 't2'")
    content = log._contents([one.seq for one in log.after(0, 100)])
    previous = "0" * 64
    with database.transaction():
        for one in log.after(0, 100):
            previous = _chained(previous, *content[one.seq])
            database.run("UPDATE scim_order SET hash = ? WHERE seq = ?", (previous, one.seq))


def test_a_consistent_rewrite_is_found_by_a_checkpoint_or_a_remembered_head(database: Database) -> None:
    log = filled(database)
    head = log.head()

    rewrite(database, log)

    assert log.verify() == [], "the database alone cannot tell"
    assert [one.position for one in log.verify(head)] == [6]


def test_a_signed_checkpoint_finds_both_and_cannot_be_forged(database: Database) -> None:
    log = filled(database)
    assert log.checkpoint() == log.head()

    rewrite(database, log)
    assert [one.position for one in log.verify()] == [6]
    with database.transaction():
        database.run("UPDATE scim_checkpoint SET hash = ?", (log.head().hash,))
    assert [one.text for one in log.verify()] == ["the signature of the checkpoint is wrong"]


def test_trimming_leaves_a_checkpoint_that_the_rest_follows(database: Database) -> None:
    log = filled(database)

    assert log.trim(7_500) == 3

    assert [one.position for one in log.after(0, 9)] == [4, 5, 6]
    assert log.verify() == []
    assert ChangeLog(database, [b"new", KEY]).verify() == []
    assert log.trim(0) == 3 and log.head() == Head(6, log.head().hash)
    log.append(ENTRY)
    assert log.give_positions() == 1 and log.head().position == 7 and log.verify() == []
    run(database, "DELETE FROM scim_checkpoint")
    assert [one.position for one in log.verify()][:1] == [7]
