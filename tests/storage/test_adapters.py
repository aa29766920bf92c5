"""The storage contract over every adapter."""

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from storage.adapter import Member, Selection, StorageAdapter
from storage.complete import complete
from storage.errors import StorageUnavailable
from storage.search import search
from storage.testing import GROUP, REGISTRY, USER, StorageContract, represent, stored
from tests.backends import open_backend
from tests.servers import MariadbServer, PostgresqlServer
from tests.storage.memory import MemoryAdapter
from tests.storage.other_settings import ALL


class SqlContract(StorageContract):
    """For adapters on an SQL database."""

    def plant(self, adapter: StorageAdapter) -> None:
        database = adapter.state_database
        (number,) = database.row("SELECT number FROM scim_type WHERE name = ?", ("Group",))
        with database.transaction():
            database.run("UPDATE scim_resource SET id = 'twin', twin = ? WHERE id = 'other'", (number,))
            text = stored("twin", displayName="Crew").text
            groups = database.dialect.quoted("Groups")
            database.run(f"UPDATE {groups} SET id = 'twin', details = ? WHERE id = 'other'", (text,))
        adapter.prepare(REGISTRY.resource_types)


class TestSqlite(SqlContract):
    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[StorageAdapter]:
        url = f"sqlite:///{tmp_path}/scim.db"
        adapter = open_backend("sql", database_url=url, sqlite_synchronous="NORMAL", indexed_attributes=ALL)
        adapter.prepare(REGISTRY.resource_types)
        yield adapter
        adapter.close()

    @pytest.mark.parametrize(
        "call",
        [
            lambda adapter: adapter.check(),
            lambda adapter: adapter.get(USER, "1"),
            lambda adapter: adapter.create(USER, stored("2", userName="b")),
            lambda adapter: adapter.replace(USER, stored("1", userName="b")),
            lambda adapter: adapter.delete(USER, "1"),
            lambda adapter: list(adapter.scan(USER)),
            lambda adapter: search(adapter, USER, Selection(), represent),
            lambda adapter: list(adapter.members(GROUP, stored("g"))),
            lambda adapter: adapter.change_members(
                GROUP, stored("g"), [Member("1", "User")], [Member("2", "User")]
            ),
            lambda adapter: adapter.memberships(USER, [stored("1")]),
            lambda adapter: adapter.find(["1"]),
        ],
    )
    def test_every_failure_of_the_database_is_one_of_the_storage(
        self, adapter: StorageAdapter, tmp_path: Path, call: Callable[[StorageAdapter], object]
    ) -> None:
        adapter.create(USER, stored("1", userName="a"))
        with sqlite3.connect(tmp_path / "scim.db") as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                database.execute(f'DROP TABLE "{table}"')

        with pytest.raises(StorageUnavailable):
            call(adapter)


class Store:
    """An adapter on one database of a server, which can be emptied."""

    def __init__(self, server: PostgresqlServer | MariadbServer) -> None:
        url = server.new_database()
        self.adapter = open_backend("sql", database_url=url, indexed_attributes=ALL)
        self.adapter.prepare(REGISTRY.resource_types)
        self._empty = partial(server.empty, url)

    def emptied(self) -> StorageAdapter:
        """Return the adapter, with nothing in its tables."""
        self._empty()
        return self.adapter


@pytest.fixture(scope="module")
def postgresql_store(postgresql: PostgresqlServer) -> Iterator[Store]:
    store = Store(postgresql)
    yield store
    store.adapter.close()


@pytest.fixture(scope="module")
def mariadb_store(mariadb: MariadbServer) -> Iterator[Store]:
    store = Store(mariadb)
    yield store
    store.adapter.close()


class TestPostgresql(SqlContract):
    @pytest.fixture
    def adapter(self, postgresql_store: Store) -> StorageAdapter:
        return postgresql_store.emptied()


class TestMariadb(SqlContract):
    @pytest.fixture
    def adapter(self, mariadb_store: Store) -> StorageAdapter:
        return mariadb_store.emptied()


class TestFiveMethods(StorageContract):
    @pytest.fixture
    def memory(self) -> MemoryAdapter:
        return MemoryAdapter()

    @pytest.fixture
    def adapter(self, memory: MemoryAdapter) -> StorageAdapter:
        adapter = complete(memory, REGISTRY.resource_types)
        adapter.prepare(REGISTRY.resource_types)
        return adapter

    @pytest.fixture
    def twins(self, memory: MemoryAdapter, adapter: StorageAdapter) -> StorageAdapter:
        memory.create(USER, stored("twin", userName="ann", displayName="Ann"))
        memory.create(GROUP, stored("twin", displayName="Crew"))
        adapter.create(GROUP, stored("g", displayName="G"))
        return adapter
