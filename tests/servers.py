"""Real servers for the tests: each on a free port, in a folder of its own, gone when it is over.

A missing program skips the tests that need it, and fails them where SCIM_TEST_REQUIRE is `all`.
"""

import glob
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import SkipTest

import psycopg
import pymysql

from tests.ports import free_port

_START_S = 30


def program(*patterns: str) -> str:
    """Return the path of a program, found on PATH or by the first pattern that fits."""
    for pattern in patterns:
        found = shutil.which(pattern) or next(iter(sorted(glob.glob(pattern), reverse=True)), None)
        if found:
            return found
    message = f"{patterns[0]} is not installed"
    # Both are what pytest understands, without being part of it: benchmarks start servers as well.
    if os.environ.get("SCIM_TEST_REQUIRE") == "all":
        raise AssertionError(message)
    raise SkipTest(message)


class ServerProcess:
    """A server started from `command` in `folder`, which it owns, as the user it wants to be."""

    quote = '"'
    # Tests of the service provider that cannot hold on this backend, by name, and why.
    limits: Mapping[str, str] = {}

    def __init__(self, user: str) -> None:
        # A socket in it must have a path below 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="scim"))
        self.port = free_port()
        # A starting mariadbd deletes the temporary tables of all others with the same TMPDIR.
        self._variables = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TMPDIR": str(self.folder)}
        self._as_user: dict[str, Any] = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self._as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> None:
        """Run a command to its end. Raises RuntimeError with what it printed."""
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=self._variables,
            **self._as_user,
        )
        if done.returncode:
            raise RuntimeError(done.stdout.decode(errors="replace")[-2000:])

    def start(self, command: Sequence[str], is_ready: Callable[[], object]) -> None:
        """Start the server and wait until `is_ready` raises nothing."""
        self._command, self._is_ready = command, is_ready
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._variables,
                **self._as_user,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                is_ready()
                return
            except Exception:
                over = self.process.poll() is not None or time.monotonic() > deadline
                if over:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def restart(self) -> None:
        """Start the server again on what it left behind."""
        self.start(self._command, self._is_ready)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and wait for it."""
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def execute(self, database: str, *statements: str) -> list[Any]:
        """Run statements in a database, given by name or URL; return the rows of the last that has any."""
        raise NotImplementedError

    def environ(self, database: str) -> dict[str, str]:
        """Return the variables that make a service use a database, given by URL."""
        return {"DATABASE_URL": database}

    def empty(self, database: str) -> None:
        """Delete every resource in a database that the SQL adapter has prepared."""
        side = ("scim_member", "scim_lacking", "scim_attribute", "scim_unique", "scim_resource")
        documents = (f"{self.quote}{name}{self.quote}" for name in ("Users", "Groups"))
        statements = [f"DELETE FROM {table}" for table in (*side, *documents)]
        self.execute(database, *statements, "UPDATE scim_count SET total = 0")

    def empty_state(self, database: str) -> None:
        """Delete every event and request in a database that is prepared for them."""
        tables = ("change", "change_value", "order", "queue", "queue_part", "checkpoint", "intent")
        tables += ("outbox", "begun", "set", "stream", "delivery", "receiver", "feed", "job")
        self.execute(database, *(f"DELETE FROM scim_{table}" for table in tables))
        # They are made with the first token, or by the deprovisioning guard.
        made = ("token", "token_secret", "token_change", "guard")
        self.execute(database, *(f"DROP TABLE IF EXISTS scim_{table}" for table in made))

    def remove(self) -> None:
        """End the server and delete what it left."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class SqliteFolder:
    """SQLite files, used like the servers."""

    quote = '"'

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._databases = 0

    def new_database(self) -> str:
        """Return the URL of a file that does not exist yet."""
        self._databases += 1
        return f"sqlite:///{self._folder}/{self._databases}.db"

    def execute(self, database: str, *statements: str) -> list[Any]:
        """Run statements in a database and return the rows of the last one that has any."""
        rows: list[Any] = []
        connection = sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)
        with closing(connection):
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else rows
        return rows


