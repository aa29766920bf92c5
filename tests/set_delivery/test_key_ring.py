"""The key ring in the state database: made once, the same for every process."""

import subprocess
import sys
from pathlib import Path

import pytest

from set_delivery.key_ring import open_ring, read_ring
from storage.errors import StorageReadOnly
from storage.index.database import Database
from storage.sql.opening import open_database

PROCESS = """
import sys
from set_delivery.key_ring import open_ring
from storage.sql.opening import open_database
database = open_database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*(secret.hex() for secret in open_ring(database)))
"""


def test_a_ring_is_made_once(database: Database) -> None:
    assert read_ring(database) == ()

    (secret,) = open_ring(database)

    assert len(secret) == 32
    assert open_ring(database) == read_ring(database) == [secret]


def test_processes_that_start_at_the_same_time_get_the_same_ring(state_url: str) -> None:
    command = [sys.executable, "-c", PROCESS, state_url]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"

    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    secrets = {process.communicate()[0].strip() for process in started}

    assert [process.returncode for process in started] == [0] * 4
    assert len(secrets) == 1
    assert len(secrets.pop()) == 64


def test_a_start_that_died_between_the_table_and_the_secret_is_completed(database: Database) -> None:
    # MySQL commits each definition at once, so the table may be there alone.
    (lost,) = open_ring(database)
    with database.transaction():
        database.run("DELETE FROM scim_key")

    (secret,) = open_ring(database)

    assert secret != lost


def test_the_newest_secret_comes_first(database: Database) -> None:
    (first,) = open_ring(database)
    with database.transaction():
        database.run("INSERT INTO scim_key (number, made_at, secret) VALUES (2, 0, ?)", ("ab" * 32,))

    assert open_ring(database) == [b"\xab" * 32, first]


@pytest.mark.parametrize("made", [True, False])
def test_a_ring_that_cannot_be_written_is_read_or_refused(tmp_path: Path, made: bool) -> None:
    path = tmp_path / "state.db"
    writable = open_database(f"sqlite:///{path}")
    writable.prepare(lambda: writable.run_ddl("CREATE TABLE other (id INTEGER)"))
    ring = open_ring(writable) if made else []
    writable.close()
    database = open_database(f"sqlite:///{path}?mode=ro")

    if made:
        assert open_ring(database) == ring
    else:
        with pytest.raises(StorageReadOnly):
            open_ring(database)
    database.close()
