"""What a search reads does not grow with the store, with statistics of the database and without them.

Work is counted, not timed: instructions on SQLite, rows that a scan looks at on the servers.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count as numbers_from
from typing import Any

import psycopg
import pytest
from psycopg import sql

from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from storage.adapter import Member, Selection, Sort
from storage.index.database import Database
from storage.index.statements import ByValue
from storage.sql.adapter import SqlAdapter
from storage.sql.libpq import _BY_KEY
from storage.testing import GROUP, USER, stored
from storage.testing.corpus import ENTERPRISE
from tests.servers import MariadbServer, PostgresqlServer
from tests.storage.sql.conftest import Open, Server

SMALL, LARGE = 300, 3000
# A page of what is asked for, in an order or in none; `{}` is a number below SMALL.
SEARCHES = {
    "userName eq": ('userName eq "user00{}"', ""),
    "userName eq, sorted": ('userName eq "user00{}"', "userName"),
    "userName eq, nobody, sorted": ('userName eq "nobody{}"', "displayName"),
    "emails.value eq, sorted": ('emails.value eq "user00{}@x.example"', "displayName"),
    "externalId eq, sorted, descending": ('externalId eq "ext00{}"', "-meta.created"),
    "eq of an and, sorted": ('userName eq "user00{}" and active eq true', "userName"),
    "eq of an or, sorted": ('userName eq "user00{}" or emails.value eq "user0001@x.example"', "userName"),
    "everything": ("", ""),
    "everything, sorted": ("", "userName"),
    "everything, sorted, descending": ("", "-userName"),
    "everything, sorted, descending, some without": ("", "-displayName"),
    "everything, sorted, descending, all without": ("", "-name.middleName"),
    "everything, by date, descending": ("", "-meta.lastModified"),
    "changes, sorted": ('meta.lastModified gt "{last}"', "meta.lastModified"),
    "changes, sorted, descending": ('meta.lastModified ge "{last}"', "-meta.lastModified"),
    "created, sorted": ('meta.created gt "{last}" and active eq true', "meta.created"),
    "id eq": ('id eq "id00{}"', ""),
    "id sw": ('id sw "id00{}"', "userName"),
    "id ge": ('id ge "id{last_id}"', ""),
}
# Before the first ANALYZE, which autovacuum runs by itself, PostgreSQL takes a type or a range of ids for few
# rows.
UNKNOWN = ("everything", "everything, sorted, descending, all without", "id ge")


def at(number: int) -> str:
    return f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"


def filled(adapter: SqlAdapter, count: int) -> SqlAdapter:
    for start in range(0, count, 500):
        adapter.create_many(
            USER,
            [
                stored(
                    f"id{number:04}",
                    at(number),
                    userName=f"user{number:04}",
                    externalId=f"ext{number:04}",
                    # A few have none.
                    displayName=f"User {number % 50}" if number % 100 else None,
                    active=True,
                    emails=[{"value": f"user{number:04}@x.example", "type": "work"}],
                    **{ENTERPRISE: {"department": "D"}},
                )
                for number in range(start, min(start + 500, count))
            ],
        )
    group = adapter.create(GROUP, stored("group", displayName="All"))
    members = [Member(f"id{number:04}", "User") for number in range(count)]
    adapter.change_members(GROUP, group, members, ())
    return adapter


def selection(text: str, order: str, count: int, resource_type: ResourceType = USER) -> Selection:
    # The last nine of them.
    text = text.replace("{last}", at(count - 10)).replace("{last_id}", f"{count - 9:04}").replace("{}", "42")
    path = resource_type.path(order.lstrip("-"))
    sort = Sort(path, order.startswith("-")) if order and path else None
    return Selection(resolve(parse_filter(text), resource_type) if text else None, sort, limit=5)


class Work:
    """Counts the work of each statement that reads, on one database."""

    def __init__(self, adapter: SqlAdapter, url: str) -> None:
        self._adapter = adapter
        self._url = url
        self._database: Database = adapter.state_database
        self.read = Database.rows

    def of(self, wanted: Selection, patch: pytest.MonkeyPatch) -> int:
        def page() -> None:
            found = self._adapter.candidates(USER, wanted)
            list(found.resources)
            assert found.is_page

        return self.of_all(page, patch)

    def of_all(self, read: Callable[[], object], patch: pytest.MonkeyPatch) -> int:
        ran: list[Any] = []

        def noted(database: Database, statement: str, params: Any = ()) -> list[Any]:
            ran.append((statement, params))
            return self.read(database, statement, params)

        patch.setattr(Database, "rows", noted)
        read()
        patch.setattr(Database, "rows", self.read)
        return sum(self._count(statement, params) for statement, params in ran)

    def _count(self, statement: str, params: Any) -> int:
        name = self._database.dialect.name
        if name == "sqlite":
            return self._instructions(statement, params)
        if name == "postgresql":
            if isinstance(statement, ByValue) or not params:
                ((plan,),) = self._database.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", params)
            else:
                plan = self._plan_by_key(statement, params)
            plan = plan if isinstance(plan, list) else json.loads(plan)
            return sum(_rows_read(plan[0]["Plan"]))
        with self._database.lease():
            before = self._handled()
            self._database.rows(statement, params)
            return self._handled() - before

    def _plan_by_key(self, statement: str, params: Any) -> Any:
        """Return the plan of a prepared statement, which PostgreSQL makes without the values."""
        numbered = re.sub(r"\?", lambda _, numbers=numbers_from(1): f"${next(numbers)}", statement)
        values = ", ".join(sql.Literal(one).as_string() for one in params)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(_BY_KEY)
            connection.execute(f"PREPARE counted AS {numbered}")
            explained = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE counted ({values})")
            ((plan,),) = explained.fetchall()
        return plan

    def _instructions(self, statement: str, params: Any) -> int:
        ticks = 0

        def tick() -> int:
            nonlocal ticks
            ticks += 1
            return 0

        with closing(sqlite3.connect(self._database.name)) as connection:
            connection.execute("SELECT 1 FROM scim_layout")
            connection.set_progress_handler(tick, 1)
            connection.execute(statement, params).fetchall()
        return ticks

    def _handled(self) -> int:
        rows = self._database.rows("SHOW SESSION STATUS LIKE ?", ("Handler_read%",))
        return sum(int(value) for _, value in rows)


def _rows_read(plan: Any) -> Iterator[int]:
    """Yield how many rows each scan of a plan looks at."""
    if "Scan" in plan["Node Type"]:
        kept = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield int((kept + plan.get("Rows Removed by Index Recheck", 0)) * plan["Actual Loops"])
    for inner in plan.get("Plans", ()):
        yield from _rows_read(inner)


@pytest.mark.parametrize("statistics", [False, True])
def test_no_search_reads_more_in_a_larger_store(
    server: Server, opened: Open, statistics: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = []
    for count in (SMALL, LARGE):
        url = server.new_database()
        adapter = filled(opened(url), count)
        if statistics:
            _analyze(adapter.state_database, server)
        works.append(Work(adapter, url))

    grown = {}
    for title, (text, order) in SEARCHES.items():
        if title in UNKNOWN and not statistics and isinstance(server, PostgresqlServer):
            continue
        small, large = (
            work.of(selection(text, order, count), monkeypatch)
            for work, count in zip(works, (SMALL, LARGE), strict=True)
        )
        if large > 1.5 * small + 20:
            grown[title] = (small, large)
    assert not grown


def test_memberships_of_a_page_take_no_look_at_those_of_others(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(server, PostgresqlServer):
        pytest.skip("it reads all of a small table, and chooses by statistics in a large one")
    read = []
    for count in (SMALL, LARGE):
        url = server.new_database()
        adapter = filled(opened(url), count)
        if isinstance(server, MariadbServer):
            _mistake(adapter.state_database)
        page = [stored(f"id{number:04}", userName=f"user{number:04}") for number in range(0, SMALL, 3)]
        (group,) = adapter.scan(GROUP)

        def look(adapter: SqlAdapter = adapter, page: Any = page, group: Any = group) -> None:
            assert len(adapter.memberships(USER, page)) == len(page)
            members = adapter.among_members(GROUP, group, [one.id for one in page])
            assert len(members) == len(page)
            assert len(list(adapter.members(GROUP, group, limit=50))) == 50

        read.append(Work(adapter, url).of_all(look, monkeypatch))
    assert read[1] < 1.5 * read[0], read


def _mistake(database: Database) -> None:
    """Have MariaDB believe what it may find in the middle of an import: all memberships are of one member."""
    database.run_ddl(
        "UPDATE mysql.innodb_index_stats SET stat_value = 1 WHERE database_name = DATABASE() "
        "AND table_name = 'scim_member' AND index_name = 'scim_member_of' AND stat_name = 'n_diff_pfx01'"
    )
    database.run_ddl("FLUSH TABLE scim_member")


def _analyze(database: Database, server: Server) -> None:
    if isinstance(server, PostgresqlServer | MariadbServer):
        database.run_ddl(database.dialect.count_values)
    else:
        database.run_ddl("ANALYZE")
