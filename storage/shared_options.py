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
        "The attributes that SQL, MongoDB and flat files index, such as `emails.value,name`. `*` names all"
        " attributes, `default` the [attributes that clients filter by](backends/sql.md#indexed-attributes)."
        " A filter on another attribute reads every resource.",
        "Unique attributes and `externalId` always have an index. An attribute that does not exist stops the"
        " start.",
        shown="`default`, and all attributes that an SQL database has an index of already; on MongoDB all"
        " attributes",
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
class Hashing:
    """The cost of argon2id hashes."""

    argon2_memory: int = setting(
        19,
        types.hash_memory,
        "The memory of one argon2id hash of a password or another secret, in MiB.",
        "The defaults of the three costs are the minimum that OWASP recommends. Hashes with other costs"
        " stay valid. Each running hash takes this memory in addition to that of the process.",
    )
    argon2_time: int = setting(2, types.hash_time, "The number of passes of one hash over its memory.")
    argon2_parallelism: int = setting(
        1, types.hash_parallelism, "The number of threads that compute one hash together."
    )
    argon2_at_once: int = setting(
        2,
        types.positive,
        "The largest number of hashes that a process computes at the same time.",
        "Further requests with passwords wait for their turn, first come, first served. Requests without"
        " passwords do not wait.",
    )


@dataclass(frozen=True, repr=False)
class Foreign:
    """Entries that other programs made in a directory, a zone or an organisation."""

    foreign_entries: str = setting(
        "hidden",
        types.one_of("hidden", "read", "managed"),
        "The treatment of users and groups that other programs made in a directory, an iRODS zone or"
        " JumpCloud. `hidden`: they are no resources, no members, and not changed; nobody gets their names."
        " `read`: clients read them; each change of them is answered 403. `managed`: they are resources like"
        " all others.",
        "`scim adopt` adopts chosen entries. A process reads the setting at its start: all processes need"
        " the same value. See [Entries of other programs](../how-to/entries-of-others.md).",
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
