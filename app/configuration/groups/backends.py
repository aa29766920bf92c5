"""Settings of the backends, where resources are stored."""

from dataclasses import dataclass
from pathlib import Path

from app.configuration import types
from app.configuration.groups.declaration import pool_size, secret, setting


@dataclass(frozen=True, repr=False)
class LdapSettings:
    """LDAP."""

    ldap_hostname: str = setting(
        "",
        types.ldap_url,
        "The LDAP server: a host, `host:port`, or a URL such as `ldaps://ldap.example.org`.",
        "The setting selects this backend. A host without a scheme means `ldap://`.",
    )
    ldap_basename: str = setting(
        "dc=example,dc=org", types.text, "The entry of the tree below which the server keeps its units."
    )
    ldap_username: str = setting(
        "",
        types.text,
        "The distinguished name that the server binds as.",
        shown="`cn=admin,` followed by `LDAP_BASENAME`",
    )
    ldap_password: str = secret("", types.text, "The password that the server binds with.")
    ldap_start_tls: bool = setting(
        False, types.flag, "`true`: the server encrypts the connection by StartTLS before it binds."
    )
    ldap_ca_file: Path | None = setting(
        None,
        types.folder,
        "A PEM file with the certificate authorities that the server trusts for LDAP.",
        shown="the authorities of the system",
    )
    ldap_pool_size: int = pool_size("LDAP", 30)


@dataclass(frozen=True, repr=False)
class MongoSettings:
    """MongoDB."""

    mongo_db: str = secret(
        "",
        types.mongo_url,
        "The URL of MongoDB, such as `mongodb://user:password@host/database`.",
        "The setting selects this backend.",
    )
    mongo_pool_size: int = pool_size("MongoDB", 10)


@dataclass(frozen=True, repr=False)
class DatabaseSettings:
    """SQL databases and the state database."""

    database_url: str = secret(
        "",
        types.database_url,
        "The SQL database: `postgresql://user:password@host/name`, `mysql://user:password@host/name` or"
        " `sqlite:////var/lib/scim/scim.db`.",
        "The setting selects this backend. The name of a driver in the scheme, as in `mysql+pymysql://`, has"
        " no effect.",
        shown="with no other backend, the SQLite file `data/scim.db`",
    )
    database_pool_size: int = pool_size("the SQL database", 30)
    sqlite_synchronous: str = setting(
        "FULL",
        types.one_of("FULL", "NORMAL"),
        "How SQLite files are written, those of flat files included. With `FULL`, an answered write survives"
        " a power failure.",
        "With `NORMAL`, writes are faster and survive a crash of the server, but the last writes may be lost"
        " in a power failure.",
    )
    state_database_url: str = secret(
        "",
        types.database_url,
        "The SQL database for the change log, events, asynchronous requests and leases, where resources are"
        " not in an SQL database.",
        "With `DATABASE_URL`, or with no backend at all, the setting stops the start: the state is in the"
        " database of the resources.",
        shown="an SQLite file: `.state.db` in `DATA_PATH`, or `data/state.db`",
    )


@dataclass(frozen=True, repr=False)
class JumpcloudSettings:
    """JumpCloud."""

    jumpcloud_url: str = setting(
        "",
        types.base_url,
        "The URL of JumpCloud, such as `https://console.jumpcloud.com`.",
        "The setting selects this backend.",
    )
    jumpcloud_key: str = secret(
        "", types.text, "The API key of JumpCloud.", "Without it, `JUMPCLOUD_URL` stops the start."
    )
    jumpcloud_org_id: str = setting(
        "", types.text, "The organisation, if the API key belongs to several organisations."
    )


@dataclass(frozen=True, repr=False)
class ForwardSettings:
    """Another SCIM service provider."""

    forward_scim_url: str = setting(
        "",
        types.base_url,
        "The URL of the upstream: the SCIM service provider that stores the resources.",
        "The setting selects this backend.",
        also=("SCIM_FORWARD_URL",),
    )
    forward_scim_key: str = secret(
        "",
        types.text,
        "The bearer token that the server sends to the upstream.",
        shown="the first key of `API_KEY`",
        also=("SCIM_FORWARD_KEY",),
    )


@dataclass(frozen=True, repr=False)
class IrodsSettings:
    """iRODS."""

    irods_host: str = setting("", types.text, "The iRODS server.", "The setting selects this backend.")
    irods_port: int = setting(
        1247,
        types.port,
        "The port of the iRODS server.",
        "The value that Kubernetes sets for a service called `irods`, such as `tcp://10.0.0.1:1247`, has no"
        " effect.",
    )
    irods_zone: str = setting("tempZone", types.text, "The zone of the accounts.")
    irods_admin_username: str = setting(
        "rods", types.text, "The account that the server logs in with. Its type is `rodsadmin`."
    )
    irods_admin_password: str = secret("", types.text, "The password of this account.")
    irods_authentication: str = setting(
        "native",
        types.one_of("native", "pam"),
        "How the account logs in.",
        "`pam` without `IRODS_TLS` stops the start.",
    )
    irods_tls: bool = setting(False, types.flag, "`true`: the connection to iRODS is encrypted.")
    irods_ca_file: Path | None = setting(
        None,
        types.folder,
        "A PEM file with the certificate authorities that the server trusts for iRODS.",
        shown="the authorities of the system",
    )


@dataclass(frozen=True, repr=False)
class FileSettings:
    """Flat files."""

    data_path: Path | None = setting(
        None,
        types.folder,
        "The folder in which each resource is a JSON file.",
        "The setting selects this backend.",
    )


@dataclass(frozen=True, repr=False)
class RemoteSettings:
    """JumpCloud, the upstream and iRODS alike."""

    remote_timeout: float = setting(
        10.0,
        types.seconds,
        "The time that JumpCloud, the upstream or iRODS may take to answer, repeated attempts included,"
        " in seconds.",
        "A request that takes longer is answered 504.",
    )
    settling_time: float = setting(
        120.0,
        types.seconds,
        "The time in which a write that JumpCloud, the upstream, iRODS, a directory or MongoDB did not"
        " confirm may still take effect, in seconds.",
        "It must be longer than the longest time that the backend takes for a write. The server looks for the"
        " effect of the write during this time: when it appears, its event is published and its asynchronous"
        " request completed. See [Guarantees](../explanation/guarantees.md#unknown-outcomes).",
    )
    remote_pool_size: int = setting(
        10,
        types.positive,
        "The largest number of simultaneous requests of each process to JumpCloud, the upstream or iRODS."
        " A connection to the upstream that streams members is not counted.",
    )
