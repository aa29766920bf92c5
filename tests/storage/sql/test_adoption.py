"""Tables of HarryKodden/scim, and of earlier versions of ours: taken over at the start, once."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.errors import StorageUnavailable
from storage.index import building
from storage.index.tables import VERSION
from storage.sql import adoption
from storage.testing import GROUP, REGISTRY, USER, members_of
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient, error_of
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder

Server = PostgresqlServer | MariadbServer | SqliteFolder

# As SQLAlchemy makes them for the earlier product.
TABLE = "CREATE TABLE {name} (id VARCHAR(255) NOT NULL, details JSON, PRIMARY KEY (id))"

USERS: dict[str, Any] = {
    "b-alice": {
        "id": "b-alice",
        "userName": "Alice",
        "externalId": "x-1",
        "active": True,
        "title": None,
        "password": "t1meMa$heen",
        "favourite": {"colour": "red"},
        "emails": [{"value": "alice@work.example", "primary": True}, {"value": "alice@home.example"}],
        "groups": [{"value": "g-guides"}],
        "meta": {"resourceType": "User", "lastModified": "2024-05-01 10:20:30.123456"},
    },
    "a-bob": {
        "userName": "bob",
        "name": {"familyName": "O'Brien"},
        "active": "perhaps",
        "meta": {"created": "2020-01-01T00:00:00+02:00", "lastModified": "2021-01-01T00:00:00Z"},
    },
    "c-alice": {"userName": "ALICE", "externalId": "x-2", "nickName": "the second"},
}
GROUPS: dict[str, Any] = {
    "f-all": {"displayName": "All", "members": [{"value": "g-guides", "type": "Group"}]},
    "g-guides": {
        "displayName": "Guides",
        "members": [{"value": "b-alice", "display": "Ally"}, {"value": "a-bob"}, {"value": "gone"}],
    },
}


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Server:
    if request.param == "sqlite":
        return SqliteFolder(tmp_path)
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def open_app() -> Iterator[Callable[..., ScimClient]]:
    apps = []

    def start(url: str, **environ: str) -> ScimClient:
        variables = {"API_KEY": KEY, "DATABASE_URL": url, "LOGLEVEL": "WARNING", **environ}
        apps.append(create_app(Settings.from_env(variables)))
        return ScimClient(apps[-1].test_client())

    yield start
    for app in apps:
        app.extensions["scim.storage"].close()


def reference_store(server: Server, users: dict[str, Any], groups: dict[str, Any]) -> str:
    """Return the URL of a database with tables as the earlier product leaves them."""
    url = server.new_database()
    for name, documents in (("Users", users), ("Groups", groups)):
        table = f"{server.quote}{name}{server.quote}"
        texts = {key: json.dumps(document).replace("'", "''") for key, document in documents.items()}
        insert = f"INSERT INTO {table} (id, details) VALUES"
        inserts = (f"{insert} ('{resource_id}', '{text}')" for resource_id, text in texts.items())
        server.execute(url, TABLE.format(name=table), *inserts)
    return url


def test_existing_tables_are_taken_over(
    server: Server, open_app: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    url = reference_store(server, USERS, GROUPS)
    table = f"{server.quote}Users{server.quote}"
    server.execute(url, f"INSERT INTO {table} (id, details) VALUES ('d-list', '[1]')")
    server.execute(url, f"INSERT INTO {table} (id, details) VALUES ('e-null', NULL)")
    if isinstance(server, SqliteFolder):
        deep = '{"userName": "deep", "x": ' + '{"a": ' * 500 + "1" + "}" * 501
        server.execute(url, f"INSERT INTO {table} (id, details) VALUES ('f-deep', '{deep}')")

    with caplog.at_level(logging.WARNING):
        scim = open_app(url)

    alice = scim("GET", "/Users/b-alice").json
    assert alice["userName"] == "Alice" and alice["favourite"] == {"colour": "red"}
    assert alice["meta"]["created"] == alice["meta"]["lastModified"] == "2024-05-01T10:20:30.123Z"
    assert {group["value"]: group["type"] for group in alice["groups"]} == {
        "g-guides": "direct",
        "f-all": "indirect",
    }
    assert not {"title", "password"} & set(alice)
    bob = scim("GET", "/Users/a-bob").json
    assert bob["meta"]["created"] == "2019-12-31T22:00:00.000Z"
    assert "active" not in bob
    for text in ('userName eq "alice"', 'emails.value eq "ALICE@home.example"', 'externalId eq "x-1"'):
        assert "b-alice" in scim.names(text, attribute="id")
    assert scim.names('members.value eq "a-bob"', "/Groups", "displayName") == ["Guides"]
    members = scim("GET", "/Groups/g-guides").json["members"]
    assert {member["value"]: member["display"] for member in members} == {"b-alice": "Ally", "a-bob": "bob"}
    assert scim("GET", "/Users").json["totalResults"] == 3
    for named in ("b-alice: password", "a-bob: active", "c-alice: another", "d-list", "e-null", "gone"):
        assert named in caplog.text
    assert "t1meMa$heen" not in caplog.text + str(server.execute(url, f"SELECT details FROM {table}"))


def test_what_was_taken_over_is_like_any_other(server: Server, open_app: Callable[..., ScimClient]) -> None:
    scim = open_app(reference_store(server, USERS, GROUPS))

    error_of(scim("POST", "/Users", {"userName": "aLiCe"}), 409, "uniqueness")
    # The second Alice has no claim on the name, so that her end does not free it.
    assert scim("DELETE", "/Users/c-alice").status_code == 204
    error_of(scim("POST", "/Users", {"userName": "alice"}), 409, "uniqueness")
    assert scim("PUT", "/Users/b-alice", {"userName": "Alicia"}).json["userName"] == "Alicia"
    assert scim("POST", "/Users", {"userName": "alice"}).status_code == 201
    assert scim("DELETE", "/Users/a-bob").status_code == 204
    assert [m["value"] for m in scim("GET", "/Groups/g-guides").json["members"]] == ["b-alice"]


def test_it_happens_once(
    server: Server, open_app: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    url = reference_store(server, USERS, GROUPS)
    open_app(url)("PUT", "/Users/a-bob", {"userName": "robert"})
    caplog.clear()

    with caplog.at_level(logging.INFO):
        scim = open_app(url)

    assert "adopting" not in caplog.text
    assert scim("GET", "/Users/a-bob").json["meta"]["version"] == 'W/"2"'
    assert scim("GET", "/Users").json["totalResults"] == 3


def many(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    users = {f"u{n:03}": {"userName": f"user{n}", "emails": [{"value": f"{n}@x"}]} for n in range(count)}
    groups = {f"g{n}": {"displayName": f"G{n}", "members": [{"value": id_} for id_ in users]} for n in "abc"}
    return users, groups


def contents(url: str) -> Any:
    """Return everything in a store, and that all of it can be found."""
    adapter = open_backend("sql", database_url=url)
    adapter.prepare(REGISTRY.resource_types)
    users = [(r.id, r.document) for r in adapter.scan(USER)]
    groups = [(r.id, r.document, list(members_of(adapter, r.id))) for r in adapter.scan(GROUP)]
    adapter.close()
    return users, groups


@pytest.mark.parametrize("stop_at", [1, 4, 9, 12])
def test_it_goes_on_where_it_was_stopped(
    server: Server, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(adoption, "BATCH", 3)
    users, groups = many(20)
    whole = contents(reference_store(server, users, groups))
    url = reference_store(server, users, groups)
    steps, note = iter(range(1, 1000)), building.Step._note

    def stopping(step: Any, **columns: Any) -> None:
        if next(steps) == stop_at:
            raise KeyboardInterrupt
        note(step, **columns)

    monkeypatch.setattr(building.Step, "_note", stopping)
    adapter = open_backend("sql", database_url=url)
    with pytest.raises(KeyboardInterrupt):
        adapter.prepare(REGISTRY.resource_types)
    adapter.close()

    assert contents(url) == whole
    assert len(whole[0]) == 20 and [len(group[2]) for group in whole[1]] == [20] * 3


def test_it_goes_on_by_other_rules_than_it_began_with(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, groups = many(20)
    url = reference_store(server, users, groups)
    with monkeypatch.context() as patch:
        patch.setattr(adoption, "BATCH", 8)
        steps, note = iter(range(1, 1000)), building.Step._note

        def stopping(step: Any, **columns: Any) -> None:
            if next(steps) == 2:
                raise KeyboardInterrupt
            note(step, **columns)

        patch.setattr(building.Step, "_note", stopping)
        with pytest.raises(KeyboardInterrupt):
            open_backend("sql", database_url=url, indexed_attributes=frozenset({"title"})).prepare(
                REGISTRY.resource_types
            )

    assert contents(url) == contents(reference_store(server, users, groups))


PREPARE = """
import sys
from schema.registry import load_registry
from storage.errors import StorageUnavailable
from tests.backends import open_backend
adapter = open_backend("sql", database_url=sys.argv[1])
adapter.prepare(load_registry().resource_types)
adapter.close()
"""


def test_several_processes_start_together(server: Server) -> None:
    users, groups = many(1500)
    url = reference_store(server, users, groups)

    processes = [subprocess.Popen([sys.executable, "-c", PREPARE, url]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]

    found = contents(url)
    assert [resource_id for resource_id, _ in found[0]] == sorted(users)
    assert [len(members) for _, _, members in found[1]] == [1500] * 3


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("sqlite", "select details->'$.userName' as userName from Users where id = '{id}'"),
        ("postgresql", "select details->>'userName' from \"Users\" where id = '{id}'"),
        ("mariadb", "select json_value(details, '$.userName') from Users where id = '{id}'"),
    ],
)
def test_people_find_the_documents_as_before(
    name: str,
    statement: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    open_app: Callable[..., ScimClient],
) -> None:
    server = SqliteFolder(tmp_path) if name == "sqlite" else request.getfixturevalue(name)
    url = server.new_database()
    user = open_app(url).user("hkodden5")

    ((found,),) = server.execute(url, statement.format(id=user["id"]))

    assert found.strip('"') == "hkodden5"


def test_a_view_shows_groups_with_their_members(server: Server, open_app: Callable[..., ScimClient]) -> None:
    url = server.new_database()
    scim = open_app(url, GROUP_MODEL_NAME="Teams")
    user = scim.user("ann")
    group = scim.group("g", user["id"])
    scim.group("empty")

    view = f"{server.quote}Teams_with_members{server.quote}"
    rows = server.execute(url, f"SELECT id, details FROM {view} ORDER BY id")

    documents = {row[0]: row[1] if isinstance(row[1], dict) else json.loads(row[1]) for row in rows}
    assert documents[group["id"]]["displayName"] == "g"
    assert documents[group["id"]]["members"] == [{"value": user["id"], "type": "User", "display": "ann"}]
    assert sorted(len(document["members"]) for document in documents.values()) == [0, 1]


def test_tables_of_version_1_are_brought_up_to_date(
    tmp_path: Path, open_app: Callable[..., ScimClient]
) -> None:
    server = SqliteFolder(tmp_path)
    url = server.new_database()
    dump = (Path(__file__).parent / "version1.sql").read_text()
    server.execute(url, *(statement for statement in dump.split(";\n") if statement.strip()))

    for _ in range(2):
        scim = open_app(url)
        assert scim.names('emails[type eq "home" and value sw "A@"]') == ["Alice"]
        assert scim.names('title eq "chief" and active eq false or title pr') == ["bob"]
        assert scim("GET", "/Users").json["totalResults"] == 2
        (group,) = scim("GET", "/Groups").json["Resources"]
        assert {member["display"] for member in group["members"]} == {"Alice", "Bobby"}
    error_of(scim("POST", "/Users", {"userName": "ALICE"}), 409, "uniqueness")
    scim.user("carol")
    assert scim("GET", "/Users").json["totalResults"] == 3
    assert server.execute(url, "SELECT version FROM scim_layout") == [(VERSION,)]


def test_the_first_tables_of_version_1_kept_no_display_of_a_member(
    tmp_path: Path, open_app: Callable[..., ScimClient]
) -> None:
    server = SqliteFolder(tmp_path)
    url = server.new_database()
    dump = (Path(__file__).parent / "version1.sql").read_text()
    server.execute(url, *(statement for statement in dump.split(";\n") if statement.strip()))
    server.execute(url, "ALTER TABLE scim_member DROP COLUMN display")

    (group,) = open_app(url)("GET", "/Groups").json["Resources"]

    assert {member["display"] for member in group["members"]} == {"Alice", "bob"}


def both_are_served_and_no_third(scim: ScimClient, shared_id: str) -> None:
    """Assert that a user and a group with one id go on as they were, and that nobody else gets it."""
    assert scim("GET", f"/Users/{shared_id}").json["userName"] == "ann"
    assert scim("GET", f"/Groups/{shared_id}").json["displayName"] == "Ann's"
    for said, expected in (({}, "User"), ({"type": "User"}, "User"), ({"type": "Group"}, "Group")):
        group = scim("POST", "/Groups", {"displayName": "h", "members": [{"value": shared_id, **said}]}).json
        assert [member["type"] for member in group["members"]] == [expected]
        scim("DELETE", group["meta"]["location"])
    assert scim("PUT", f"/Groups/{shared_id}", {"displayName": "Ann's", "externalId": "x"}).status_code == 200
    for gone in ("Users", "Groups"):
        error_of(scim("POST", "/Users", {"userName": shared_id}), 409, "uniqueness")
        assert scim("DELETE", f"/{gone}/{shared_id}").status_code == 204
    assert scim.user(shared_id)["id"] == shared_id


BY_NAME = {"USER_MAPPING": '{"id": "userName"}'}


def test_two_resources_of_one_id_are_taken_over_and_named(
    server: Server, open_app: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    url = reference_store(server, {"one": {"userName": "ann"}}, {"one": {"displayName": "Ann's"}})

    with caplog.at_level(logging.WARNING):
        open_app(url, **BY_NAME)

    assert "Group one: a resource of another type has the same id" in caplog.text
    # Also after a restart.
    both_are_served_and_no_third(open_app(url, **BY_NAME), "one")


@pytest.mark.parametrize("interrupted", [False, True])
def test_members_of_one_id_are_taken_over_by_their_types(
    server: Server, open_app: Callable[..., ScimClient], interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [{"value": "one", "type": "User", "display": "Babs"}, {"value": "one", "type": "Group"}]
    groups = {"one": {"displayName": "Crew"}, "g": {"displayName": "G", "members": both}}
    groups["h"] = {"displayName": "H", "members": [{"value": "one", "display": "Either"}]}
    groups["i"] = {"displayName": "I", "members": [{"value": "two", "type": "Group"}]}
    url = reference_store(server, {"one": {"userName": "ann"}, "two": {"userName": "bob"}}, groups)
    if interrupted:
        # After the documents were read, before the members joined.
        def stop(step: object) -> int:
            raise StorageUnavailable("stopped")

        with monkeypatch.context() as patch:
            patch.setattr(adoption._Members, "_batch", stop)
            with pytest.raises(StorageUnavailable, match="stopped"):
                open_backend("sql", database_url=url).prepare(REGISTRY.resource_types)
        if isinstance(server, SqliteFolder):
            # 0.2.0 left no type.
            changed = "REPLACE(details, '\"type\":\"\",', '')"
            server.execute(url, f'UPDATE "Groups" SET details = {changed} WHERE id = \'h\'')

    scim = open_app(url)

    def members(group_id: str) -> list[tuple[str, str, str]]:
        shown = scim("GET", f"/Groups/{group_id}").json["members"]
        return sorted((member["type"], member["value"], member["display"]) for member in shown)

    assert members("g") == [("Group", "one", "Crew"), ("User", "one", "Babs")]
    assert members("h") == [("User", "one", "Either")]
    assert members("i") == [("User", "two", "bob")]
    assert [group["value"] for group in scim("GET", "/Users/one").json["groups"]] == ["g", "h"]


# What was made of tables of version 3.
BACK_TO_3 = {
    SqliteFolder: (
        "DROP INDEX scim_resource_id",
        "DROP INDEX scim_resource_twin",
        "ALTER TABLE scim_resource DROP COLUMN twin",
        "CREATE UNIQUE INDEX id_of_type ON scim_resource (id, type)",
    ),
    PostgresqlServer: (
        "DROP INDEX scim_resource_id",
        "ALTER TABLE scim_resource DROP COLUMN twin",
        "ALTER TABLE scim_resource ADD UNIQUE (id, type)",
    ),
    MariadbServer: (
        "ALTER TABLE scim_resource ADD UNIQUE KEY id (id, type), DROP INDEX scim_resource_id",
        "ALTER TABLE scim_resource DROP COLUMN twin",
    ),
}


def test_tables_of_version_3_are_brought_up_to_date(
    server: Server, open_app: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    url = server.new_database()
    scim = open_app(url, **BY_NAME)
    scim("POST", "/Users", {"userName": "one"})
    scim("PUT", "/Users/one", {"userName": "ann"})
    group = scim.group("Ann's")
    quoted = server.quote
    server.execute(url, "UPDATE scim_layout SET version = 3", *BACK_TO_3[type(server)])
    for table in ("scim_resource", f"{quoted}Groups{quoted}"):
        server.execute(url, f"UPDATE {table} SET id = 'one' WHERE id = '{group['id']}'")

    with caplog.at_level(logging.WARNING):
        scim = open_app(url, **BY_NAME)

    assert "two resources of different types have the id one" in caplog.text
    assert server.execute(url, "SELECT version FROM scim_layout") == [(VERSION,)]
    both_are_served_and_no_third(scim, "one")


def test_tables_of_a_later_version_are_left_alone(
    server: Server, open_app: Callable[..., ScimClient]
) -> None:
    url = server.new_database()
    open_app(url)
    server.execute(url, "UPDATE scim_layout SET version = 99")

    with pytest.raises(StorageUnavailable, match="version 99"):
        open_app(url)


@pytest.mark.parametrize(
    "columns", ["id INTEGER PRIMARY KEY, details JSON", "id VARCHAR(36), name VARCHAR(9)"]
)
def test_a_table_of_another_program_is_left_alone(
    server: Server, open_app: Callable[..., ScimClient], columns: str
) -> None:
    url = server.new_database()
    table = f"{server.quote}Users{server.quote}"
    server.execute(url, f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} (id) VALUES (7)")

    with pytest.raises(StorageUnavailable, match="the table Users belongs to another program"):
        open_app(url)

    ((found,),) = server.execute(url, f"SELECT id FROM {table}")
    assert found == (7 if "INTEGER" in columns else "7")
    assert open_app(url, USER_MODEL_NAME="People").user("ann")


def test_another_name_for_the_table_does_not_hide_what_is_there(
    server: Server, open_app: Callable[..., ScimClient]
) -> None:
    url = server.new_database()
    open_app(url).user("ann")

    with pytest.raises(StorageUnavailable, match="People, but the User documents are in the table Users"):
        open_app(url, USER_MODEL_NAME="People")
    assert open_app(url).names("userName pr") == ["ann"]
