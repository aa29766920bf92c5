"""Databases that cannot be written are read, also after a restart: SQLite files, and servers that say so."""

import logging
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from app import create_app
from app.configuration.settings import Settings
from app.edge import remembered
from storage.errors import StorageUnavailable
from storage.ownership import is_full
from storage.testing import REGISTRY, USER, stored
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient, error_of
from tests.servers import MariadbServer, PostgresqlServer
from tests.storage.files.conftest import in_child

Serve = Callable[..., ScimClient]

PATCH = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "add", "path": "title", "value": "x"}],
}


@pytest.fixture(autouse=True)
def outcomes_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "REMEMBERED_S", 0.0)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a service on a database; the one before ends."""
    apps = []

    def start(url: str, **environ: str) -> ScimClient:
        if apps:
            apps[-1].extensions["scim.storage"].close()
        # A thread that works beside requests would have a connection of its own.
        variables = {"API_KEY": KEY, "LOGLEVEL": "WARNING", "DATABASE_URL": url, "EMBEDDED_WORKER": "false"}
        variables |= environ
        apps.append(create_app(Settings.from_env(variables)))
        return ScimClient(apps[-1].test_client())

    yield start
    for app in apps:
        app.extensions["scim.storage"].close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("only root can make a disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Log nothing: pytest keeps what is logged, and errors hold connections that let nobody write."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def assert_is_read(scim: ScimClient, user: dict[str, object], status: int) -> None:
    """Assert that reads are as ever, and that every change is refused with `status`."""
    path = f"/Users/{user['id']}"
    for _ in range(2):
        assert scim("GET", "/health/ready").status_code == 200
        assert scim("GET", path).json == user
        assert scim.names("userName pr") == ["a"]
        changes = [
            scim("POST", "/Users", {"userName": "b"}),
            scim("PUT", path, {"userName": "c"}),
            scim("PATCH", path, PATCH),
            scim("DELETE", path),
        ]
        for answer in changes:
            assert "/" not in error_of(answer, status)
            assert ("Retry-After" in answer.headers) == (status == 503)
        error_of(scim("GET", "/health/writable"), 503)


def end(scim: ScimClient) -> None:
    """Give back all connections: the last one leaves no log behind."""
    scim.app.extensions["scim.storage"].close()


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


@pytest.mark.parametrize("events", [False, True])
def test_a_full_disk_is_read_also_after_a_restart(
    disk: Path, serve: Serve, unlogged: None, events: bool
) -> None:
    url = f"sqlite:///{disk}/scim.db"
    environ = {"SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false"} if events else {}
    first = serve(url, **environ)
    user = first.user("a")
    end(first)
    fill(disk)

    scim = serve(url, **environ)

    assert_is_read(scim, user, 503)
    (disk / "filler").unlink()
    scim.user("b")
    assert scim("GET", "/health/writable").status_code == 200


def test_the_start_says_that_a_disk_is_full(
    disk: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{disk}/scim.db"
    end(serve(url))
    fill(disk)

    serve(url)

    assert "THE STORAGE CANNOT BE WRITTEN" in caplog.text
    assert f"the disk of {disk} is full" in caplog.text


def test_a_disk_that_becomes_full_is_read(disk: Path, serve: Serve) -> None:
    scim = serve(f"sqlite:///{disk}/scim.db")
    user = scim.user("a")
    fill(disk)
    for number in range(200):
        # What is left of pages that are there already may take some more.
        if scim("POST", "/Users", {"userName": f"b{number}", "nickName": "n" * 9000}).status_code != 201:
            break

    error_of(scim("POST", "/Users", {"userName": "c", "nickName": "n" * 9000}), 503)
    listed = scim("GET", "/Users?count=0").json["totalResults"]

    assert listed == 1 + number
    assert scim("GET", f"/Users/{user['id']}").json == user


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_read_only_mount_is_read_also_after_a_restart(
    disk: Path, serve: Serve, caplog: pytest.LogCaptureFixture, is_clean: bool
) -> None:
    url = f"sqlite:///{disk}/scim.db"
    first = serve(url)
    user = first.user("a")
    if is_clean:
        end(first)
        assert not (disk / "scim.db-wal").exists()
    subprocess.run(["mount", "--bind", disk, disk], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", disk], check=True)
        if is_clean:
            scim = serve(url)
        else:
            # Its process lives, and may write where the mount is another one.
            app = create_app(Settings.from_env({"API_KEY": KEY, "DATABASE_URL": url}))
            scim = ScimClient(app.test_client())

        assert "the storage is read-only" in caplog.text
        assert_is_read(scim, user, 403)
        end(scim)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_url_can_ask_for_reading_alone(tmp_path: Path, serve: Serve) -> None:
    url = f"sqlite:///{tmp_path}/scim.db"
    user = serve(url).user("a")

    scim = serve(f"{url}?mode=ro")

    assert_is_read(scim, user, 403)
    assert not (tmp_path / "scim.db-queue").exists() or serve(url).user("b")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that others can come to; pytest keeps its own to itself."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name) / "data"


@pytest.mark.parametrize("has_log", [True, False])
def test_a_database_of_another_owner_is_read_where_its_mode_allows(
    public: Path, serve: Serve, caplog: pytest.LogCaptureFixture, has_log: bool
) -> None:
    url = f"sqlite:///{public}/scim.db"
    first = serve(url)
    user = first.user("a")
    if not has_log:
        end(first)
    public.chmod(0o755)
    for path in public.iterdir():
        path.chmod(0o644)

    def as_nobody() -> None:
        os.setuid(65534)
        scim = ScimClient(create_app(Settings.from_env({"API_KEY": KEY, "DATABASE_URL": url})).test_client())
        assert "THE STORAGE CANNOT BE WRITTEN" in caplog.text
        assert f"run chown -R 65534 {public}" in caplog.text
        assert_is_read(scim, user, 503)

    assert os.waitpid(in_child(as_nobody), 0)[1] == 0


def test_a_database_that_may_not_be_read_ends_the_start_with_what_helps(public: Path, serve: Serve) -> None:
    url = f"sqlite:///{public}/scim.db"
    end(serve(url))
    public.chmod(0o755)

    def as_nobody() -> None:
        os.setuid(65534)
        with pytest.raises(StorageUnavailable, match=f"run chown -R 65534 {public}"):
            create_app(Settings.from_env({"API_KEY": KEY, "DATABASE_URL": url}))

    assert os.waitpid(in_child(as_nobody), 0)[1] == 0


def test_tables_that_are_not_up_to_date_end_the_start(tmp_path: Path, serve: Serve) -> None:
    url = f"sqlite:///{tmp_path}/scim.db"
    end(serve(url))
    with closing(sqlite3.connect(tmp_path / "scim.db")) as other:
        other.execute("UPDATE scim_path SET ready = 0 WHERE path = 'userName'")
        other.commit()

    with pytest.raises(Exception, match="readonly"):
        serve(f"{url}?mode=ro")


def test_what_another_writes_while_a_file_is_taken_for_immutable_is_never_half_seen(
    public: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{public}/scim.db"
    writer = open_backend("sql", database_url=url)
    writer.prepare(REGISTRY.resource_types)
    writer.create(USER, stored("a", userName="a"))
    writer.close()
    public.chmod(0o755)
    (public / "scim.db").chmod(0o644)
    go, gone = os.pipe(), os.pipe()

    def as_nobody() -> None:
        os.setuid(65534)
        reader = open_backend("sql", database_url=url)
        reader.prepare(REGISTRY.resource_types)
        with pytest.raises(StorageUnavailable, match="was changed while it was read"):
            with reader.state_database.snapshot():
                assert reader.get(USER, "a").document["userName"] == "a"
                os.write(go[1], b"x")
                os.read(gone[0], 1)
        assert reader.get(USER, "b").document["userName"] == "b"

    child = in_child(as_nobody)
    os.read(go[0], 1)
    writer.create(USER, stored("b", userName="b"))
    os.write(gone[1], b"x")

    assert os.waitpid(child, 0)[1] == 0
    writer.close()


def test_a_server_that_is_read_only_is_read_also_after_a_restart(
    postgresql: PostgresqlServer, serve: Serve
) -> None:
    url = postgresql.new_database()
    user = serve(url).user("a")
    name = url.rpartition("/")[2]
    postgresql.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    assert_is_read(serve(url), user, 403)


def test_mariadb_that_is_read_only_is_read_also_after_a_restart(
    mariadb: MariadbServer, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    url = mariadb.new_database()
    user = serve(url).user("a")
    name = url.rpartition("/")[2]
    caplog.set_level(logging.WARNING)
    mariadb.execute(
        "mysql",
        f"GRANT ALL ON {name}.* TO reader@'%' IDENTIFIED BY 'r'",
        "SET GLOBAL read_only = 1",
    )
    try:
        scim = serve(url.replace("root@", "reader:r@"))
        assert_is_read(scim, user, 403)
    finally:
        mariadb.execute("mysql", "SET GLOBAL read_only = 0")


def test_a_file_system_without_blocks_is_not_full() -> None:
    assert not is_full(Path("/proc"))
