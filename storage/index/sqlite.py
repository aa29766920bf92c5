"""SQLite: one file, one writer at a time, no server."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import peewee

from storage.database_url import DatabaseUrl
from storage.errors import StorageUnavailable
from storage.index.dialect import MEMBER, Dialect
from storage.index.reading import CANNOT_WRITE, PassingConnection, open_to_read
from storage.index.statements import Row, Statements
from storage.ownership import advice, is_full, is_meant_read_only
from storage.queue import FairQueue

_RETRY_AFTER_S: Final = 0.01


class PatientDatabase(peewee.SqliteDatabase):
    """Waits, up to its time-out, for others that open a new file at the same time.

    SQLite itself waits for whoever writes, but not for whoever turns the write-ahead log on.
    What cannot be written now is opened to be read, or is from the start where it `is_for_reading`.
    """

    is_for_reading = False

    def _connect(self) -> sqlite3.Connection:
        if self.is_for_reading:
            return open_to_read(self.database)
        try:
            return self._connect_to_write()
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF not in CANNOT_WRITE:
                raise
            try:
                return open_to_read(self.database)
            except sqlite3.Error:
                raise exc from None

    def _connect_to_write(self) -> sqlite3.Connection:
        with suppress(OSError):
            # Hashes of passwords are in there; what SQLite keeps beside it gets the same rights.
            os.close(os.open(self.database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        deadline = time.monotonic() + self._timeout  # type: ignore[attr-defined]
        while True:
            try:
                connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]
                return connection
            except sqlite3.OperationalError as exc:
                # The lower byte is the error, what is above says more of it.
                busy = exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= deadline:
                    raise
            time.sleep(_RETRY_AFTER_S)


def make_parent(name: str) -> None:
    """Make the folder of a file, unless it is there. Raises StorageUnavailable."""
    folder = Path(name).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageUnavailable(
            f"the folder {folder} cannot be created: {exc}{advice(folder)}"
        ) from exc


class Sqlite(Dialect):
    """SQLite 3.35 or later; `synchronous` FULL keeps what was answered through a power failure."""

    name = "sqlite"
    columns = "SELECT name, type FROM pragma_table_info(?)"
    index_names = "sqlite_master WHERE type = 'index' AND name = ?"
    pooled = False
    mark = "?"
    # IMMEDIATE: two writers that both read first would otherwise fail at their first write.
    begin = "BEGIN IMMEDIATE"
    begin_reading = ("BEGIN",)
    for_update = for_update_if_free = ""
    # It would go through all members of a group to find some.
    joined_to = "CROSS JOIN"
    shards = 1
    row_key = "INTEGER PRIMARY KEY"
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"
    row = "INTEGER"
    key = "TEXT"
    # Others may write here, and one broken document would break every list.
    json = "JSON NOT NULL CHECK (json_valid(details) AND json_type(details) = 'object')"
    keyed = " WITHOUT ROWID"

    def __init__(self, synchronous: str = "FULL", *, is_for_reading: bool = False) -> None:
        self._synchronous = synchronous
        self._is_for_reading = is_for_reading

    def to_read(self) -> Dialect:
        return Sqlite(is_for_reading=True)

    def connect(self, url: DatabaseUrl, pool_size: int, timeout_s: float) -> peewee.Database:
        database = PatientDatabase(
            url.name,
            pragmas={
                "journal_mode": "wal",
                "synchronous": self._synchronous,
                "foreign_keys": 1,
                # A rare, larger checkpoint costs writers far less than many small ones.
                "wal_autocheckpoint": 16000,
                "cache_size": -32_000,
                # What is mapped counts as memory of the process.
                "mmap_size": 1 << 27,
                "temp_store": "memory",
            },
            timeout=timeout_s,
        )
        database.is_for_reading = self._is_for_reading
        return database

    def bound(self, statement: str, params: Row | None) -> tuple[str, Row]:
        return statement, params or ()

    def send(self, database: Any, statements: Sequence[tuple[str, Row]]) -> list[Any]:
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            execute = database.connection().execute
            return [execute(*one) for one in statements]

    def queue(self, url: DatabaseUrl, timeout_s: float) -> FairQueue | None:
        return None if self._is_for_reading else FairQueue(Path(f"{url.name}-queue"), timeout_s)

    def is_contention(self, error: peewee.PeeweeException) -> bool:
        code = getattr(error.__context__ or error.__cause__, "sqlite_errorcode", 0)
        return code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY

    def is_read_only(self, error: peewee.PeeweeException, name: str) -> bool:
        return self.is_spent(error) and (self._is_for_reading or is_meant_read_only(Path(name)))

    def hint(self, name: str) -> str:
        folder = Path(name).parent
        if is_full(folder):
            return f"; the disk of {folder} is full"
        return advice(folder, *(Path(name + end) for end in ("", "-wal", "-shm")))

    def is_passing(self, connection: Any) -> bool:
        return isinstance(connection, PassingConnection)

    def is_spent(self, error: peewee.PeeweeException) -> bool:
        code = getattr(error.__context__ or error.__cause__, "sqlite_errorcode", 0) & 0xFF
        return code == sqlite3.SQLITE_READONLY

    def is_sound(self, connection: Any) -> bool:
        return not isinstance(connection, PassingConnection) or connection.is_sound

    @contextmanager
    def preparing(self, database: Statements) -> Iterator[None]:
        """A write transaction: definitions are part of it."""
        make_parent(database.name)
        with database.transaction():
            yield

    def key_of(self, database: Statements, table: str) -> list[str]:
        rows = database.rows("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,))
        return [name for (name,) in rows]

    def has_reference(self, database: Statements, table: str) -> bool:
        return database.row("SELECT 1 FROM pragma_foreign_key_list(?)", (table,)) is not None

    def constrain(self, database: Statements, table: str, definition: str, added: Sequence[str]) -> None:
        """SQLite cannot change a key: the rows move to a table that has it."""
        names = ", ".join(database.columns(table))
        # Views on the table, ours and those of others, refer to its name and stay.
        for statement in (
            "PRAGMA legacy_alter_table = ON",
            f"CREATE TABLE {table}_copy {definition}",
            f"INSERT INTO {table}_copy ({names}) SELECT {names} FROM {table}",
            f"DROP TABLE {table}",
            f"ALTER TABLE {table}_copy RENAME TO {table}",
            "PRAGMA legacy_alter_table = OFF",
        ):
            database.run_ddl(statement)

    def bytes_of(self, database: Statements, tables: Sequence[str]) -> int:
        (pages,), (size,) = database.row("PRAGMA page_count"), database.row("PRAGMA page_size")
        return int(pages) * int(size)

    def insert_ignoring(self, table: str, columns: str, rows: str) -> str:
        return f"INSERT OR IGNORE INTO {table} ({columns}) {rows}"

    def insert_rows(self, database: Statements, table: str, columns: str, rows: Iterable[Row]) -> None:
        marks = ", ".join("?" * (columns.count(",") + 1))
        with database.translated():
            database.cursor().executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    def contains(self, text: str) -> str:
        return f"INSTR({text}, ?) > 0"

    def ends_with(self, text: str) -> str:
        return f"SUBSTR({text}, -?) = ?"

    def adopt(self, database: Statements, table: str) -> None:
        """SQLite compares text byte by byte unless told otherwise."""

    def whole_document(self, name: str, members: str) -> str:
        # A merge patch leaves out what is null.
        return (
            f"json_set(d.details, '$.{name}', json((SELECT json_group_array("
            f"json_patch('{{}}', json_object({MEMBER}))) {members})))"
        )
