"""The address of a database leads to a server that can only be read, and then to the other one again."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.errors import Contention, StorageReadOnly
from storage.sql.opening import open_database
from storage.sql.pool import LONGEST_AGE_S
from tests.conftest import KEY, ScimClient, error_of
from tests.servers import MariadbServer, PostgresqlServer, PostgresqlStandby
from tests.switching import SwitchingProxy

Open = Callable[..., ScimClient]


@dataclass
class Pair:
    """A primary and a standby with the tables of the server, at the URL of the one; `{port}` is the port."""

    primary: int
    standby: int
    url: str
    # Waits until the standby shows what the primary shows.
    catch_up: Callable[[], object]


@pytest.fixture(scope="module")
def postgresql_pair() -> Iterator[Pair]:
    primary = PostgresqlServer()
    try:
        url = primary.new_database()
        standby = PostgresqlStandby(primary)
        try:
            yield Pair(primary.port, standby.port, url.replace(str(primary.port), "{port}"), standby.catch_up)
        finally:
            standby.remove()
    finally:
        primary.remove()


def make_tables(url: str) -> None:
    environ = {"API_KEY": KEY, "LOGLEVEL": "CRITICAL", "EMBEDDED_WORKER": "false", "DATABASE_URL": url}
    app = create_app(Settings.from_env(environ))
    app.extensions["scim.delivery"].database.close()
    app.extensions["scim.storage"].close()


@pytest.fixture(scope="module")
def mariadb_pair() -> Iterator[Pair]:
    servers = [MariadbServer()]
    try:
        servers.append(MariadbServer())
        for server in servers:
            name = server.new_database().rpartition("/")[2]
            server.execute("mysql", f"GRANT ALL ON {name}.* TO writer@'%' IDENTIFIED BY 'w'")
        url = f"mysql://writer:w@127.0.0.1:{{port}}/{name}"
        make_tables(url.format(port=servers[1].port))
        servers[1].execute("mysql", "SET GLOBAL read_only = 1")
        yield Pair(servers[0].port, servers[1].port, url, lambda: None)
    finally:
        for server in servers:
            server.remove()


@pytest.fixture(params=["postgresql_pair", "mariadb_pair"])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(pair: Pair) -> Iterator[SwitchingProxy]:
    proxy = SwitchingProxy(pair.primary)
    yield proxy
    proxy.close()
    proxy.cut()


@pytest.fixture
def open_scim() -> Iterator[Open]:
    apps: list[Any] = []

    def opened(url: str) -> ScimClient:
        environ = {"API_KEY": KEY, "LOGLEVEL": "CRITICAL", "EMBEDDED_WORKER": "false"}
        apps.append(create_app(Settings.from_env({**environ, "DATABASE_URL": url})))
        return ScimClient(apps[-1].test_client())

    yield opened
    for app in apps:
        app.extensions["scim.delivery"].database.close()
        app.extensions["scim.storage"].close()


def test_writes_go_on_when_the_address_leads_to_the_primary_again(
    pair: Pair, proxy: SwitchingProxy, open_scim: Open
) -> None:
    scim = open_scim(pair.url.format(port=proxy.port))
    before = scim.user("before")["id"]

    pair.catch_up()
    proxy.lead_to(pair.standby)
    proxy.cut()
    error_of(scim("POST", "/Users", {"userName": "refused"}), 403)
    error_of(scim("GET", "/health/writable"), 503)
    assert scim("GET", "/Users").status_code == 200
    assert scim("GET", "/health/ready").status_code == 200

    proxy.lead_to(pair.primary)
    scim.user("after")
    # /health/writable repeats what it has found for a few seconds.
    scim.app.extensions["scim.storage"].check_writable()
    assert sorted(scim.names("userName pr")) == ["after", "before"]
    assert scim("DELETE", f"/Users/{before}").status_code == 204


def test_what_is_asked_first_at_the_primary_again_need_not_be_a_write_of_a_client(
    pair: Pair, proxy: SwitchingProxy, open_scim: Open
) -> None:
    scim = open_scim(pair.url.format(port=proxy.port))
    pair.catch_up()
    proxy.lead_to(pair.standby)
    proxy.cut()
    assert scim("GET", "/Users").status_code == 200

    proxy.lead_to(pair.primary)

    assert scim("GET", "/health/writable").status_code == 200


def test_a_transaction_is_to_be_repeated_once_on_a_new_connection(
    pair: Pair, proxy: SwitchingProxy
) -> None:
    url = pair.url.format(port=proxy.port)
    make_tables(url)
    database = open_database(url)

    def write() -> None:
        with database.transaction():
            database.run("UPDATE scim_layout SET version = version")

    pair.catch_up()
    proxy.lead_to(pair.standby)
    assert database.row("SELECT 1")[0] == 1
    with pytest.raises(Contention):
        write()
    with pytest.raises(StorageReadOnly):
        write()
    assert database.row("SELECT 1")[0] == 1
    proxy.lead_to(pair.primary)
    with pytest.raises(Contention):
        write()
    write()
    database.close()


def test_of_several_hosts_the_one_that_can_be_written_is_used(
    postgresql_pair: Pair, open_scim: Open
) -> None:
    hosts = f"{postgresql_pair.standby},127.0.0.1:{postgresql_pair.primary}"

    scim = open_scim(f"{postgresql_pair.url.format(port=hosts)}?target_session_attrs=read-write")

    user = scim.user("ann")
    assert scim("DELETE", f"/Users/{user['id']}").status_code == 204


def test_the_driver_gets_options_of_its_types(postgresql: PostgresqlServer, open_scim: Open) -> None:
    scim = open_scim(f"{postgresql.new_database()}?prepare_threshold=0&connect_timeout=7&keepalives=1")

    assert scim.user("ann")["userName"] == "ann"


def test_a_connection_is_closed_when_it_is_old(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(postgresql.new_database())
    (first,) = database.row("SELECT pg_backend_pid()")
    assert database.row("SELECT pg_backend_pid()")[0] == first

    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + LONGEST_AGE_S + 1)

    assert database.row("SELECT pg_backend_pid()")[0] != first
    database.close()
