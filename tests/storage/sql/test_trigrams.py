"""FILTER_INDEX=trigram: `co` and `ew` find what they find without it, by an index that the database keeps."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from scim_filter import matches, parse_filter, resolve
from storage.adapter import StorageAdapter
from storage.errors import StorageError, StorageUnavailable
from storage.index.database import Database
from storage.sql import trigrams
from storage.sql.adapter import SqlAdapter
from storage.sql.trigrams import SqliteTrigrams
from storage.testing import USER, represent, stored
from storage.testing.differential import DifferentialContract
from storage.testing.resources import ids_matching
from tests.backends import open_backend
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder
from tests.storage.other_settings import ALL
from tests.storage.sql.conftest import Open, Server

ON: dict[str, Any] = {"filter_index": "trigram", "indexed_attributes": ALL}
FILTERS = (
    'userName co "ann"',
    'userName ew "nnA"',
    'title co "ann"',
    'title co "100%_"',
    'title co "\\""',
    'title ew "z\\\\y"',
    'title co "\u00e9\u00e9\U0001f600"',
    'nickName ew "tail"',
    'nickName co "abcabcabc"',
    'emails.value ew "@work.example"',
    'emails[type eq "work" and value ew "1@work.example"]',
    'not (emails.value co "work") and userName sw "u"',
    'emails.value co "example" and emails.value co "work"',
    'userName co "an"',
    'x509Certificates.value co "abc"',
)


def user(random: Random, number: int) -> dict[str, Any]:
    title = random.choice(["Joanna", "ANN", "100%_", 'a"b"c', "xz\\y", "\u00e9\u00e9\U0001f600", "", "abc"])
    long = "abc" * random.randrange(1, 300)
    return {
        "userName": random.choice(["u", "ann", "Anna", "xannx"]) + str(number) + random.choice(["", "nna"]),
        "title": title,
        "nickName": long + random.choice(["tail", "TAIL", ""]),
        "emails": [{"value": f"{number % 3}@{kind}.example", "type": kind} for kind in ("work", "home")],
        "x509Certificates": [{"value": long}],
    }


def fill(adapter: StorageAdapter, numbers: range) -> None:
    for number in numbers:
        adapter.create(USER, stored(f"id{number}", **user(Random(number), number)))


def check(adapter: StorageAdapter) -> None:
    """Each filter finds what evaluation says."""
    for text in FILTERS:
        node = resolve(parse_filter(text), USER)
        expected = [one.id for one in adapter.scan(USER) if matches(node, represent(one, True))]
        assert ids_matching(adapter, USER, text) == expected, text


def kept(adapter: SqlAdapter) -> set[str]:
    return {value for (value,) in adapter.state_database.rows("SELECT value FROM scim_text")}


@pytest.fixture
def indexed(server: Server) -> Server:
    if isinstance(server, MariadbServer):
        pytest.skip("has no such index")
    return server


class TestTrigrams(DifferentialContract):
    omitted = "\0"

    @pytest.fixture
    def adapter(self, indexed: Server, opened: Open) -> Iterator[StorageAdapter]:
        yield opened(indexed.new_database(), **ON)


def test_values_of_every_writer_are_found(indexed: Server, opened: Open) -> None:
    url = indexed.new_database()
    without = opened(url, indexed_attributes=ALL)
    fill(without, range(20))
    adapter = opened(url, **ON)
    check(adapter)
    # One that knows nothing of the index, as an earlier release.
    fill(without, range(20, 40))
    without.replace(USER, stored("id3", userName="joanna", title="Suzanne"))
    without.delete(USER, "id4")
    adapter.create_many(USER, [stored("many", userName="hannah")])
    check(adapter)
    check(without)


def test_a_value_that_nobody_has_is_gone(tmp_path: Any, opened: Open) -> None:
    adapter = opened(SqliteFolder(tmp_path).new_database(), **ON)
    adapter.create(USER, stored("one", userName="Joanna", title="Chief", nickName="n" * 400))
    adapter.create(USER, stored("two", userName="Bob", title="Chief"))
    adapter.replace(USER, stored("two", userName="Robert", title="Chief"))
    assert {"joanna", "robert", "chief"} <= kept(adapter) and "bob" not in kept(adapter)
    adapter.delete(USER, "one")
    assert {"robert", "chief"} <= kept(adapter) and not {"joanna"} & kept(adapter)
    adapter.delete(USER, "two")
    assert kept(adapter) == set()
    database = adapter.state_database
    assert database.rows("SELECT rowid FROM scim_trigram WHERE scim_trigram MATCH '\"ann\"'") == []


def test_text_behind_a_null_character_is_found(tmp_path: Any, opened: Open) -> None:
    adapter = opened(SqliteFolder(tmp_path).new_database(), **ON)
    adapter.create(USER, stored("one", userName="a\0hidden"))
    assert ids_matching(adapter, USER, 'userName co "hidden"') == ["one"]


def test_an_interrupted_build_goes_on(tmp_path: Any, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    url = SqliteFolder(tmp_path).new_database()
    fill(opened(url, indexed_attributes=ALL), range(20))
    monkeypatch.setattr(trigrams, "_BATCH", 40)
    add, added = SqliteTrigrams._add_batch, []

    def killed(database: Database) -> int:
        if len(added) == 3:
            raise StorageUnavailable("killed")
        added.append(add(database))
        return added[-1]

    monkeypatch.setattr(SqliteTrigrams, "_add_batch", staticmethod(killed))
    with pytest.raises(StorageUnavailable, match="killed"):
        opened(url, **ON)
    fill(opened(url, indexed_attributes=ALL), range(20, 25))
    monkeypatch.setattr(SqliteTrigrams, "_add_batch", staticmethod(add))
    batches = []
    monkeypatch.setattr(
        SqliteTrigrams, "_add_batch", staticmethod(lambda database: batches.append(1) or add(database))
    )
    adapter = opened(url, **ON)
    (rows,) = adapter.state_database.row("SELECT COUNT(*) FROM scim_attribute")
    assert len(batches) < rows / 40
    check(adapter)


def test_an_index_whose_triggers_are_gone_is_made_again(tmp_path: Any, opened: Open) -> None:
    url = SqliteFolder(tmp_path).new_database()
    first = opened(url, **ON)
    fill(first, range(5))
    with first.transaction():
        first.state_database.run_ddl("DROP TRIGGER scim_attribute_added")
    fill(first, range(5, 10))
    check(opened(url, **ON))


def test_an_index_that_cannot_be_had_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="MariaDB and MySQL have no index"):
        open_backend("sql", database_url="mysql://scim@127.0.0.1/scim", **ON)
    monkeypatch.setattr(trigrams, "_TOKENIZER", "tokenize='missing'")
    with pytest.raises(ValueError, match="FTS5 with the tokenizer trigram.*no such tokenizer"):
        open_backend("sql", database_url=f"sqlite:///{tmp_path}/scim.db", **ON)


def test_a_role_that_may_not_install_the_module_is_told(postgresql: PostgresqlServer, opened: Open) -> None:
    url = postgresql.new_database()
    postgresql.execute(url, "DROP ROLE IF EXISTS plain", "CREATE ROLE plain LOGIN")
    postgresql.execute(url, "GRANT ALL ON SCHEMA public TO plain")
    plain = url.replace("scim@", "plain@")
    with pytest.raises(StorageError, match="CREATE EXTENSION pg_trgm"):
        opened(plain, **ON)
    postgresql.execute(url, "CREATE EXTENSION pg_trgm")
    opened(plain, **ON)


def test_the_index_is_asked(indexed: Server, opened: Open) -> None:
    adapter = opened(indexed.new_database(), **ON)
    adapter.create_many(USER, [stored(f"id{n}", **user(Random(n), n)) for n in range(2000)])
    database = adapter.state_database
    if isinstance(indexed, PostgresqlServer):
        # Of few rows, its planner would rather read all.
        database.run_ddl("VACUUM ANALYZE scim_attribute")
    ran: list[Any] = []
    rows = Database.rows

    def noted(database: Database, statement: str, params: Any = ()) -> list[Any]:
        ran.append((statement, params))
        return rows(database, statement, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "rows", noted)
        for text in ('title co "chief"', 'title ew "chief"', 'emails[value co "chief"]'):
            assert ids_matching(adapter, USER, text) == []
    found = [one for one in ran if "FROM scim_attribute a" in one[0]]
    assert len(found) == 6
    explain = "EXPLAIN QUERY PLAN" if isinstance(indexed, SqliteFolder) else "EXPLAIN"
    for statement, params in found:
        steps = str(database.rows(f"{explain} {statement}", params))
        assert "scim_trigram" in steps or "scim_attribute_trigram" in steps, steps
