"""Settings of the server itself: access, resource types, limits of requests, and the web server."""

from dataclasses import dataclass
from pathlib import Path

from app.configuration import types
from storage import option_types
from storage.options import secret, setting
from storage.shared_options import ClientKeys, Indexes, Names


@dataclass(frozen=True, repr=False)
class LogSettings:
    """The log."""

    loglevel: str = setting(
        "INFO",
        types.log_level,
        "The lowest level of the log lines that the server writes to standard error.",
        "Drivers log only warnings and errors at every level, because their other log lines contain hashes"
        " and addresses.",
    )


@dataclass(frozen=True, repr=False)
class AccessSettings(Indexes, Names, ClientKeys):
    """Access, addresses and resource types."""

    secret_keys: tuple[str, ...] = secret(
        (),
        types.secret_keys,
        "The secrets of the server. It derives from them the keys for cursors, for asynchronous requests that"
        " wait, and for checkpoints of the change log. The first secret writes, and each of them reads.",
        "A secret with fewer than 32 characters stops the start. Several instances need this setting unless"
        " they share a database by `DATABASE_URL` or `STATE_DATABASE_URL`. See"
        " [Rotate keys](../how-to/rotate-keys.md#keys-of-the-server).",
        shown="a secret that the server makes at its first start and stores in the state database",
    )
    base_path: str = setting(
        "",
        types.base_path,
        "The path under which clients see the API, such as `/api/v2`.",
        "The server also answers requests without this path, for a proxy that removes it.",
    )
    base_url: str = setting(
        "",
        option_types.base_url,
        "The scheme and host that clients use, such as `https://scim.example.com`. The server puts it in"
        " front of absolute locations and of the URLs of event feeds.",
    )
    location_style: str = setting(
        "relative",
        option_types.one_of("relative", "absolute"),
        "The form of `meta.location` and of the `Location` header.",
        "`absolute` without `BASE_URL` stops the start.",
    )
    schema_path: Path | None = setting(
        None,
        option_types.folder,
        "A folder of schema definitions that replace the ones that come with the server.",
        "An invalid file stops the start, and the error message names the file."
        " See [Schemas](../how-to/schemas.md).",
        shown="the definitions of the server, see [Schemas](schemas.md)",
    )
    user_mapping: dict[str, str] | None = setting(
        None,
        types.mapping,
        "Attributes of users that take their value from another attribute at every write, such as"
        ' `{"userName": "sram_user_extension.eduPersonUniqueId"}`.',
        "An attribute that does not exist stops the start. See [Mappings](../how-to/mappings.md).",
    )
    group_mapping: dict[str, str] | None = setting(
        None, types.mapping, "The same as `USER_MAPPING`, for groups."
    )
    profile: str = setting(
        "default",
        option_types.one_of("default", "strict"),
        "`default` accepts known deviations of clients; `strict` accepts only requests that conform to"
        " the RFCs.",
        "See [Profiles](profiles.md).",
    )
    unique_external_id: bool = setting(
        True,
        option_types.flag,
        "`true`: two resources of one type cannot have the same `externalId`. `false`: any number of"
        " resources can, because RFC 7643 section 3.1 leaves `externalId` to the client.",
        "The setting may change at any time; the next start applies it. If resources share a value then,"
        " all of them stay, and the log names them. The first of them owns the value.",
    )


@dataclass(frozen=True, repr=False)
class RequestSettings:
    """Limits of requests."""

    page_size: int = setting(
        100,
        option_types.positive,
        "The largest number of resources in one response.",
        "A larger `count` is reduced to this number. A larger `count` together with a cursor is refused:"
        " 400 `invalidCount`.",
    )
    max_body_size: int = setting(
        1024 * 1024,
        option_types.positive,
        "The largest body of a request, in bytes. Bulk requests have `BULK_MAX_PAYLOAD_SIZE` instead.",
        "A larger body is answered 413.",
    )
    max_body_depth: int = setting(
        100,
        types.depth,
        "The largest number of levels of nested objects and lists in a body, or in a line of `scim import`.",
        "A deeper body is answered 400 `invalidSyntax`.",
    )
    max_filter_length: int = setting(
        8192,
        option_types.positive,
        "The longest filter, in characters.",
        "A longer filter is answered 400 `invalidFilter`.",
    )
    bulk_max_operations: int = setting(
        1000,
        option_types.positive,
        "The largest number of operations in one Bulk request.",
        "A request with more operations is answered 413 `tooMany`, and none of them is carried out.",
    )
    bulk_max_payload_size: int = setting(
        1024 * 1024,
        option_types.positive,
        "The largest body of a Bulk request, in bytes.",
        "A larger body is answered 413.",
    )
    cursor_timeout: int = setting(
        3600,
        option_types.positive,
        "The time during which a cursor is valid, in seconds.",
        "An older cursor is answered 400 `expiredCursor`. See [Cursors](../how-to/cursors.md).",
    )


@dataclass(frozen=True, repr=False)
class WebServerSettings:
    """The web server of `scim serve`."""

    host: str = setting(
        "0.0.0.0",
        types.host,
        "The address that the server listens on.",
        "`::` is every address of IPv6 and IPv4.",
    )
    port: int = setting(
        8000,
        option_types.port,
        "The port that the server listens on.",
        "With `0` the system chooses a free port.",
    )
    workers: int = setting(2, option_types.positive, "The number of processes.")
    threads: int = setting(
        4,
        option_types.positive,
        "The number of threads of each process. Each thread answers one request at a time.",
        "At most half of the threads of a process, and at least one, wait for events or asynchronous"
        " requests.",
    )
    request_timeout: float = setting(
        30.0,
        option_types.seconds,
        "The time that a client may take to send a request, head and body together, in seconds.",
        "After this time the server answers 408 and closes the connection. A client that does not read its"
        " answer for this time loses the connection too.",
    )
    keepalive_timeout: float = setting(
        75.0,
        option_types.seconds,
        "The time that a connection may be idle, in seconds.",
        "Behind a proxy that keeps connections open, choose a longer time than the proxy has.",
    )
    max_connections: int = setting(
        2000,
        option_types.positive,
        "The largest number of connections of each process.",
        "Above this number, the process closes the connections that have waited longest for their client."
        " The process accepts fewer connections if the system allows it fewer open files.",
    )
