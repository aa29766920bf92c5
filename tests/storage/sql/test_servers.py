"""Database servers that go away and come back, pools, forks, and writers that get in each other's way."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, Selection, StorageAdapter
from storage.errors import Contention, StorageUnavailable
from storage.search import search
from storage.sql.opening import open_database
from storage.testing import GROUP, REGISTRY, USER, change_members, members_of, represent, stored
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient, Server, error_of
from tests.ports import free_port
from tests.servers import MariadbServer, PostgresqlServer

DatabaseServer = PostgresqlServer | MariadbServer

ELSEWHERE = {PostgresqlServer: "postgres", MariadbServer: "mysql"}
SESSIONS = {
    PostgresqlServer: "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
    MariadbServer: "SELECT id FROM information_schema.processlist "
    "WHERE db = '{}' AND id <> CONNECTION_ID()",
}


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    found: DatabaseServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module", params=[PostgresqlServer, MariadbServer])
def own_server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server that a test may stop."""
    found = request.param()
    yield found
    found.remove()


@pytest.fixture
def adapter(server: DatabaseServer) -> Iterator[StorageAdapter]:
    adapter = open_backend("sql", database_url=server.new_database(), database_pool_size=2)
    adapter.prepare(REGISTRY.resource_types)
    yield adapter
    adapter.close()


def sessions(server: DatabaseServer, url: str) -> int:
    """Return how many connections there are to a database; the one that asks is to another."""
    name = url.rpartition("/")[2]
    return len(server.execute(ELSEWHERE[type(server)], SESSIONS[type(server)].format(name)))


# -- coming and going


def test_a_database_that_goes_away_is_unavailable_until_it_is_back(own_server: DatabaseServer) -> None:
    app = create_app(
        Settings.from_env(
            {"API_KEY": KEY, "DATABASE_URL": own_server.new_database(), "LOGLEVEL": "CRITICAL"}
        )
    )
    scim = ScimClient(app.test_client())
    path = scim.user("ann")["meta"]["location"]

    own_server.stop()
    try:
        for method in ("GET", "DELETE", "PUT"):
            answer = scim(method, path, {"userName": "x"} if method == "PUT" else None)
            assert "again" in error_of(answer, 503)
            assert int(answer.headers["Retry-After"]) > 0
        error_of(scim("POST", "/Users", {"userName": "bob"}), 503)
        error_of(scim("GET", "/health/ready"), 503)
        assert scim("GET", "/health").status_code == 200
    finally:
        own_server.restart()

    assert scim("GET", path).json["userName"] == "ann"
    assert scim("GET", "/health/ready").status_code == 200
    scim.user("bob")
    assert scim.names('userName sw "b"') == ["bob"]
    app.extensions["scim.storage"].close()


