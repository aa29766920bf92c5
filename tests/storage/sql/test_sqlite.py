"""What is SQLite's own: several who open a new file at the same time."""

import sqlite3
import threading
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.index.mending import WRITTEN
from storage.sql.opening import open_database
from storage.testing import REGISTRY, USER, stored
from tests.backends import open_backend


def _writing(path: Path) -> sqlite3.Connection:
    """Return a connection that is within a write, to a file without a write-ahead log."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE other (x)")
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_file_that_another_writes_for_the_first_time_is_waited_for(tmp_path: Path) -> None:
    other = _writing(tmp_path / "new.db")
    database = open_database(f"sqlite:///{tmp_path}/new.db")
    ended = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    ended.start()

    assert database.has_table("other")

    ended.join()
    other.close()
    database.close()


def test_what_is_made_is_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    adapter = open_backend("sql", database_url=f"sqlite:///{folder}/scim.db")
    adapter.prepare(REGISTRY.resource_types)
    adapter.create(USER, stored("a", userName="a"))

    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.iterdir()]}
    adapter.close()

    assert modes.pop("data") == 0o700
    assert "scim.db-wal" in modes and set(modes.values()) == {0o600}


def test_a_mode_that_a_file_was_given_stays(tmp_path: Path) -> None:
    (tmp_path / "scim.db").touch(0o640)
    (tmp_path / "scim.db").chmod(0o640)
    adapter = open_backend("sql", database_url=f"sqlite:///{tmp_path}/scim.db")
    adapter.prepare(REGISTRY.resource_types)
    adapter.check_writable()

    assert (tmp_path / "scim.db").stat().st_mode & 0o777 == 0o640
    adapter.close()


def test_the_wait_ends_with_the_time_out(tmp_path: Path) -> None:
    other = _writing(tmp_path / "new.db")
    database = open_database(f"sqlite:///{tmp_path}/new.db", timeout_s=0.2)

    with pytest.raises(StorageUnavailable, match="locked"):
        database.has_table("other")

    other.close()
    database.close()


def test_a_start_reads_no_table_to_find_what_other_releases_wrote(tmp_path: Path) -> None:
    adapter = open_backend("sql", database_url=f"sqlite:///{tmp_path}/scim.db")
    adapter.prepare(REGISTRY.resource_types)

    twins = "SELECT 1 FROM scim_resource WHERE twin <> 0 LIMIT 1"
    for statement, index in ((WRITTEN, "unindexed"), (twins, "twin")):
        steps = adapter.state_database.rows(f"EXPLAIN QUERY PLAN {statement}")
        assert f"scim_resource_{index}" in steps[0][-1]

    adapter.close()
