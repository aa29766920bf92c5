"""Resources in SQLite, PostgreSQL, MariaDB or MySQL."""

from collections.abc import Mapping

from storage.database_url import DatabaseUrl, parse_database_url
from storage.index.database import Database
from storage.index.dialect import Dialect
from storage.index.sqlite import Sqlite
from storage.sql.adapter import SqlAdapter, SqlOptions


def open_adapter(
    url: str,
    tables: Mapping[str, str],
    synchronous: str = "FULL",
    pool_size: int = 10,
    indexed: frozenset[str] | None = None,
) -> SqlAdapter:
    """Return an adapter on the database that `url` names, without connecting to it.

    The driver is imported here. Raises ValueError for a URL that cannot be used and ImportError
    for a driver that is not installed.
    """
    target = parse_database_url(url)
    options = SqlOptions(tables=tables, indexed=indexed, pool_size=pool_size, synchronous=synchronous)
    return SqlAdapter(_dialect(target, synchronous), target, options)


def _dialect(target: DatabaseUrl, synchronous: str) -> Dialect:
    if target.dialect == "postgresql":
        # peewee looks for the driver by itself, and says nothing when there is none.
        import psycopg  # noqa: F401

        from storage.sql.postgresql import Postgresql

        return Postgresql()
    if target.dialect == "mysql":
        import pymysql  # noqa: F401

        from storage.sql.mysql import Mysql

        return Mysql()
    return Sqlite(synchronous, is_for_reading=target.options.get("mode") == "ro")


def open_database(url: str, pool_size: int = 10, timeout_s: float = 30.0) -> Database:
    """Return the database at `url` for what is no resource, without connecting to it.

    Raises as `open_adapter` does.
    """
    target = parse_database_url(url)
    return Database(_dialect(target, "FULL"), target, pool_size, timeout_s)