class PostgresqlServer(ServerProcess):
    """PostgreSQL without passwords and without fsync."""

    def __init__(self, **settings: str) -> None:
        super().__init__("postgres")
        self._make_data(str(self.folder / "data"))
        postgres = program("postgres", "/usr/lib/postgresql/*/bin/postgres")
        chosen: Mapping[str, str] = {
            "listen_addresses": "127.0.0.1",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            **settings,
        }
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        folder = str(self.folder)
        data = str(self.folder / "data")
        self.start([postgres, "-D", data, "-p", str(self.port), "-k", folder, *options], self._ask)
        self._databases = 0

    def _make_data(self, data: str) -> None:
        initdb = program("initdb", "/usr/lib/postgresql/*/bin/initdb")
        self.run(initdb, "-D", data, "-U", "scim", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    def _connect(self, database: str = "postgres") -> Any:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="scim", dbname=database, autocommit=True
        )

    def _ask(self) -> None:
        self._connect().close()

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"t{self._databases}"
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE template0")
        return f"postgresql://scim@127.0.0.1:{self.port}/{name}"

    def execute(self, database: str, *statements: str) -> list[Any]:
        rows: list[Any] = []
        with self._connect(database.rpartition("/")[2]) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else rows
        return rows


class PostgresqlStandby(PostgresqlServer):
    """A standby that follows `primary`, and can be read."""

    def __init__(self, primary: PostgresqlServer) -> None:
        self._primary = primary
        super().__init__()

    def _make_data(self, data: str) -> None:
        copy = program("pg_basebackup", "/usr/lib/postgresql/*/bin/pg_basebackup")
        source = ("-h", "127.0.0.1", "-p", str(self._primary.port), "-U", "scim")
        self.run(copy, "-D", data, "--write-recovery-conf", "--checkpoint=fast", *source)

    def catch_up(self) -> None:
        """Wait until the standby shows all that the primary has committed so far."""
        [(position,)] = self._primary.execute("postgres", "SELECT pg_current_wal_insert_lsn()")
        reached = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        deadline = time.monotonic() + 30
        while self.execute("postgres", reached) != [(True,)]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)


class MariadbServer(ServerProcess):
    """MariaDB without a password for root, and without fsync.

    It is MySQL if SCIM_TEST_MYSQLD has the path of its program: Debian 12 has no package with that.
    """

    quote = "`"

    def __init__(self, **settings: str) -> None:
        super().__init__("mysql")
        self._databases = 0
        chosen: Mapping[str, str] = {
            "datadir": str(self.folder / "data"),
            "socket": str(self.folder / "s"),
            "pid-file": str(self.folder / "pid"),
            "port": str(self.port),
            "bind-address": "127.0.0.1",
            "innodb-flush-log-at-trx-commit": "0",
            "innodb-doublewrite": "0",
            "innodb-buffer-pool-size": "64M",
            # What an operator finds it set to, which must not matter.
            "character-set-server": "latin1",
            "collation-server": "latin1_swedish_ci",
            **settings,
        }
        self._start_on_new_data(["--skip-log-bin", *(f"--{name}={chosen[name]}" for name in chosen)])

    def _start_on_new_data(self, options: Sequence[str]) -> None:
        data = f"--datadir={self.folder / 'data'}"
        mysqld = os.environ.get("SCIM_TEST_MYSQLD")
        if mysqld:
            own = ["--mysqlx=OFF", "--secure-file-priv=NULL", "--innodb-redo-log-capacity=16M"]
            self.run(mysqld, "--no-defaults", data, "--initialize-insecure")
        else:
            install = program("mariadb-install-db")
            mysqld = program("mariadbd", "/usr/sbin/mariadbd")
            own = ["--innodb-log-file-size=16M", "--skip-name-resolve"]
            root = "--auth-root-authentication-method=normal"
            self.run(install, "--no-defaults", data, root, "--skip-test-db", "--skip-name-resolve")
        self.start([mysqld, "--no-defaults", *own, *options], self._ask)

    def _connect(self, database: str | None = None) -> Any:
        # Certificates of authorities take longer to read than most statements to run.
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            database=database,
            autocommit=True,
            ssl_disabled=True,
        )

    def _ask(self) -> None:
        self._connect().close()

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"t{self._databases}"
        self.execute("mysql", f"CREATE DATABASE {name}")
        return f"mysql://root@127.0.0.1:{self.port}/{name}"

    def execute(self, database: str, *statements: str) -> list[Any]:
        rows: list[Any] = []
        with self._connect(database.rpartition("/")[2]) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall()) if cursor.description else rows
        return rows

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)

    def remove(self) -> None:
        # An orderly end writes everything that is about to be deleted.
        self.stop(signal.SIGKILL)
        super().remove()
