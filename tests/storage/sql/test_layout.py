"""The tables of resources: keys, references, migrations that are interrupted, and releases side by side."""

from pathlib import Path
from typing import Any

import pytest

from storage.adapter import Member
from storage.errors import Contention
from storage.index.database import Database
from storage.index.generation import generation_of
from storage.index.tables import VERSION
from storage.testing import GROUP, USER, stored
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder
from tests.storage.sql.conftest import Open, Server

LAYOUTS = Path(__file__).parents[2] / "layouts"
TABLES = (
    *("type", "path", "count", "resource", "attribute", "lacking", "unique", "member", "generation"),
    "layout",
)
EMAILS = [{"value": f"a{number}@x.example", "type": "work"} for number in range(50)]


def old_store(server: Server, commit: str) -> str:
    """Return the URL of a database as an earlier release left it, with few indexed attributes."""
    kind = {PostgresqlServer: "postgresql", MariadbServer: "mariadb", SqliteFolder: "sqlite"}[type(server)]
    url = server.new_database()
    server.execute(url, *(LAYOUTS / f"{kind}-{commit}.sql").read_text().splitlines())
    return url


OLD: Any = {"indexed_attributes": frozenset({"title"})}


@pytest.mark.parametrize("commit", [None, "8a276f1", "8fb352f"])
def test_every_table_has_its_key_and_its_indexes(server: Server, opened: Open, commit: str | None) -> None:
    url = old_store(server, commit) if commit else server.new_database()

    database = opened(url, **(OLD if commit else {})).state_database

    if database.dialect.name == "sqlite":
        opened(url).create(USER, stored("zoe", userName="zoe"))
        assert database.rows("PRAGMA integrity_check") == [("ok",)]
    keys = {table: database.dialect.key_of(database, f"scim_{table}") for table in TABLES}
    assert all(keys.values()), keys
    assert keys["unique"] == ["path", "value", "owner"]
    assert database.dialect.has_reference(database, "scim_member")
    for name in ("scim_attribute_of", "scim_resource_owner", "scim_member_of", "scim_resource_id"):
        assert database.row(f"SELECT 1 FROM {database.dialect.index_names}", (name,)) is not None, name
    assert database.rows("SELECT version FROM scim_layout")[0][0] == VERSION


