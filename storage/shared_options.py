"""Settings that several backends share; a class `Options` inherits those that its backend heeds."""

from dataclasses import dataclass

from storage import option_types as types
from storage.options import pool_size, secret, setting

DEFAULT_API_KEY = "secret"


@dataclass(frozen=True, repr=False)
class ClientKeys:
    """The keys of clients."""

    api_key: tuple[str, ...] = secret(
        (DEFAULT_API_KEY,),
        types.api_keys,
        "The API key, or several keys separated by commas. A client sends one of them as"
        " `Authorization: Bearer <key>` or as `x-api-key: <key>`.",
        "An empty variable is not the same as an unset one: every request that needs credentials is"
        " refused with 401. Each start with the default key logs a warning. A value with commas counts as"
        " one key too, because a key of HarryKodden/scim may contain commas.",
    )


@dataclass(frozen=True, repr=False)
class Names:
    """The names of what holds users and groups."""

    user_model_name: str = setting(
        "Users",
        types.table,
        "The table, folder, collection or organisational unit of the users.",
        "It must differ from `GROUP_MODEL_NAME`, in any case of letters.",
        also=("USER_model_name",),
    )
    group_model_name: str = setting(
        "Groups",
        types.table,
        "The table, folder, collection or organisational unit of the groups.",
        also=("GROUP_model_name",),
    )

    @property
    def table_names(self) -> dict[str, str]:
        """The names of the tables that are not called as their endpoint, by resource type."""
        return {"User": self.user_model_name, "Group": self.group_model_name}


@dataclass(frozen=True, repr=False)
class Indexes:
    """The attributes with an index."""

    indexed_attributes: frozenset[str] | None = setting(
        None,
        types.paths,
        "The attributes that SQL, MongoDB and flat files index, such as `emails.value,name`. A filter on"
        " another attribute reads every resource.",
        "Unique attributes and `externalId` always have an index. An attribute that does not exist stops the"
        " start.",
        shown="all attributes",
    )


@dataclass(frozen=True, repr=False)
class DatabasePool:
    """Connections to SQL databases."""

    database_pool_size: int = pool_size("the SQL database", 30)


@dataclass(frozen=True, repr=False)
class SqliteFiles:
    """How SQLite files are written."""

    sqlite_synchronous: str = setting(
        "FULL",
        types.one_of("FULL", "NORMAL"),
        "How SQLite files are written, those of flat files included. With `FULL`, an answered write survives"
        " a power failure.",
        "With `NORMAL`, writes are faster and survive a crash of the server, but the last writes may be lost"
        " in a power failure.",
    )


@dataclass(frozen=True, repr=False)
class Remote:
    """JumpCloud, the upstream and iRODS alike."""

    remote_timeout: float = setting(
        10.0,
        types.seconds,
        "The time that JumpCloud, the upstream or iRODS may take to answer, repeated attempts included,"
        " in seconds.",
        "A request that takes longer is answered 504.",
    )
    remote_pool_size: int = setting(
        10,
        types.positive,
        "The largest number of simultaneous requests of each process to JumpCloud, the upstream or iRODS."
        " A connection to the upstream that streams members is not counted.",
    )
