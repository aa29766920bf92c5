"""From settings to the adapter of an SQL database, or to a database for other rows."""

from typing import Final

from storage.database_url import DatabaseUrl, parse_database_url
from storage.index.database import Database
from storage.index.dialect import Dialect
from storage.index.parts import PartsIndex
from storage.index.sqlite import Sqlite, make_parent
from storage.sql.adapter import SqlAdapter
from storage.sql.options import Options
from storage.sql.trigrams import PostgresqlTrigrams, SqliteTrigrams, check_fts5

# A caller waits so long for a free connection of the pool.
_TIMEOUT_S: Final = 30.0


def open_adapter(options: Options) -> SqlAdapter:
    """Return an adapter on the database that the URL names, without connecting to it.

    The driver is imported here. Raises ValueError for a URL that cannot be used, or an index that the
    database cannot have, and ImportError for a driver that is not installed.
    """
    target = parse_database_url(options.location)
    dialect = _dialect(target, options.sqlite_synchronous)
    database = Database(dialect, target, options.database_pool_size, _TIMEOUT_S)
    parts = _trigrams(target) if options.filter_index == "trigram" else None
    return SqlAdapter(database, options.table_names, options.indexed_attributes, parts)


def _trigrams(target: DatabaseUrl) -> PartsIndex:
    if target.dialect == "mysql":
        raise ValueError(
            "FILTER_INDEX=trigram needs SQLite or PostgreSQL: MariaDB and MySQL have no index that finds "
            "every part of a text"
        )
    if target.dialect == "postgresql":
        return PostgresqlTrigrams()
    check_fts5()
    return SqliteTrigrams()


def _dialect(target: DatabaseUrl, synchronous: str) -> Dialect:
    if target.dialect == "postgresql":
        # peewee looks for the driver by itself, without an error if there is none.
        import psycopg  # noqa: F401

        from storage.sql.postgresql import Postgresql

        return Postgresql()
    if target.dialect == "mysql":
        import pymysql  # noqa: F401

        from storage.sql.mysql import Mysql

        return Mysql()
    return Sqlite(synchronous, is_for_reading=target.options.get("mode") == "ro")


def make_folder(url: str) -> None:
    """Make the folder of an SQLite file, unless it is there. Raises StorageUnavailable."""
    target = parse_database_url(url)
    if target.dialect == "sqlite":
        make_parent(target.name)


def open_database(url: str, pool_size: int = 10, timeout_s: float = _TIMEOUT_S) -> Database:
    """Return the database at `url` for rows that are no resources, without connecting to it.

    Raises as `open_adapter` does.
    """
    target = parse_database_url(url)
    return Database(_dialect(target, "FULL"), target, pool_size, timeout_s)
