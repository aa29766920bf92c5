"""`scim check`: settings, definitions, and what the next start would adopt; nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.conftest import KEY
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder

USERS: dict[str, Any] = {
    "a": {"userName": "ann", "emails": [{"value": "ann@x"}]},
    "b": {"userName": "bob", "password": "t1meMa$heen", "active": "perhaps"},
    "c": {"userName": "ANN"},
    "d": [1],
    "one": {"userName": "one"},
}
GROUPS: dict[str, Any] = {
    "g": {"displayName": "G", "members": [{"value": "a"}, {"value": "h", "type": "Group"}]},
    "h": {"displayName": "H", "members": [{"value": "gone"}, {"value": "d"}]},
    "one": {"displayName": "One"},
}
WRONG = {
    ("User", "b"): ["password", "active"],
    ("User", "c"): ["another resource has the same userName"],
    ("User", "d"): ["is not a JSON object"],
    ("Group", "h"): ["2 members do not exist and are left out, such as gone"],
    ("Group", "one"): ["a resource of another type has the same id"],
}
COUNTS = {
    "User": {"documents": 5, "faulty": 3, "left": 1},
    "Group": {"documents": 3, "faulty": 2, "left": 0},
}
OWN_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE 'scim%'",
    "postgresql": "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'scim%'",
    "mariadb": "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name LIKE 'scim%'",
}


def checked(variables: dict[str, str], *options: str) -> Result:
    """Run the command with these variables and no others."""
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", **variables}
    return CliRunner().invoke(main, ["check", *options], env=environ)


def found_in(result: Result) -> tuple[dict[tuple[str, str], list[str]], dict[str, Any]]:
    """Return the problems by type and id, and the counts by type."""
    problems, counts = {}, {}
    for line in map(json.loads, result.stdout.splitlines()):
        name = line.pop("resourceType")
        if "id" in line:
            assert line["left"] == (line["id"] in ("d", "7"))
            problems[name, line["id"]] = line["problems"]
        else:
            counts[name] = line
    return problems, counts


def assert_found(result: Result) -> None:
    problems, counts = found_in(result)
    assert counts == COUNTS
    assert problems.keys() == WRONG.keys()
    for key, beginnings in WRONG.items():
        assert [one[: len(b)] for one, b in zip(problems[key], beginnings, strict=True)] == beginnings
    assert result.exit_code == 1
    assert "t1meMa$heen" not in result.output


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mariadb"])
def test_tables_are_looked_at_and_left_alone(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: SqliteFolder | PostgresqlServer | MariadbServer = (
        SqliteFolder(tmp_path) if name == "sqlite" else request.getfixturevalue(name)
    )
    url, quote = server.new_database(), server.quote
    for table, documents in (("Users", USERS), ("Groups", GROUPS)):
        rows = ", ".join(f"('{key}', '{json.dumps(one)}')" for key, one in documents.items())
        server.execute(
            url,
            f"CREATE TABLE {quote}{table}{quote} (id VARCHAR(255) NOT NULL, details JSON, PRIMARY KEY (id))",
            f"INSERT INTO {quote}{table}{quote} (id, details) VALUES {rows}",
        )
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    assert_found(checked({"DATABASE_URL": url}, "--adopt", "--json"))

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert server.execute(url, OWN_TABLES[name]) == []


def test_documents_of_mongodb_are_looked_at_and_left_alone(mongodb: Any) -> None:
    url = mongodb.new_database()
    documents = mongodb.documents(url)
    documents.Users.insert_many([{"_id": key, **one} for key, one in USERS.items() if key != "d"])
    documents.Users.insert_one({"_id": 7, "userName": "d"})
    documents.Groups.insert_many([{"_id": key, **one} for key, one in GROUPS.items()])

    problems, counts = found_in(checked(mongodb.environ(url), "--adopt", "--json"))

    assert counts == COUNTS
    assert problems.pop(("User", "7")) == ["its _id is not a string"]
    assert problems.keys() == WRONG.keys() - {("User", "d")}
    assert sorted(documents.list_collection_names()) == ["Groups", "Users"]


def test_files_are_looked_at_and_left_alone(tmp_path: Path) -> None:
    for folder, documents in (("Users", USERS), ("Groups", GROUPS)):
        (tmp_path / folder).mkdir()
        for name, one in documents.items():
            (tmp_path / folder / name).write_text(json.dumps(one))

    assert_found(checked({"DATA_PATH": str(tmp_path)}, "--adopt", "--json"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["Groups", "Users"]


def test_people_read_a_line_for_each_problem(tmp_path: Path) -> None:
    (tmp_path / "Users").mkdir()
    (tmp_path / "Users" / "d").write_text("[1]")

    result = checked({"DATA_PATH": str(tmp_path)}, "--adopt")

    assert result.stdout.splitlines() == [
        "User d: is not a JSON object (left out)",
        "User: 1 documents to adopt, 1 with problems, 1 of them left out",
        "Group: 0 documents to adopt, 0 with problems, 0 of them left out",
    ]


@pytest.mark.sqlite
def test_what_this_server_stores_needs_no_adoption(
    make_scim: Callable[..., Any], backend: Callable[[set[str]], dict[str, str]]
) -> None:
    make_scim().user("ann")

    result = checked(backend(set()), "--adopt", "--json")

    assert found_in(result)[1]["User"]["documents"] == 0
    assert result.exit_code == 0


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = checked({"DATABASE_URL": f"sqlite:///{tmp_path}/new/scim.db"}, "--adopt")

    assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked_without_the_store(tmp_path: Path) -> None:
    assert checked({"DATABASE_URL": f"sqlite:///{tmp_path}/scim.db"}).exit_code == 0
    refused = checked({"PAGE_SIZE": "0"})
    assert refused.exit_code == 1 and "PAGE_SIZE" in refused.output
    assert list(tmp_path.iterdir()) == []
