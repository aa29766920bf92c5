"""What PostgreSQL gets at once, and what it keeps prepared; other counts: `tests/app/test_calls.py`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from storage.errors import StorageUnavailable, ValueRefused
from storage.index.connections import Connections
from storage.index.database import Database, DuplicateKey
from storage.index.statements import ByValue
from storage.sql.opening import open_database
from tests.app.test_calls import documented, operations
from tests.conftest import ScimClient
from tests.servers import PostgresqlServer

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
INSERT = "INSERT INTO t (n, x) VALUES (?, ?)"
Trips = list[Sequence[Any]]


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    """Return a list that gets the statements of each round trip."""
    made: Trips = []
    execute = Connections.execute

    def noted(connections: Connections, statements: Sequence[Any]) -> list[Any]:
        made.append(statements)
        return execute(connections, statements)

    monkeypatch.setattr(Connections, "execute", noted)
    return made


@pytest.fixture
def database(postgresql: PostgresqlServer) -> Iterator[Database]:
    """Return a database with one connection and a table."""
    opened = open_database(postgresql.new_database(), pool_size=1)
    opened.run_ddl("CREATE TABLE t (n BIGINT PRIMARY KEY, x TEXT)")
    yield opened
    opened.close()


def rows(database: Database) -> list[Any]:
    return database.rows("SELECT n, x FROM t ORDER BY n")


@pytest.mark.on("postgresql")
@pytest.mark.parametrize("threshold", ["none", "0", "5"])
def test_the_table_of_calls_holds_with_and_without_prepared_statements(
    threshold: str, postgresql: PostgresqlServer, make_scim: Callable[..., ScimClient], trips: Trips
) -> None:
    scim = make_scim(DATABASE_URL=f"{postgresql.new_database()}?prepare_threshold={threshold}")
    counted = {}
    for operation, work in operations(scim).items():
        trips.clear()
        assert work().status_code < 300
        counted[operation] = len(trips)

    assert counted == documented()["postgresql"]


@pytest.mark.on("postgresql")
def test_what_changes_several_resources_takes_few_round_trips(
    make_scim: Callable[..., ScimClient], trips: Trips
) -> None:
    scim = make_scim()
    user = scim.user("ann")["id"]
    scim.group("one", user)

    trips.clear()
    assert scim("DELETE", f"/Users/{user}").status_code == 204
    assert len(trips) == 4

    users = [{"schemas": [USER], "userName": f"u{n}"} for n in range(10)]
    creates = [
        {"method": "POST", "path": "/Users", "bulkId": f"b{n}", "data": user} for n, user in enumerate(users)
    ]
    trips.clear()
    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": creates}).json
    assert [one["status"] for one in answer["Operations"]] == ["201"] * 10
    assert len(trips) == 2

    for number, user in enumerate(users):
        user["userName"] = "u5" if number == 5 else f"v{number}"
    trips.clear()
    answer = scim("POST", "/Bulk", {"schemas": [BULK], "Operations": creates}).json
    assert [one["status"] for one in answer["Operations"]] == ["201"] * 5 + ["409"] + ["201"] * 4
    # All at once, then one by one.
    assert len(trips) == 1 + 10 + 1
    assert sorted(scim.names("userName sw \"v\"")) == [f"v{number}" for number in range(10) if number != 5]

    trips.clear()
    assert scim("POST", "/Users", {"schemas": [USER], "userName": "u1"}).status_code == 409
    assert len(trips) == 1


def test_what_is_prepared_stays_so_when_a_transaction_or_a_part_of_it_is_undone(database: Database) -> None:
    prepared = "SELECT COUNT(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT x FROM t%'"
    for _ in range(10):
        database.rows("SELECT x FROM t WHERE n = ?", (1,))
    assert database.row(prepared) == (1,)

    for kind in (database.transaction, database.savepoint):
        with pytest.raises(DuplicateKey), database.transaction(), kind():
            for _ in range(2):
                database.run(INSERT, (1, "x"))

    assert database.row(prepared) == (1,)
    assert rows(database) == []


PLANS = "SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan') FROM t WHERE n = ?"
BY_KEY, BY_VALUE = ("force_generic_plan", "off"), ("force_custom_plan", "on")


def planned(database: Database, by: Callable[[str], str] = str) -> Any:
    """Return how the server plans a statement that comes often."""
    return [database.row(by(PLANS), (1,)) for _ in range(10)][-1]


def test_a_statement_that_comes_often_is_planned_once_unless_its_values_matter(database: Database) -> None:
    with database.transaction():
        database.run(INSERT, (1, "x"))

    assert planned(database) == BY_KEY
    assert planned(database, ByValue) == BY_VALUE
    assert planned(database) == BY_KEY
    # Migrations and surveys.
    assert database.row(f"{PLANS} AND n < 9", (1,)) == BY_VALUE

    used = (
        "SELECT generic_plans > 0, custom_plans > 0 FROM pg_prepared_statements "
        f"WHERE statement = '{PLANS.replace(chr(39), chr(39) * 2).replace('?', '$1')}'"
    )
    # Before it has come often, a statement is not prepared.
    assert database.rows(used) == [(True, True)]


@pytest.mark.parametrize("is_part", [False, True])
def test_what_is_undone_does_not_change_how_statements_are_planned(
    database: Database, is_part: bool
) -> None:
    with database.transaction():
        database.run(INSERT, (1, "x"))
    assert planned(database) == BY_KEY

    with pytest.raises(KeyError), database.transaction():
        if is_part:
            with pytest.raises(KeyError), database.savepoint():
                assert planned(database, ByValue) == BY_VALUE
                raise KeyError
            assert planned(database, ByValue) == BY_VALUE
        assert planned(database, ByValue) == BY_VALUE
        raise KeyError
    assert database.row(ByValue(PLANS), (1,)) == BY_VALUE
    assert database.row(PLANS, (1,)) == BY_KEY

    with pytest.raises(DuplicateKey), database.transaction():
        assert database.row(ByValue(PLANS), (1,)) == BY_VALUE
        database.run(INSERT, (1, "x"))
    assert database.row(ByValue(PLANS), (1,)) == BY_VALUE


def test_plans_are_made_again_as_the_tables_may_have_grown(database: Database) -> None:
    with database.transaction():
        database.run(INSERT, (1, "x"))
    database.run_ddl("CREATE SEQUENCE plans")
    # What is immutable is computed when the statement is planned.
    database.run_ddl(
        "CREATE FUNCTION plan() RETURNS BIGINT IMMUTABLE LANGUAGE plpgsql "
        "AS 'BEGIN RETURN nextval(''plans''); END'"
    )

    plans = [database.row("SELECT plan() FROM t WHERE n = ?", (1,))[0] for _ in range(100)]

    last = len(set(plans[50:]))
    assert 1 < last < 4
    assert len(set(plans[10:50])) > last


def test_the_statements_that_a_connection_remembers_are_bounded(database: Database) -> None:
    for number in range(250):
        for _ in range(7):
            database.rows(f"SELECT x FROM t WHERE n = ? AND n <> {number}", (number,))

    (prepared,) = database.row("SELECT COUNT(*) FROM pg_prepared_statements")
    assert 100 < prepared <= 201


def test_a_statement_that_waited_and_fails_undoes_the_whole(database: Database) -> None:
    with pytest.raises(DuplicateKey), database.transaction():
        for _ in range(2):
            database.run_soon(INSERT, (1, "x"))
    assert rows(database) == []

    with database.transaction():
        database.run_soon(INSERT, (2, "y"))
        assert database.rows("SELECT n FROM t") == [(2,)]
        database.run_soon(INSERT, (3, "z"))
    assert rows(database) == [(2, "y"), (3, "z")]


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_part_that_is_undone_takes_nothing_with_it(database: Database, is_sent: bool) -> None:
    with database.transaction():
        database.run_soon(INSERT, (1, "before"))
        with database.savepoint():
            database.run_soon(INSERT, (2, "kept"))
        with pytest.raises(KeyError), database.savepoint():
            database.run_soon(INSERT, (3, "undone"))
            if is_sent:
                assert len(database.rows("SELECT n FROM t")) == 3
                database.run_soon(INSERT, (4, "undone"))
            raise KeyError
        database.run_soon(INSERT, (5, "after"))

    assert rows(database) == [(1, "before"), (2, "kept"), (5, "after")]


def test_an_error_of_a_part_belongs_to_it(database: Database) -> None:
    with database.transaction():
        with database.savepoint():
            database.run_soon(INSERT, (1, "x"))
        with pytest.raises(ValueRefused), database.savepoint():
            database.run_soon(INSERT, (2, "\0"))
        with pytest.raises(DuplicateKey), database.savepoint():
            database.run(INSERT, (1, "y"))

    assert rows(database) == [(1, "x")]


def test_a_part_whose_waiting_statement_fails_later_is_never_committed_in_part(database: Database) -> None:
    with pytest.raises((DuplicateKey, StorageUnavailable)), database.transaction():
        for number in (1, 1, 2):
            with database.savepoint():
                database.run_soon(INSERT, (number, "x"))
    assert rows(database) == []


def test_a_dead_connection_is_replaced_before_anything_is_done(
    database: Database, postgresql: PostgresqlServer
) -> None:
    (process,) = database.row("SELECT pg_backend_pid()")
    postgresql.execute("postgres", f"SELECT pg_terminate_backend({process}, 5000)")

    with database.transaction():
        database.run_soon(INSERT, (1, "x"))

    assert rows(database) == [(1, "x")]


def test_nothing_is_sent_for_a_transaction_that_does_nothing(database: Database, trips: Trips) -> None:
    with database.transaction(), database.transaction():
        pass

    assert trips == []


VALUES = ("", "x" * 100_000, "é\u2028\\\"'{}", "NULL", None, 2**31, -(2**31) - 1, 2**63 - 1, 0)


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back_as_they_were_sent(database: Database, value: Any) -> None:
    kind = "bigint" if isinstance(value, int) else "text"

    statement = f"SELECT ?::{kind}, ?::{kind}[], ?::boolean"
    assert database.row(statement, (value, [value, None], True)) == (value, [value, None], True)


def test_a_number_that_is_too_large_is_refused(database: Database) -> None:
    with pytest.raises(ValueRefused), database.transaction():
        database.run_soon(INSERT, (2**63, "x"))


def test_what_is_larger_than_the_buffers_on_the_way_arrives(database: Database) -> None:
    large = "x" * 3_000_000
    with database.transaction():
        for number in range(5):
            database.run_soon(INSERT, (number, large))
            database.run_soon("SELECT x FROM t")

    assert database.row("SELECT COUNT(*), SUM(LENGTH(x)) FROM t") == (5, 15_000_000)


@pytest.mark.on("postgresql")
@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("count=2", 3),
        ("startIndex=9", 3),
        ("startIndex=3&count=2", 3),
        ('filter=userName eq "u1"', 1),
        ('filter=userName eq "x"', 0),
        ('filter=userName sw "u"', 3),
        ('filter=userName sw "u"&count=2', 3),
        ('filter=userName sw "u"&startIndex=9', 3),
        ('filter=userName sw "x"', 0),
        ('filter=userName sw "x"&startIndex=9', 0),
    ],
)
def test_a_page_and_its_total_are_one_round_trip_also_where_the_page_is_empty(
    query: str, total: int, make_scim: Callable[..., ScimClient], trips: Trips
) -> None:
    scim = make_scim()
    for number in range(3):
        scim.user(f"u{number}")

    trips.clear()
    assert scim("GET", "/Users", query_string=query).json["totalResults"] == total
    assert len(trips) == 1
