"""Resources in SQLite, PostgreSQL, MariaDB or MySQL."""

from collections.abc import Mapping

from storage.database_url import parse_database_url
from storage.sql.adapter import SqlAdapter, SqlOptions
from storage.sql.dialect import Dialect
from storage.sql.sqlite import Sqlite


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
    dialect: Dialect
    if target.dialect == "postgresql":
        # peewee looks for the driver by itself, and says nothing when there is none.
        import psycopg  # noqa: F401

        from storage.sql.postgresql import Postgresql

        dialect = Postgresql()
    elif target.dialect == "mysql":
        import pymysql  # noqa: F401

        from storage.sql.mysql import Mysql

        dialect = Mysql()
    else:
        dialect = Sqlite(synchronous)
    options = SqlOptions(tables=tables, indexed=indexed, pool_size=pool_size, synchronous=synchronous)
    return SqlAdapter(dialect, target, options)
