"""The settings of SQL databases."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, secret
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
        " no effect.",
        shown="with no other backend, the SQLite file `data/scim.db`",
    )

    @property
    def location(self) -> str:
        return self.database_url or EMBEDDED_STORE