def test_nobody_sees_a_restart_between_two_requests(own_server: DatabaseServer) -> None:
    adapter = open_backend("sql", database_url=own_server.new_database())
    adapter.prepare(REGISTRY.resource_types)
    adapter.create(USER, stored("1", userName="a"))

    for change in ("read", "write"):
        own_server.stop()
        own_server.restart()
        if change == "read":
            assert adapter.get(USER, "1").document["userName"] == "a"
        else:
            adapter.replace(USER, stored("1", userName="b"))
    assert adapter.get(USER, "1").document["userName"] == "b"
    adapter.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda adapter: adapter.check(),
        lambda adapter: adapter.get(USER, "1"),
        lambda adapter: adapter.create(USER, stored("2", userName="b")),
        lambda adapter: adapter.create_many(USER, [stored("2", userName="b")]),
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
    server: DatabaseServer, call: Callable[[StorageAdapter], object]
) -> None:
    url = server.new_database()
    adapter = open_backend("sql", database_url=url)
    adapter.prepare(REGISTRY.resource_types)
    tables = ("member", "lacking", "attribute", "unique", "resource", "count")
    server.execute(url, *(f"DROP TABLE scim_{table} CASCADE" for table in tables))

    with pytest.raises(StorageUnavailable):
        call(adapter)
    adapter.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://scim:hush@127.0.0.1:{port}/x", "postgresql://127.0.0.1:{port}/x cannot be reached"),
        ("mysql://scim:hush@127.0.0.1:{port}/x", "mysql://127.0.0.1:{port}/x cannot be reached"),
        ("postgresql://scim:hush@127.0.0.1:{port}/x?nonsense=1", "nonsense"),
        ("mysql://scim:hush@127.0.0.1/x?nonsense=1", "DATABASE_URL: has the unknown option nonsense"),
        ("oracle://scim:hush@127.0.0.1/x", "DATABASE_URL: must begin with"),
        ("sqlite:////proc/nowhere/x.db", "the folder /proc/nowhere cannot be created"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_clear_line_at_the_start(url: str, said: str) -> None:
    port = str(free_port())
    scim = Path(sys.executable).parent / "scim"
    environ = {"DATABASE_URL": url.format(port=port), "LOGLEVEL": "CRITICAL", "PORT": str(free_port())}

    ended = subprocess.run([scim, "serve"], env=environ, capture_output=True, text=True, timeout=60)

    (line,) = ended.stderr.splitlines()
    assert ended.returncode != 0
    assert said.format(port=port) in line
    assert "hush" not in line


def test_a_database_that_does_not_exist_is_said(server: DatabaseServer) -> None:
    missing = server.new_database().rpartition("/")[0] + "/missing"
    adapter = open_backend("sql", database_url=missing)

    with pytest.raises(StorageUnavailable, match="missing"):
        adapter.prepare(REGISTRY.resource_types)


def test_what_listens_but_does_not_answer_is_no_database() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for scheme in ("mysql", "postgresql"):
            adapter = open_backend("sql", database_url=f"{scheme}://u@127.0.0.1:{port}/x?connect_timeout=2")

            with pytest.raises(StorageUnavailable, match="cannot be reached"):
                adapter.prepare(REGISTRY.resource_types)


def test_a_file_of_certificates_that_is_none_is_said(mariadb: MariadbServer) -> None:
    adapter = open_backend("sql", database_url=f"{mariadb.new_database()}?ssl_ca={__file__}")

    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        adapter.prepare(REGISTRY.resource_types)


def test_a_password_may_have_any_characters(mariadb: MariadbServer) -> None:
    url = mariadb.new_database()
    name = url.rpartition("/")[2]
    grant = f"GRANT ALL ON {name}.* TO '{name}'@'%' IDENTIFIED BY 'g\u00e9h\u20ac\u00efm'"
    mariadb.execute(url, "SET NAMES utf8mb4", grant)
    named = f"mysql://{name}:g%C3%A9h%E2%82%AC%C3%AFm@127.0.0.1:{mariadb.port}/{name}"

    adapter = open_backend("sql", database_url=named)
    adapter.prepare(REGISTRY.resource_types)
    adapter.close()


# -- connections


def in_threads(work: Callable[[int], object], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_process_has_no_more_connections_than_it_may(server: DatabaseServer) -> None:
    url = server.new_database()
    adapter = open_backend("sql", database_url=url, database_pool_size=2)
    adapter.prepare(REGISTRY.resource_types)
    while sessions(server, url):
        # The server takes its time to notice that one has gone.
        time.sleep(0.02)
    adapter.create(GROUP, stored("g", displayName="G"))
    most, failures = [0], []

    def work(number: int) -> None:
        try:
            for step in range(10):
                name = f"{number}-{step}"
                with adapter.transaction():
                    adapter.create(USER, stored(name, userName=name))
                    change_members(adapter, "g", [Member(name, "User")], ())
                if number == 0:
                    most[0] = max(most[0], sessions(server, url))
        except Exception as exc:
            failures.append(exc)

    in_threads(work, 8)

    assert failures == []
    assert len(list(members_of(adapter, "g"))) == 80
    assert 0 < most[0] <= 2
    adapter.close()
    deadline = time.monotonic() + 60
    while sessions(server, url) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions(server, url) == 0


def test_a_child_leaves_the_connections_of_its_parent_alone(adapter: StorageAdapter) -> None:
    adapter.create(USER, stored("1", userName="a"))

    child = os.fork()
    if child == 0:
        status = 1
        try:
            adapter.replace(USER, stored("1", userName="b"))
            adapter.close()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert adapter.get(USER, "1").document["userName"] == "b"
    adapter.replace(USER, stored("1", userName="c"))


# -- writers in each other's way


def test_of_two_that_wait_for_each_other_one_is_told_to_try_again(adapter: StorageAdapter) -> None:
    for name in "ab":
        adapter.create(USER, stored(name, userName=name))
    both_have_one = threading.Barrier(2)
    outcomes: Counter[str] = Counter()

    def change(number: int) -> None:
        first, second = ("a", "b") if number else ("b", "a")
        try:
            with adapter.transaction():
                adapter.replace(USER, stored(first, userName=first, title=str(number)))
                both_have_one.wait(30)
                with adapter.savepoint():
                    adapter.replace(USER, stored(second, userName=second, title=str(number)))
            outcomes["done"] += 1
        except Contention:
            outcomes["undone"] += 1

    in_threads(change, 2)

    assert outcomes == {"done": 1, "undone": 1}
    titles = {adapter.get(USER, name).document["title"] for name in "ab"}
    assert len(titles) == 1
    adapter.replace(USER, stored("a", userName="a"))


@pytest.mark.parametrize(
    ("there", "definition"),
    [
        ("CREATE TABLE other (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)"),
        ("ALTER TABLE made ADD COLUMN more INT", "ALTER TABLE made ADD COLUMN more INT"),
        ("CREATE INDEX of_made ON made (value)", "CREATE INDEX of_made ON made (value)"),
        ("ALTER TABLE made DROP PRIMARY KEY, ADD PRIMARY KEY (value)", "ALTER TABLE made DROP INDEX gone"),
        ("INSERT INTO made (id, value) VALUES (1, 1)", "INSERT INTO made (id, value) VALUES (1, 1)"),
    ],
)
def test_a_definition_that_another_node_has_just_made_is_found_there(
    mariadb: MariadbServer, there: str, definition: str
) -> None:
    url = mariadb.new_database()
    mariadb.execute(url, "CREATE TABLE made (id INT PRIMARY KEY, value INT NOT NULL)")
    database = open_database(url)
    tries: list[bool] = []

    def work() -> str:
        tries.append(database.has_table("made"))
        if len(tries) == 1:
            # As at another node, whose processes do not wait for this one.
            mariadb.execute(url, there)
            database.run(definition)
        return "found"

    assert database.prepare(work) == "found"
    assert tries == [True, True]
    database.close()


def test_bulk_requests_that_cross_both_succeed(server: DatabaseServer) -> None:
    app = create_app(
        Settings.from_env({"API_KEY": KEY, "DATABASE_URL": server.new_database(), "LOGLEVEL": "ERROR"})
    )
    scim = ScimClient(app.test_client())
    users = [scim.user(f"u{number}")["id"] for number in range(40)]
    groups = [scim.group(name)["meta"]["location"] for name in "ab"]
    answers: list[Any] = []

    def bulk(number: int) -> None:
        client = ScimClient(app.test_client())
        for user in users[number::4]:
            operations = [
                {
                    "method": "PATCH",
                    "path": path,
                    "data": {
                        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                        "Operations": [{"op": "add", "path": "members", "value": [{"value": user}]}],
                    },
                }
                for path in (groups if number % 2 else groups[::-1])
            ]
            schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]
            answers.append(client("POST", "/Bulk", {"schemas": schemas, "Operations": operations}))

    in_threads(bulk, 4)

    assert Counter(answer.status_code for answer in answers) == {200: 40}
    assert {op["status"] for answer in answers for op in answer.json["Operations"]} == {"200"}
    for path in groups:
        assert len(scim("GET", path).json["members"]) == 40
    app.extensions["scim.storage"].close()


def test_of_fifty_creates_in_several_processes_one_wins(serve: Callable[..., Server]) -> None:
    servers = [serve(WORKERS="2", LOGLEVEL="ERROR") for _ in range(2)]
    statuses: Counter[int] = Counter()

    def create(number: int) -> None:
        body = {"userName": "same", "externalId": "same"}
        statuses[servers[number % 2]("POST", "/Users", json=body).status_code] += 1

    in_threads(create, 50)

    assert statuses == {201: 1, 409: 49}
    assert [server("GET", "/Users").json()["totalResults"] for server in servers] == [1, 1]


def test_users_leave_while_they_join(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="2", LOGLEVEL="ERROR")
    users = [server("POST", "/Users", json={"userName": f"u{n}"}).json()["id"] for n in range(30)]
    group = server("POST", "/Groups", json={"displayName": "g"}).json()["id"]
    statuses: Counter[tuple[str, int]] = Counter()

    def work(number: int) -> None:
        for user in users:
            if number:
                statuses["DELETE", server("DELETE", f"/Users/{user}").status_code] += 1
                continue
            operation = {"op": "add", "path": "members", "value": [{"value": user}]}
            body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]}
            statuses["PATCH", server("PATCH", f"/Groups/{group}", json=body).status_code] += 1

    in_threads(work, 2)

    assert statuses["DELETE", 204] == 30
    # Whoever had left already could not join any more.
    assert statuses["PATCH", 200] + statuses["PATCH", 400] == 30, statuses
    assert "members" not in server("GET", f"/Groups/{group}").json()