def test_members_whose_resource_is_gone_are_swept_and_cannot_come_again(
    server: Server, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    url = old_store(server, "8fb352f")
    server.execute(
        url,
        "INSERT INTO scim_member (group_rid, member_rid) VALUES (3, 999)",
        "INSERT INTO scim_member (group_rid, member_rid) VALUES (998, 1)",
    )

    database = opened(url, **OLD).state_database

    assert "2 memberships of resources that do not exist were deleted" in caplog.text
    assert not database.rows("SELECT group_rid FROM scim_member WHERE member_rid > 900")
    (kept,) = database.row("SELECT COUNT(*) FROM scim_member")
    assert kept == 4, "ann and bob, in Guides and Team"
    with pytest.raises(Contention), database.transaction():
        database.run("INSERT INTO scim_member (group_rid, member_rid) VALUES (3, 999)")
    with pytest.raises(Contention), database.transaction():
        database.run("DELETE FROM scim_resource WHERE rid = 1")
    assert database.row("SELECT COUNT(*) FROM scim_member WHERE member_rid = 1")[0] == 2


@pytest.mark.parametrize("commit", [None, "4d32650", "8a276f1", "8fb352f"])
def test_an_interrupted_migration_continues_where_it_was(
    server: Server, opened: Open, commit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = old_store(server, commit) if commit else server.new_database()
    run_ddl = Database.run_ddl
    left, interruptions = 0, 0

    class Interrupted(BaseException):
        pass

    def run(self: Database, statement: str) -> None:
        nonlocal left
        if not left:
            raise Interrupted
        left -= 1
        run_ddl(self, statement)

    monkeypatch.setattr(Database, "run_ddl", run)
    while True:
        left = interruptions
        try:
            adapter = opened(url, **OLD)
            break
        except Interrupted:
            interruptions += 1
    monkeypatch.undo()

    assert interruptions > 3
    found = {one.document["userName"] for one in adapter.scan(USER)}
    assert found >= ({"ann", "bob"} if commit else set())
    adapter.create(USER, stored("zoe", userName="zoe"))
    adapter.create(GROUP, stored("g", displayName="g"))
    assert adapter.change_members(GROUP, adapter.get(GROUP, "g"), [Member("zoe", "User")], ())
    database = adapter.state_database
    assert database.dialect.key_of(database, "scim_unique") == ["path", "value", "owner"]
    assert server.execute(url, "SELECT version FROM scim_layout")[0][0] == VERSION


def test_statements_of_0_2_0_still_write_and_find_what_they_mean(server: Server, opened: Open) -> None:
    """A process of 0.2.0 that runs while the tables are migrated goes on."""
    url = old_store(server, "8fb352f")
    adapter = opened(url, **OLD)
    ((unique,),) = adapter.state_database.rows(
        "SELECT p.number FROM scim_path p JOIN scim_type t ON t.number = p.type "
        "WHERE t.name = 'User' AND p.path = 'userName'"
    )
    name = server.quote
    ignore = {"sqlite": "INSERT OR IGNORE", "mysql": "INSERT IGNORE"}.get(
        adapter.state_database.dialect.name, "INSERT"
    )
    end = " ON CONFLICT DO NOTHING" if adapter.state_database.dialect.name == "postgresql" else ""
    claim = f"{ignore} INTO scim_unique (path, value, rid) VALUES ({unique}, 'old', {{}}){end}"
    time = "'2026-11-29T00:00:00.000Z'"

    server.execute(
        url,
        "INSERT INTO scim_resource (type, id, version, created, last_modified, display, secrets, twin) "
        f"SELECT number, 'old', 1, {time}, {time}, 'old', NULL, 0 FROM scim_type WHERE name = 'User'",
        f"INSERT INTO {name}Users{name} (id, details) VALUES "
        """('old', '{"schemas":[],"id":"old","userName":"old"}')""",
    )
    ((rid,),) = server.execute(url, "SELECT rid FROM scim_resource WHERE id = 'old'")
    server.execute(url, claim.format(rid), claim.format(1))
    server.execute(
        url,
        f"INSERT INTO scim_attribute (path, value, rid, element, long_value) VALUES ({unique}, 'old', {rid}, "
        "0, NULL)",
        f"INSERT INTO scim_member (group_rid, member_rid, display) VALUES (3, {rid}, NULL)",
    )

    owners = server.execute(
        url, f"SELECT rid, owner FROM scim_unique WHERE path = {unique} AND value = 'old'"
    )
    assert list(owners) == [(rid, "")], "one has the value"
    assert adapter.get(USER, "old").document["userName"] == "old"
    adapter.delete(USER, "old")
    assert server.execute(url, f"SELECT COUNT(*) FROM scim_attribute WHERE rid = {rid}")[0][0] == 0


def test_the_generation_changes_with_the_indexed_paths_only(server: Server, opened: Open) -> None:
    url = server.new_database()

    numbers = [
        generation_of(opened(url, indexed_attributes=frozenset(paths)).state_database)
        for paths in (("title",), ("title",), ("title", "nickName"), ("title", "nickName"), ("title",))
    ]

    first = numbers[0]
    assert numbers == [first, first, first + 1, first + 1, first + 2]


def test_what_a_delete_costs_does_not_depend_on_the_values(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = opened(server.new_database())
    for number, emails in enumerate(([], EMAILS)):
        adapter.create(USER, stored(str(number), userName=f"u{number}", emails=emails))
    execute, counts = Database._execute, [0, 0]

    def counted(self: Database, statement: str, params: Any) -> Any:
        counts[-1] += 1
        return execute(self, statement, params)

    monkeypatch.setattr(Database, "_execute", counted)
    for number in range(2):
        counts[-1] = 0
        adapter.delete(USER, str(number))
        counts.insert(0, counts[-1])

    assert counts[0] == counts[1] <= 10
    assert adapter.state_database.row("SELECT COUNT(*) FROM scim_attribute")[0] == 0
