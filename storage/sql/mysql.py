"""MariaDB 10.6 or later and MySQL 8.0.31 or later, through PyMySQL."""

import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import peewee

from storage.database_url import DatabaseUrl
from storage.errors import StorageUnavailable
from storage.index.dialect import MEMBER, PREPARING_S, Dialect
from storage.index.statements import Row, Statements
from storage.sql.pool import Pool

_IN_TRANSACTION = 1
# CLIENT_FOUND_ROWS of the protocol: an UPDATE counts the rows that it finds, as on other databases, and
# not only those that it leaves different.
_FOUND_ROWS = 2
# The option read_only of a replica, and that of a transaction or of InnoDB.
_READ_ONLY = (1290, 1792, 1874, 1836)
_DUPLICATE, _DEADLOCK, _CHANGED = 1062, 1213, 1020
# A member that was just removed, from both sides of the foreign key.
_REFERENCES = (1216, 1217, 1451, 1452)
# A table, column, index or key is there, or no more there: another node of a cluster was faster.
_DEFINED = (1050, 1060, 1061, 1068, 1091)
# A connection ends after half a minute without an answer, as with PostgreSQL: the machine of the server may
# be gone. Not every system has all of these options.
_WATCHED = {"TCP_USER_TIMEOUT": 30_000, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class _Sessions(peewee.MySQLDatabase):
    """Connections with the settings that the statements of this adapter need."""

    # Seconds to wait for the answer to a statement; None is for as long as it takes.
    answer_s: int | None = None

    def _connect(self) -> Any:
        conn = super()._connect()  # type: ignore[misc]
        if not conn.unix_socket:
            for name, value in _WATCHED.items():
                if hasattr(socket, name):
                    conn._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        with conn.cursor() as cursor:
            # As in PostgreSQL: a statement sees earlier commits, and locks the rows that it finds.
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            # Values that do not fit are refused, not cut.
            cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'")
            # An order compares whole keys: 330 characters are 1,320 bytes.
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 30, SESSION max_sort_length = 2048")
            if "mariadb" in conn.get_server_info().lower():
                # A condition on few resources is tested on these, not looked up for all resources. A filter
                # of row keys would also lock all resources of a type for the change of one.
                cursor.execute("SET SESSION optimizer_switch = 'exists_to_in=off,rowid_filter=off'")
        conn._read_timeout = self.answer_s
        return conn


class _Pool(Pool, _Sessions):
    """Connections whose state is checked without a statement before they are used again."""

    def _is_closed(self, conn: Any) -> bool:
        return not conn.open

    def _can_reuse(self, conn: Any) -> bool:
        return bool(conn.open) and not conn.server_status & _IN_TRANSACTION


def _verified_by_the_system(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with which the driver verifies the name of the server, without `ssl_ca` too.

    The driver compares the name only where it is given the authorities.
    """
    context = ssl.create_default_context()
    if "ssl_cert" in options:
        context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    return {name: value for name, value in options.items() if not name.startswith("ssl_")} | {"ssl": context}


class Mysql(Dialect):
    """MariaDB and MySQL: text is compared by code points, trailing spaces included."""

    name = "mysql"
    deletes_by_subquery = False
    quote = "`"
    begin_reading = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    for_share = " LOCK IN SHARE MODE"
    # MariaDB would begin at the first resource of the type, even for a page far behind it.
    by_type = " FORCE INDEX (scim_resource_type)"
    # Without statistics, it would read the values of all resources.
    by_resource = " FORCE INDEX (scim_attribute_of)"
    # It would go through the values of all paths in the order of resources, and hope for a page of hits soon.
    by_path = " FORCE INDEX (PRIMARY)"
    # Statistics made in the middle of an import say that all rows of scim_member are of a few members: it
    # would read all of them.
    by_id = " FORCE INDEX (scim_resource_id)"
    joined_to = "STRAIGHT_JOIN"
    count_values = "ANALYZE TABLE scim_resource, scim_attribute, scim_unique, scim_member"
    schema = "DATABASE()"
    columns = (
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND table_name = ?"
    )
    index_names = "information_schema.statistics WHERE table_schema = DATABASE() AND index_name = ?"
    row_key = "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"
    serial = row_key
    json = "JSON NOT NULL CHECK (JSON_TYPE(details) = 'OBJECT')"
    long = "LONGTEXT"

    def __init__(self) -> None:
        self._collated("utf8mb4_nopad_bin")

    def _collated(self, collation: str) -> None:
        self._collation = collation
        self.key = f"VARCHAR(330) CHARACTER SET utf8mb4 COLLATE {collation}"
        self.id = f"VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {collation}"
        self.options = f" ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {collation}"

    def connect(self, url: DatabaseUrl, pool_size: int, timeout_s: float) -> peewee.Database:
        options = {"connect_timeout": 5, **url.options}
        # The driver encodes a text as Latin-1, which lacks many characters.
        options["password"] = options.get("password", "").encode()
        options["client_flag"] = options.get("client_flag", 0) | _FOUND_ROWS
        if options.get("ssl_verify_identity") and "ssl_ca" not in options:
            options = _verified_by_the_system(options)
        answer_s = options.pop("read_timeout", None)
        # The program at the port may never answer.
        options["read_timeout"] = options["connect_timeout"]
        pool = _Pool(url.name, max_connections=pool_size, timeout=timeout_s, **options)
        pool.answer_s = answer_s
        return pool

    @contextmanager
    def preparing(self, database: Statements) -> Iterator[None]:
        """A named lock: definitions take effect at once and are part of no transaction."""
        (version,) = database.row("SELECT VERSION()")
        if "mariadb" not in version.lower():
            self._collated("utf8mb4_0900_bin")
        name = f"scim.{database.name}"[:64]
        with database.lease():
            if database.row("SELECT GET_LOCK(?, ?)", (name, PREPARING_S))[0] != 1:
                raise StorageUnavailable("another process has been preparing the tables for too long")
            try:
                yield
            finally:
                database.row("SELECT RELEASE_LOCK(?)", (name,))

    def is_duplicate(self, error: peewee.PeeweeException) -> bool:
        return bool(error.args) and error.args[0] == _DUPLICATE

    def is_contention(self, error: peewee.PeeweeException) -> bool:
        return bool(error.args) and error.args[0] in (_DEADLOCK, _CHANGED, *_REFERENCES, *_DEFINED)

    def is_read_only(self, error: peewee.PeeweeException, name: str) -> bool:
        return bool(error.args) and error.args[0] in _READ_ONLY

    def is_usable(self, connection: Any) -> bool:
        return bool(connection.open)

    def bytes_of(self, database: Statements, tables: Sequence[str]) -> int:
        names = ", ".join("?" * len(tables))
        row = database.row(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables "
            f"WHERE table_schema = DATABASE() AND table_name IN ({names})",
            tables,
        )
        return int(row[0] or 0)

    def insert_ignoring(self, table: str, columns: str, rows: str) -> str:
        return f"INSERT IGNORE INTO {table} ({columns}) {rows}"

    def insert_rows(self, database: Statements, table: str, columns: str, rows: Iterable[Row]) -> None:
        marks = ", ".join(["%s"] * (columns.count(",") + 1))
        with database.translated():
            # The driver makes few statements of many rows from this.
            database.cursor().executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    def contains(self, text: str) -> str:
        return f"INSTR({text}, ?) > 0"

    def ends_with(self, text: str) -> str:
        return f"RIGHT({text}, ?) = ?"

    def ids_by_type_no_more(self, database: Statements) -> list[str]:
        # The constraint has the name of its first column.
        row = database.row(
            "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() "
            "AND table_name = 'scim_resource' AND index_name = 'id'"
        )
        return ["ALTER TABLE scim_resource DROP INDEX id"] if row is not None else []

    def constrain(self, database: Statements, table: str, definition: str, added: Sequence[str]) -> None:
        changes = [f"ADD {one}" for one in added]
        if added[0].startswith("PRIMARY KEY") and self.key_of(database, table):
            changes.insert(0, "DROP PRIMARY KEY")
        database.run_ddl(f"ALTER TABLE {table} {', '.join(changes)}")

    def adopt(self, database: Statements, table: str) -> None:
        (collation,) = database.row(
            "SELECT collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = ? AND column_name = 'id'",
            (table,),
        )
        if collation != self._collation:
            database.run_ddl(f"ALTER TABLE {self.quoted(table)} MODIFY id {self.id} NOT NULL")

    def whole_document(self, name: str, members: str) -> str:
        # A merge patch leaves out members that are null.
        return (
            f"JSON_SET(d.details, '$.{name}', JSON_EXTRACT(COALESCE((SELECT JSON_ARRAYAGG("
            f"JSON_MERGE_PATCH('{{}}', JSON_OBJECT({MEMBER}))) {members}), '[]'), '$'))"
        )
