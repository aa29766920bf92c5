"""What the pages in docs/reference/backends show can be run, and stores and finds what they say."""

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import KEY, ScimClient
from tests.docs.backend_pages import blocks, commands, example, section
from tests.fake_jumpcloud import FakeJumpcloudServer
from tests.mongodb import MongodbServer
from tests.openldap import ADMIN, PASSWORD, SUFFIX, LdapServer
from tests.ports import free_port
from tests.servers import MariadbServer, PostgresqlServer
from tests.upstream import UPSTREAM_KEY, UpstreamServer

Make = Callable[..., ScimClient]


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def created(scim: ScimClient, shown: dict[str, Any]) -> dict[str, Any]:
    """Create the user of a record that a page shows, and return it."""
    answer = scim("POST", "/Users", without(shown, "_id", "id", "meta"))
    assert answer.status_code == 201, answer.text
    user: dict[str, Any] = answer.json
    return user


# -- the quick start


@contextmanager
def started(command: str, folder: Path) -> Iterator[str]:
    """Run a command of a page in `folder` and yield the URL of the server, which is ended afterwards."""
    port = free_port()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **{"API_KEY": KEY, "HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "1"},
    }
    process = subprocess.Popen(["sh", "-c", command], cwd=folder, env=environ, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.parametrize("name", ["sql", "files"], ids=lambda name: f"{name}.md")
def test_the_quick_start_serves_and_stores_what_the_page_shows(name: str, tmp_path: Path) -> None:
    shown = example(name)

    with started(commands(section(name, "Quick start"))[0], tmp_path) as url:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/scim+json"}
        sent = json.dumps(without(shown, "id", "meta"))
        answer = requests.post(f"{url}/Users", data=sent, headers=headers, timeout=30)

    assert answer.status_code == 201, answer.text
    if name == "sql":
        stored = on_sqlite(tmp_path / "data" / "scim.db", "select details from Users")[0][0]
    else:
        read = commands(section(name, "What is stored where"))[0]
        stored = subprocess.check_output(["sh", "-c", read], cwd=tmp_path, text=True)
        same = r'"(id|created|lastModified|version)": "[^"]*"'
        block = blocks(section(name, "What is stored where"), "json")[0]
        assert re.sub(same, "", stored.strip()) == re.sub(same, "", block.strip())
    assert without(json.loads(stored), "id", "meta") == without(shown, "id", "meta")


# -- SQL


def on_sqlite(file: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement).fetchall()


@pytest.mark.on("sqlite", "postgresql", "mariadb")
def test_the_statements_of_the_page_read_the_tables(
    make_scim: Make, backend: Callable[[set[str]], dict[str, str]], request: pytest.FixtureRequest
) -> None:
    product, kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}, "sqlite"
    url = backend(set())["DATABASE_URL"]
    if not url.startswith("sqlite"):
        kind = "postgresql" if url.startswith("postgresql") else "mariadb"
    scim = make_scim()
    scim.group("Staff", scim.user("bjensen")["id"])

    found = {}
    for line in blocks(section("sql", "What is stored where"), "sql")[0].splitlines():
        statement, _, databases = line.partition(";")
        if product[kind] in databases:
            if kind == "sqlite":
                found[statement] = on_sqlite(Path(url.removeprefix("sqlite:///")), statement)
            else:
                found[statement] = request.getfixturevalue(kind).execute(url, statement)

    names, groups = found.values()
    assert [name for (name,) in names] == ["bjensen"]
    ((group,),) = groups
    group = json.loads(group) if isinstance(group, str) else group
    assert [member["display"] for member in group["members"]] == ["bjensen"]


def statements(administrator: str) -> list[str]:
    """Return the statements that prepare a database, for another name: `scim` exists in the tests."""
    text = section("sql", "Prepare the server").partition(f"As the administrator of {administrator}")[2]
    found = re.findall(r"^    (.*);$", text.partition("\n\n")[2].partition("\n\n")[0], re.MULTILINE)
    return [re.sub(r"\bscim\b", "prepared", statement) for statement in found]


def test_the_statements_for_postgresql_prepare_a_database(postgresql: PostgresqlServer) -> None:
    postgresql.execute("postgres", *statements("PostgreSQL"))
    try:
        assert_serves(f"postgresql://prepared:password@127.0.0.1:{postgresql.port}/prepared")
    finally:
        postgresql.execute("postgres", "drop database prepared with (force)", "drop role prepared")


def test_the_statements_for_mariadb_prepare_a_database(mariadb: MariadbServer) -> None:
    mariadb.execute("mysql", *statements("MariaDB"))
    try:
        assert_serves(f"mariadb://prepared:password@127.0.0.1:{mariadb.port}/prepared")
    finally:
        mariadb.execute("mysql", "drop database prepared", "drop user prepared")


