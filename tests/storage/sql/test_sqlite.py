"""What is SQLite's own: several who open a new file at the same time."""

import sqlite3
import threading
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.sql import open_database


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


def test_the_wait_ends_with_the_time_out(tmp_path: Path) -> None:
    other = _writing(tmp_path / "new.db")
    database = open_database(f"sqlite:///{tmp_path}/new.db", timeout_s=0.2)

    with pytest.raises(StorageUnavailable, match="locked"):
        database.has_table("other")

    other.close()
    database.close()
