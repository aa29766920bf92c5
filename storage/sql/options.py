"""The settings of SQL databases."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, secret, setting
from storage.shared_options import DatabasePool, Indexes, Names, SqliteFiles

# Where resources are without any setting.
EMBEDDED_STORE = "sqlite:///data/scim.db"


@dataclass(frozen=True)
class Options(Names, Indexes, SqliteFiles, DatabasePool, StorageOptions):
    """SQL databases"""

    address: ClassVar[str] = "database_url"
    precedence: ClassVar[int] = 3
    drivers: ClassVar[Mapping[str, str]] = MappingProxyType({"psycopg": "postgresql", "pymysql": "mysql"})
    shares_state: ClassVar[bool] = True

    database_url: str = secret(
        "",
        types.database_url,
        "The SQL database: `postgresql://user:password@host/name`, `mysql://user:password@host/name` or"
        " `sqlite:////var/lib/scim/scim.db`.",
        "The setting selects this backend. The name of a driver in the scheme, as in `mysql+pymysql://`, has"
        " no effect. PostgreSQL takes several hosts: `postgresql://user@one:5432,two:5433/name`. An unknown"
        " option behind `?` stops the start; SQLite ignores all but `mode=ro`.",
        shown="with no other backend, the SQLite file `data/scim.db`",
    )

    filter_index: str = setting(
        "off",
        types.one_of("off", "trigram"),
        "An index for the filters `co` and `ew` with three characters or more: `trigram` on SQLite (FTS5) and"
        " PostgreSQL (pg_trgm). `off`: these filters read all values of the attribute.",
        "The first start with `trigram` builds the index before it serves. Writes take longer, and the"
        " database is larger. MariaDB and MySQL have no such index: `trigram` stops the start. `off` keeps"
        " an index that is there. See [An index for parts"
        " of values](backends/sql.md#an-index-for-parts-of-values).",
    )

    @property
    def location(self) -> str:
        return self.database_url or EMBEDDED_STORE