def assert_serves(url: str) -> None:
    app = create_app(Settings.from_env({"API_KEY": KEY, "LOGLEVEL": "ERROR", "DATABASE_URL": url}))
    try:
        ScimClient(app.test_client()).user("bjensen")
    finally:
        app.extensions["scim.storage"].close()


# -- the other backends, by the tools of their own


@pytest.mark.on("mongodb")
def test_the_queries_of_the_page_find_documents(
    make_scim: Make, backend: Callable[[set[str]], dict[str, str]], mongodb: MongodbServer
) -> None:
    shown = example("mongodb")
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    created(make_scim(), {**shown, enterprise: {"department": "Tours"}})
    documents = mongodb.documents(backend(set())["MONGO_DB"])

    queries = blocks(section("mongodb", "What is stored where"), "js")[0].splitlines()
    found = []
    for query in queries:
        arguments = re.sub(r"([{,] ?)(\w+):", r'\1"\2":', query.removeprefix("db.Users.find")[1:-1])
        found.append(list(documents.Users.find(*json.loads(f"[{arguments}]"))))

    assert [[one["userName"] for one in some] for some in found] == [["bjensen"]] * 3
    stored = without(found[0][0], "_id", "schemas", enterprise.replace(".", "%2E"))
    assert stored == without(shown, "_id", "schemas")


def test_the_search_of_the_page_finds_the_entry_it_shows(on_ldap: ScimClient, ldap: LdapServer) -> None:
    created(on_ldap, example("sql"))
    text = section("ldap", "What is stored where")
    command = shlex.split(next(line for line in commands(text) if line.startswith("ldapsearch")))
    condition = next(n for n, word in enumerate(command) if word.startswith("("))
    connection = ldap.connect()

    entries = connection.search_s(
        command[command.index("-b") + 1], 2, command[condition], command[condition + 1 :]
    )

    connection.unbind_s()
    ((_, attributes),) = entries
    assert set(attributes) == set(command[condition + 1 :])
    for name, value in re.findall(r"^    (uid|cn|sn|mail|scimExternalId): (.*)$", text, re.MULTILINE):
        assert attributes[name] == [value.encode()]


@pytest.fixture
def on_ldap(ldap: LdapServer, tmp_path: Path) -> Iterator[ScimClient]:
    """A service on the base of the page, whose entries are removed at the end."""
    ldap.new_database()
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", **ldap.environ(SUFFIX)}
    app = create_app(Settings.from_env({**environ, "STATE_DATABASE_URL": f"sqlite:///{tmp_path}/s.db"}))
    yield ScimClient(app.test_client())
    app.extensions["scim.storage"].close()
    connection = ldap.connect(ADMIN, PASSWORD)
    for unit in ("Users", "Groups", "scim-unique"):
        for name, _ in reversed(connection.search_s(f"ou={unit},{SUFFIX}", 2)):
            connection.delete_s(name)
    connection.unbind_s()


def asked(command: str, environ: dict[str, str]) -> Any:
    """Return the JSON that a `curl` command of a page is answered with."""
    words = shlex.split(re.sub(r"\$(\w+)", lambda match: environ[match[1]], command))
    headers = dict([words[words.index("-H") + 1].split(": ", 1)])
    url = next(word for word in words if word.startswith("http"))
    params = [words[n + 1].split("=", 1) for n, word in enumerate(words) if word == "--data-urlencode"]
    sent = [(name, value) for name, value in params]
    return requests.get(url, params=sent, headers=headers, timeout=30).json()


@pytest.mark.on("jumpcloud")
def test_the_call_of_the_page_reads_a_user_of_jumpcloud(
    make_scim: Make, backend: Callable[[set[str]], dict[str, str]], jumpcloud: FakeJumpcloudServer
) -> None:
    environ = backend(set())
    created(make_scim(), example("sql"))

    command = next(line for line in commands(section("jumpcloud", "What is stored where")) if "curl" in line)
    (user,) = asked(command, environ)["results"]

    shown = blocks(section("jumpcloud", "What is stored where"), "json")[0]
    for name in ("username", "email", "external_dn"):
        assert f'"{name}": "{user[name]}"' in shown
    assert user["attributes"][0]["value"].startswith('{"rest":{"emails":[{"primary":true,"type":"work",')


@pytest.mark.on("forward")
def test_the_call_of_the_page_reads_a_user_of_the_upstream(
    make_scim: Make, backend: Callable[[set[str]], dict[str, str]], forward: UpstreamServer
) -> None:
    user = created(make_scim(), example("sql"))
    environ = {**backend(set()), "FORWARD_SCIM_KEY": UPSTREAM_KEY}

    command = next(line for line in commands(section("forward", "What is stored where")) if "curl" in line)

    assert [one["id"] for one in asked(command, environ)["Resources"]] == [user["id"]]
