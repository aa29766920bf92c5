"""One value of another program never ends a backend: it is named in the log, and the rest is served."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ldap
import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member
from storage.foreign import ForeignReader, adopted
from storage.jumpcloud.document import Remainder
from storage.testing import GROUP, REGISTRY, USER, stored
from storage.testing.foreign import GOOD, check_served, wrong_documents, wrong_texts
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient
from tests.mongodb import MongodbServer, MongoStore
from tests.openldap import LdapServer
from tests.servers import MariadbServer, PostgresqlServer, SqliteFolder
from tests.storage.forward.hostile import HostileServer, answering
from tests.storage.irods.store import Store as IrodsStore
from tests.storage.irods.store import create
from tests.storage.jumpcloud.conftest import Store as JumpcloudStore
from tests.storage.ldap.conftest import Place, make_place

DATES = ("never", "before", "beyond", "last", "third-century", "number-dates")
USER_1, USER_2 = Member("1", "User", "Ann"), Member("2", "User", "Bob")
GROUP_1 = Member("1", "Group", "Crew")
TEXTS = {"good": json.dumps(GOOD), **wrong_texts()}


@pytest.fixture
def sql_server(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return SqliteFolder(tmp_path) if request.param == "sqlite" else request.getfixturevalue(request.param)


def test_what_is_wrong_is_named_by_attribute() -> None:
    reader = ForeignReader(USER)

    problems = {name: reader.read(document).problems for name, document in wrong_documents().items()}

    assert problems["never"] == problems["last"] == problems["third-century"] == []
    assert [p.partition(":")[0] for p in problems["number-dates"]] == ["meta.created", "meta.lastModified"]
    assert [p.partition(":")[0] for p in problems["before"]] == ["meta.created", "meta.lastModified"]
    assert [p.partition(":")[0] for p in problems["deep"]] == ["own"]
    assert [p.partition(":")[0] for p in problems["meta-text"]] == ["meta"]


@pytest.mark.parametrize(
    ("elements", "members"),
    [
        ([{"value": "1"}, "2", {"value": 3}], {("", "1"): None, ("", "2"): None}),
        ([{"value": "1", "type": "USER", "display": "A"}], {("User", "1"): "A"}),
        ([{"value": "1", "type": "direct"}, {"value": "2", "type": 5}], {("", "1"): None, ("", "2"): None}),
        (
            [{"value": "1", "type": "User"}, {"value": "1", "type": "Group"}],
            {("User", "1"): None, ("Group", "1"): None},
        ),
        ([{"value": "1"}, {"value": "1", "type": "Group"}, {"value": "1"}], {("Group", "1"): None}),
    ],
)
def test_members_are_known_by_type_and_id(elements: list[Any], members: dict[Any, Any]) -> None:
    assert ForeignReader(GROUP).read({"displayName": "g", "members": elements}).members == members


@pytest.mark.parametrize(
    ("members", "joining"),
    [
        ({("", "1"): None}, [USER_1]),
        ({("Group", "1"): "Team"}, [replace(GROUP_1, display="Team")]),
        ({("Group", "1"): None, ("User", "1"): "Babs"}, [GROUP_1, replace(USER_1, display="Babs")]),
        ({("User", "9"): None, ("", "8"): None}, []),
        # A type that is wrong says nothing, and takes nobody's place.
        ({("Group", "2"): "B"}, [replace(USER_2, display="B")]),
        ({("Group", "2"): "B", ("User", "2"): None}, [USER_2]),
    ],
)
def test_those_join_for_good_that_are_there(members: dict[Any, Any], joining: list[Member]) -> None:
    assert adopted(members, [USER_1, USER_2, GROUP_1]) == joining


@pytest.mark.parametrize("name", DATES)
def test_any_date_in_a_file_is_served(name: str, tmp_path: Path) -> None:
    users = tmp_path / "Users"
    users.mkdir()
    (users / "x").write_text(TEXTS[name])
    # A clock that was wrong when the file was written.
    os.utime(users / "x", (2**33, -(2**33)))
    environ = {"API_KEY": KEY, "DATA_PATH": str(tmp_path), "LOGLEVEL": "WARNING"}
    app = create_app(Settings.from_env(environ))
    scim = ScimClient(app.test_client())

    shown = scim("GET", "/Users/x").json["meta"]

    assert scim("GET", "/health/ready").status_code == 200
    assert all(len(shown[date]) == len("0001-01-01T00:00:00.000Z") for date in ("created", "lastModified"))
    assert scim.names(f'meta.created eq "{shown["created"]}"') == [name]
    assert scim.names('meta.created ge "0001-01-01T00:00:00Z" and meta.lastModified pr') == [name]
    app.extensions["scim.storage"].close()


def test_files_of_every_wrong_shape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = tmp_path / "Users"
    users.mkdir()
    for name, text in TEXTS.items():
        (users / f"id-{name}").write_text(text)
    # What was written just now may still be changing: it would be read, and named, again.
    time.sleep(0.1)

    for _ in range(2):
        adapter = open_backend("files", data_path=tmp_path)
        adapter.prepare(REGISTRY.resource_types)
        check_served(adapter, ["good", *DATES, "meta-list"])
        adapter.close()

    assert caplog.text.count("id-number-dates: meta.created") == 1


@pytest.mark.parametrize("sql_server", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_rows_of_every_wrong_shape(
    sql_server: PostgresqlServer | MariadbServer | SqliteFolder, caplog: pytest.LogCaptureFixture
) -> None:
    url, table = sql_server.new_database(), f"{sql_server.quote}Users{sql_server.quote}"
    sql_server.execute(url, f"CREATE TABLE {table} (id VARCHAR(255) NOT NULL PRIMARY KEY, details JSON)")
    held = 0
    for name, text in TEXTS.items():
        quoted = text.replace("'", "''").replace("\\", "\\\\" if sql_server.quote == "`" else "\\")
        try:
            sql_server.execute(url, f"INSERT INTO {table} (id, details) VALUES ('id-{name}', '{quoted}')")
            held += 1
        except Exception as refusal:
            # What is no JSON is none to most databases either.
            no_json = "nan half none deep deeper surrogate far huge not-json".split()
            assert name in no_json, refusal

    for _ in range(2):
        adapter = open_backend("sql", database_url=url)
        adapter.prepare(REGISTRY.resource_types)
        check_served(adapter, ["good", *DATES, "meta-list"])
        adapter.close()

    assert held > 30
    assert caplog.text.count("id-number-dates: meta.created") == 1


@pytest.mark.parametrize("sql_server", ["sqlite"], indirect=True)
def test_rows_that_were_changed_after_they_were_taken_over(sql_server: SqliteFolder) -> None:
    url = sql_server.new_database()
    adapter = open_backend("sql", database_url=url)
    adapter.prepare(REGISTRY.resource_types)
    adapter.create(USER, stored("good", **GOOD))
    for name, document in wrong_documents().items():
        adapter.create(USER, stored(name, userName=name))
        text = json.dumps({"id": name, **document}).replace("'", "''")
        if name != "deep":
            sql_server.execute(url, f"UPDATE \"Users\" SET details = '{text}' WHERE id = '{name}'")

    check_served(adapter, ["good"])
    adapter.close()
    # Everything is indexed again.
    sql_server.execute(url, "UPDATE scim_path SET ready = 0")
    sql_server.execute(url, "DELETE FROM scim_attribute")
    adapter = open_backend("sql", database_url=url)
    adapter.prepare(REGISTRY.resource_types)

    check_served(adapter, ["good"])
    adapter.close()


def test_documents_of_mongodb_of_every_wrong_shape(mongodb: MongodbServer) -> None:
    import bson

    store = MongoStore(mongodb)
    for name, document in {"good": GOOD, **wrong_documents()}.items():
        if name not in ("not-json", "deep"):
            store.documents.Users.insert_one({"_id": f"id-{name}", **document})
    store.adapter.prepare(REGISTRY.resource_types)

    check_served(store.adapter, ["good", *DATES, "meta-list"])
    foreign = [bson.ObjectId(), bson.Decimal128("1.5"), bson.Decimal128("NaN"), bson.DatetimeMS(2**60)]
    for number, value in enumerate([*foreign, float("nan"), "x", 5, [1, None], {"value": 1}]):
        store.adapter.create(USER, stored(f"own{number}", userName=f"own{number}"))
        change = {"$set": {"own": value, "emails": value, "title": value, "schemas": value}}
        store.documents.Users.update_one({"_id": f"own{number}"}, change)
        check_served(store.adapter, ["good", f"own{number}"])
    store.adapter.close()


def test_the_private_part_of_a_document_of_mongodb_that_was_damaged(mongodb: MongodbServer) -> None:
    store = MongoStore(mongodb)
    store.adapter.create(USER, stored("good", **GOOD))
    for damage in ({"secrets": "x"}, {"claims": 5}, {"claims": [{"id": 5}]}, {"display": 5}):
        store.adapter.create(USER, stored("own", userName="own"))
        change = {"$set": {f"_scim.{name}": value for name, value in damage.items()}}
        store.documents.Users.update_one({"_id": "own"}, change)

        check_served(store.adapter, ["good", "own"])
        store.documents.Users.delete_one({"_id": "own"})
        store.documents.scim_unique.delete_many({"owner": "own"})
    store.adapter.close()


@pytest.fixture
def place(ldap: LdapServer) -> Iterator[Place]:
    place = make_place(ldap)
    yield place
    place.adapter.close()


def test_entries_of_every_wrong_shape(place: Place) -> None:
    for name, text in TEXTS.items():
        more = {"uid": [b"good"]} if name == "good" else {}
        classes = {"objectClass": [b"document", b"extensibleObject"]}
        classes["documentIdentifier"] = [name.encode()]
        if text:
            place.add(f"cn=id-{name},ou=Users", **classes, info=[text.encode()], **more)

    check_served(place.another(), ["good", *DATES, "meta-list"])


@pytest.mark.parametrize(
    "damage",
    [
        {"created": "yesterday"},
        {"created": 5},
        {"document": 5},
        {"document": {}},
        {"document": {"id": 5}},
        {"document": {"id": "own", "userName": 5, "emails": "x"}},
        {"standard": []},
        {"standard": {"uid": 5}},
        {"secrets": 5},
    ],
)
def test_the_json_of_an_entry_that_was_damaged(place: Place, damage: dict[str, Any]) -> None:
    place.adapter.create(USER, stored("good", **GOOD))
    place.adapter.create(USER, stored("own", userName="own"))
    attribute = place.adapter._tree.units["User"].layout.data
    entry = place.entry("(uid=own)")
    envelope = {**json.loads(entry[attribute][0]), **damage}
    text = json.dumps(envelope, separators=(",", ":")).encode()
    place.change(entry["dn"][0], (ldap.MOD_REPLACE, attribute, [text]))

    check_served(place.adapter, ["good"])


def test_resources_of_an_upstream_of_every_wrong_shape() -> None:
    for name, document in wrong_documents().items():
        listed = [{"id": name, **document}, {"id": "good", **GOOD}]
        answers = {"totalResults": 2, "startIndex": 1, "Resources": listed}
        by_id = {one["id"]: answering("200 OK", json.dumps(one).encode()) for one in listed}
        every = answering("200 OK", json.dumps(answers).encode())

        def answer(connection: Any, request: bytes, by_id: Any = by_id, every: Any = every) -> None:
            path = request.split(b" ")[1].decode().partition("?")[0]
            nothing = answering("200 OK", b'{"totalResults": 0, "Resources": []}')
            known = {"/Users": every, **{f"/Users/{key}": found for key, found in by_id.items()}}
            known["/ServiceProviderConfig"] = answering("200 OK", b'{"filter": {"supported": false}}')
            known.get(path, nothing)(connection, request)

        with HostileServer(answer) as server:
            adapter = open_backend("forward", forward_scim_url=server.url, forward_scim_key="k")
            adapter.prepare(REGISTRY.resource_types)
            check_served(adapter, ["good"])
            adapter.close()


@pytest.fixture
def organisation(jumpcloud: Any) -> Iterator[JumpcloudStore]:
    store = JumpcloudStore(jumpcloud, jumpcloud.new_database())
    yield store
    store.adapter.close()


@pytest.mark.parametrize(
    "kept",
    [
        Remainder(created="0001-01-01T00:00:00Z", last_modified="x"),
        Remainder(created="yesterday"),
        Remainder(rest={"emails": "x", "meta": 1, "userName": 5, "name": []}),
        Remainder(rest={"schemas": 5}),
        Remainder(rest={"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": 5}),
        Remainder(rest={"phoneNumbers": [5, None], "addresses": [5]}),
    ],
)
def test_what_is_kept_in_jumpcloud_that_was_damaged(organisation: JumpcloudStore, kept: Remainder) -> None:
    organisation.adapter.create(USER, stored("1", **GOOD))
    own = organisation.adapter.create(USER, stored("2", userName="own"))
    live = organisation.organisation.users[own.id]
    live["attributes"] = [{"name": name, "value": text} for name, text in kept.pieces().items()]

    check_served(organisation.adapter, ["good"])
    assert organisation.adapter.get(USER, own.id).created[:2] in ("00", "20")


def test_users_of_jumpcloud_of_every_wrong_shape(organisation: JumpcloudStore) -> None:
    organisation.adapter.create(USER, stored("1", **GOOD))
    own = organisation.adapter.create(USER, stored("2", userName="own"))
    live = organisation.organisation.users[own.id]
    whole = json.dumps(live)
    for text in wrong_texts().values():
        live["attributes"] = [{"name": "details", "value": text}]
        check_served(organisation.adapter, ["good"])
    for field in [*json.loads(whole), "created", "ssh_keys"]:
        for value in (None, 5, [], {}, [None, 5, ["x"], {"a": 1}], "0001-01-01T00:00:00Z"):
            live.update(json.loads(whole))
            live[field] = value if field not in ("_id", "id") else live[field]
            organisation.adapter.get(USER, own.id)
            list(organisation.adapter.scan(USER))
        live.pop(field)
        live.update(json.loads(whole))


def test_metadata_of_irods_of_every_wrong_shape(irods: Any) -> None:
    from irods.meta import iRODSMeta

    store = IrodsStore(irods)
    create(store.adapter, USER, **GOOD)
    own = create(store.adapter, USER, userName="own")
    [before] = [avu for avu in store.metadata(own.id) if avu[0] == "scim.document"]
    kept = json.loads(before[1])
    dates = [{"created": c, "lastModified": c} for c in ("0001-01-01T00:00:00Z", "yesterday", 5, None)]
    wrong = [{"resource": document} for name, document in wrong_documents().items() if name != "deep"]
    with store.session() as session:
        metadata = session.users.get(store.account_of(own.id)).metadata
        for damage in [*dates, {"resource": 5}, {"resource": {}}, *wrong]:
            text = json.dumps({**kept, **damage}, separators=(",", ":")).replace("\\u0000", "")
            [now] = [avu for avu in store.metadata(own.id) if avu[0] == "scim.document"]
            metadata.remove(iRODSMeta(*now))
            metadata.add(iRODSMeta("scim.document", text, before[2]))

            check_served(store.adapter, ["good"])
            assert store.adapter.get(USER, own.id).created[:2] in ("00", "03", "19", "20", "99")
    store.adapter.close()


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_documents_under_the_usual_name_are_warned_of_where_another_name_is_set(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.dumps({"id": "a", "userName": "a"})
    path = tmp_path / "x.db"
    if kind == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.execute('CREATE TABLE "Users" (id TEXT PRIMARY KEY, details JSON)')
            connection.execute('INSERT INTO "Users" VALUES (?, ?)', ("a", document))
        connection.close()
    else:
        (tmp_path / "Users").mkdir()
        (tmp_path / "Users" / "a").write_text(document)

    def started(**names: str) -> list[str]:
        settings = {"database_url": f"sqlite:///{path}"} if kind == "sqlite" else {"data_path": tmp_path}
        adapter = open_backend("sql" if kind == "sqlite" else "files", **settings, **names)
        adapter.prepare(REGISTRY.resource_types)
        adapter.close()
        return [one.getMessage() for one in caplog.records if "not served" in one.getMessage()]

    (said,) = started(user_model_name="people", group_model_name="teams")

    assert "people" in said and "Users" in said and "USER_MODEL_NAME" in said


def test_no_document_under_the_usual_name_is_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "Users").mkdir()
    adapter = open_backend("files", data_path=tmp_path, user_model_name="people")
    adapter.prepare(REGISTRY.resource_types)
    adapter.close()

    assert "not served" not in caplog.text
