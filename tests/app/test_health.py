"""What the service says of itself when its storage can be read and not be written."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.configuration.settings import Settings
from app.edge import remembered
from tests.conftest import KEY, ScimClient, error_of
from tests.mongodb import MongodbServer
from tests.openldap import ADMIN, SUFFIX, LdapServer
from tests.servers import MariadbServer, PostgresqlServer


@pytest.fixture(autouse=True)
def outcomes_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "REMEMBERED_S", 0.0)


@pytest.fixture
def open_scim() -> Iterator[Callable[..., ScimClient]]:
    """Return a function that opens a service on what the variables name."""
    apps = []

    def make(**environ: str) -> ScimClient:
        environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "EMBEDDED_WORKER": "false", **environ}
        apps.append(create_app(Settings.from_env(environ)))
        return ScimClient(apps[-1].test_client())

    yield make
    for app in apps:
        app.extensions["scim.storage"].close()


def figure(scim: ScimClient) -> float:
    return scim.figures()["scim_storage_writable"]


def read(scim: ScimClient) -> list[str]:
    assert scim("GET", "/health/ready").status_code == 200
    return scim.names("userName pr")


def test_a_storage_that_takes_changes_says_so(scim: ScimClient) -> None:
    assert scim("GET", "/health/writable", headers={"Authorization": ""}).json == {"status": "OK"}
    assert figure(scim) == 1


def test_a_read_only_mount_is_read_and_refuses(
    tmp_path: Path, open_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid():
        pytest.skip("only root can mount")
    folder = tmp_path / "data"
    environ = {"DATA_PATH": str(folder), "STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db"}
    open_scim(**environ).user("a")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        with caplog.at_level("WARNING"):
            scim = open_scim(**environ | {"LOGLEVEL": "WARNING"})

        assert read(scim) == ["a"]
        error_of(scim("POST", "/Users", {"userName": "b"}), 403)
        assert error_of(scim("GET", "/health/writable"), 503)
        assert figure(scim) == 0
        assert "the storage is read-only" in caplog.text
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_read_only_mount_without_a_state_database_is_read(
    tmp_path: Path, open_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid():
        pytest.skip("only root can mount")
    folder = tmp_path / "data"
    # As release 0.2.0 left it, which kept no change log.
    open_scim(DATA_PATH=str(folder), CHANGE_LOG="off").user("a")
    assert not (folder / ".state.db").exists()
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        with caplog.at_level("WARNING"):
            scim = open_scim(DATA_PATH=str(folder), LOGLEVEL="WARNING")

        assert read(scim) == ["a"]
        error_of(scim("POST", "/Users", {"userName": "b"}), 403)
        assert "the server keeps no change log" in caplog.text
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_read_and_says_to_try_again(
    tmp_path: Path, open_scim: Callable[..., ScimClient], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("only root can make a disk that is full")
    environ = {"DATA_PATH": str(folder), "STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db"}
    try:
        open_scim(**environ).user("a")
        with pytest.raises(OSError), (folder / "filler").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        scim = open_scim(**environ)

        assert read(scim) == ["a"]
        refused = scim("POST", "/Users", {"userName": "b"})
        error_of(refused, 503)
        assert int(refused.headers["Retry-After"]) > 0
        assert int(scim("GET", "/health/writable").headers["Retry-After"]) > 0
        assert figure(scim) == 0
        assert read(scim) == ["a"]
        assert "THE STORAGE CANNOT BE WRITTEN" in caplog.text
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_database_that_is_read_only_is_read_and_refuses(
    postgresql: PostgresqlServer, open_scim: Callable[..., ScimClient]
) -> None:
    url = postgresql.new_database()
    scim = open_scim(DATABASE_URL=url)
    scim.user("a")
    name = url.rpartition("/")[2]
    postgresql.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    scim.app.extensions["scim.storage"].close()

    assert read(scim) == ["a"]
    error_of(scim("POST", "/Users", {"userName": "b"}), 403)
    error_of(scim("GET", "/health/writable"), 503)
    assert figure(scim) == 0


def test_a_database_of_mariadb_that_is_read_only_is_read_and_refuses(
    mariadb: MariadbServer, open_scim: Callable[..., ScimClient]
) -> None:
    url = mariadb.new_database()
    name = url.rpartition("/")[2]
    mariadb.execute("mysql", f"GRANT ALL ON {name}.* TO reader@'%' IDENTIFIED BY 'r'")
    scim = open_scim(DATABASE_URL=url.replace("root@", "reader:r@"))
    scim.user("a")
    mariadb.execute("mysql", "SET GLOBAL read_only = 1")
    try:
        assert read(scim) == ["a"]
        assert_refused(scim, 403)
    finally:
        mariadb.execute("mysql", "SET GLOBAL read_only = 0")


def assert_refused(scim: ScimClient, status: int) -> None:
    """Assert that no change is taken, what it is answered with, and that the service says so."""
    path = "/Users/" + scim("GET", "/Users").json["Resources"][0]["id"]
    change = {"op": "replace", "path": "title", "value": "x"}
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [change]}
    for answer in (
        scim("POST", "/Users", {"userName": "b"}),
        scim("PUT", path, {"userName": "c"}),
        scim("PATCH", path, patch),
        scim("DELETE", path),
    ):
        error_of(answer, status)
        assert ("Retry-After" in answer.headers) == (status == 503)
    error_of(scim("GET", "/health/writable"), 503)
    assert figure(scim) == 0


@pytest.mark.parametrize("how", ["readonly on", "syncrepl"])
def test_a_directory_that_is_read_only_is_read_and_refuses(
    how: str, open_scim: Callable[..., ScimClient]
) -> None:
    server = LdapServer(modules=["syncprov"])
    try:
        base = server.new_database()
        open_scim(**server.environ(base)).user("a")
        server.stop()
        consumer = [
            f'syncrepl rid=1 provider=ldap://127.0.0.1:1 searchbase="{SUFFIX}" retry="60 +" '
            "type=refreshAndPersist "
            f'bindmethod=simple binddn="{ADMIN}" credentials=x',
            "updateref ldap://127.0.0.1:1",
        ]
        server.configure(consumer if how == "syncrepl" else [how])
        server.restart()

        scim = open_scim(**server.environ(base))

        assert read(scim) == ["a"]
        assert_refused(scim, 403)
    finally:
        server.remove()


def test_a_backend_that_is_down_is_not_writable(
    open_scim: Callable[..., ScimClient], backend_of: str
) -> None:
    servers: dict[str, Callable[[], Any]] = {"ldap": LdapServer, "mongodb": MongodbServer}
    server = servers[backend_of]()
    try:
        scim = open_scim(**server.environ(server.new_database()))
        scim.user("a")
        assert scim("GET", "/health/writable").status_code == 200
        assert figure(scim) == 1
        server.stop()

        answer = scim("GET", "/health/writable")
        error_of(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert figure(scim) == 0
        error_of(scim("POST", "/Users", {"userName": "b"}), 503)
    finally:
        server.remove()


@pytest.fixture(params=["ldap", "mongodb"])
def backend_of(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    "variables",
    [
        {"FORWARD_SCIM_URL": "http://127.0.0.1:1", "FORWARD_SCIM_KEY": "k"},
        {"JUMPCLOUD_URL": "http://127.0.0.1:1", "JUMPCLOUD_KEY": "k"},
    ],
)
def test_a_service_that_cannot_be_reached_is_not_writable(
    variables: dict[str, str], open_scim: Callable[..., ScimClient]
) -> None:
    scim = open_scim(**variables)

    answer = scim("GET", "/health/writable")

    error_of(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert figure(scim) == 0
