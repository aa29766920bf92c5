"""From settings to the adapter of an SQL database, or to a database for other rows."""

from storage.database_url import DatabaseUrl, parse_database_url
from storage.index.database import Database
from storage.index.dialect import Dialect
from storage.index.sqlite import Sqlite
from storage.sql.adapter import SqlAdapter, SqlOptions
from storage.sql.options import Options


def open_adapter(options: Options) -> SqlAdapter:
    """Return an adapter on the database that the URL names, without connecting to it.

    The driver is imported here. Raises ValueError for a URL that cannot be used and ImportError
    for a driver that is not installed.
    """
    target = parse_database_url(options.location)
    chosen = SqlOptions(
        tables=options.table_names,
        indexed=options.indexed_attributes,
        pool_size=options.database_pool_size,
        synchronous=options.sqlite_synchronous,
    )
    return SqlAdapter(_dialect(target, options.sqlite_synchronous), target, chosen)


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
