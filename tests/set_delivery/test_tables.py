"""The tables of the state database, and the leases in them."""

import threading

import pytest

from set_delivery.change_log import ChangeLog
from set_delivery.leases import take_lease
from set_delivery.tables import VERSION, StateTooNew, prepare_state
from storage.index.database import Database
from storage.sql.opening import open_database
from tests.set_delivery.conftest import (
    append,
    user_change,
)


def test_preparing_again_leaves_everything_as_it_is(database: Database) -> None:
    append(ChangeLog(database), user_change(1))

    prepare_state(database)

    assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 1
    assert database.row("SELECT COUNT(*) FROM scim_state")[0] == 1


def test_an_update_counts_the_rows_that_it_finds(database: Database) -> None:
    """MySQL counts only those that it leaves different, unless it is asked."""
    with database.transaction():
        counts = [database.run("UPDATE scim_state SET version = version").rowcount for _ in range(2)]
        counts.append(database.run("UPDATE scim_state SET version = version WHERE 1 = 0").rowcount)

    assert counts == [1, 1, 0]


def test_processes_that_prepare_at_the_same_time_do_not_disturb_each_other(state_url: str) -> None:
    problems: list[Exception] = []

    def prepare() -> None:
        database = open_database(state_url)
        try:
            prepare_state(database)
            append(ChangeLog(database), user_change(1))
        except Exception as exc:
            problems.append(exc)
        finally:
            database.close()

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    database = open_database(state_url)
    assert database.row("SELECT COUNT(*) FROM scim_queue")[0] == 4
    database.close()


def test_tables_of_a_later_release_are_left_alone(database: Database) -> None:
    with database.transaction():
        database.run("UPDATE scim_state SET version = ?", (VERSION + 1,))

    with pytest.raises(StateTooNew, match=str(VERSION + 1)):
        prepare_state(database)


def test_a_lease_is_had_by_one_and_renewed_by_whoever_has_it(database: Database) -> None:
    assert take_lease(database, "x", "one", 60)
    assert not take_lease(database, "x", "two", 60)
    assert take_lease(database, "x", "one", 60)
    assert take_lease(database, "y", "two", 60)


def test_a_lease_that_is_over_is_free(database: Database) -> None:
    assert take_lease(database, "x", "one", -1)
    assert take_lease(database, "x", "two", 60)
    assert not take_lease(database, "x", "one", 60)


def test_of_many_who_want_a_lease_one_gets_it(database: Database) -> None:
    got: list[bool] = []

    def take(name: str) -> None:
        got.append(take_lease(database, "x", name, 60))
        database.close()

    threads = [threading.Thread(target=take, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [False] * 7 + [True]


def test_every_table_has_a_primary_key(database: Database) -> None:
    catalogue = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'scim%'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
        "mysql": "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    }
    names = [name for (name,) in database.rows(catalogue[database.dialect.name])]

    assert {"scim_change", "scim_queue", "scim_state"} <= set(names)
    assert [name for name in names if not database.dialect.key_of(database, name)] == []
