"""Settings of the server itself: access, resource types, limits of requests, and the web server."""

from dataclasses import dataclass
from pathlib import Path

from app.configuration import types
from storage import option_types
from storage.options import secret, setting
from storage.shared_options import ClientKeys, Hashing, Indexes, Names


@dataclass(frozen=True, repr=False)
class AccessSettings(Indexes, Names, ClientKeys):
    """Access, addresses and resource types."""

    secret_keys: tuple[str, ...] = secret(
        (),
        types.secret_keys,
        "The secrets of the server. It derives from them the keys for cursors, for asynchronous requests that"
        " wait, and for checkpoints of the change log. The first secret writes, and each of them reads. On"
        " iRODS the secrets also encrypt users and groups; without this setting, nothing encrypts these.",
        "A secret with fewer than 32 characters stops the start. Several instances need this setting unless"
        " they share a database by `DATABASE_URL` or `STATE_DATABASE_URL`; on iRODS all need the same value."
        " See [Rotate keys](../how-to/rotate-keys.md#keys-of-the-server).",
        shown="a secret that the server makes at its first start and stores in the state database",
    )
    api_key_enabled: bool = setting(
        True,
        option_types.flag,
        "`true`: the server accepts the keys of `API_KEY`, each with all scopes. `false`: it accepts only"
        " named tokens.",
        "Create a token with the scopes that you need before you set `false`. See"
        " [Tokens](../how-to/tokens.md).",
    )
    first_token: str = secret(
        "",
        types.token,
        "A token that the server stores at its start, under the name `first` and with all scopes, if there"
        " was never a named token. `scim token generate` prints one.",
        "After the first token, also a revoked one, the setting has no effect. A start without a state"
        " database for tokens ends with an error message. See"
        " [Tokens](../how-to/tokens.md#a-first-token-from-a-file).",
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
    proxy_count: int = setting(
        0,
        types.count,
        "The number of trusted proxies in front of the server, each of which appends the address of its"
        " client to `X-Forwarded-For`. The log and the change log have the address that the farthest proxy"
        " appended.",
        "With `0`, or with fewer addresses in the header, the address is that of the connection. A number"
        " above the true one lets clients choose their address.",
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
        types.profile,
        "`default` accepts known deviations of all clients, `strict` accepts only requests that conform to"
        " the RFCs, and the others accept the deviations of one client. Switches after the name change a"
        " profile: `default,-unknown-attributes`.",
        "`absolute-locations` without `BASE_URL` stops the start. See [Profiles](profiles.md).",
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
class PasswordSettings(Hashing):
    """Hashes of passwords."""


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
    bulk_max_concurrent: int = setting(
        0,
        types.number,
        "The largest number of Bulk requests of one client that a process carries out at a time; `0` is for"
        " any number.",
        "A further request is answered 429 with `Retry-After`. Asynchronous requests do not count.",
    )
    rate_limit: str = setting(
        "",
        types.rate,
        "How often each client may send requests, unless its token has a rate of its own.",
        "Unset, there is no limit: a client such as SRAM does not repeat a request that is answered 429. See"
        " [Limits](../how-to/limits.md).",
    )
    rate_limit_url: str = secret(
        "",
        types.counter_url,
        "The Redis server in which all processes count requests together.",
        "Unset, each process counts by itself: with `WORKERS=2`, a client may send up to twice as many. If"
        " the server does not answer, requests are not limited, and the log says so.",
    )
    deprovision_limit: str = setting(
        "",
        types.deprovision_limit,
        "How many resources of a type each client may delete or deactivate in `DEPROVISION_WINDOW`. A share"
        " counts from the number of resources at the begin of the window.",
        "Further deletions and deactivations are answered 429 until `scim guard release`. Unset, there is no"
        " limit. See [Limits](../how-to/limits.md#the-deprovisioning-guard).",
    )
    deprovision_window: int = setting(
        3600,
        option_types.positive,
        "The window of `DEPROVISION_LIMIT`, in seconds.",
        "It begins with the first deletion or deactivation of a client.",
    )
    auth_failure_limit: str = setting(
        "300/m",
        types.rate_or_off,
        "How often requests of one address may have invalid credentials; `off` is for no limit.",
        "Further ones are answered 429 with `Retry-After` instead of 401. Requests with valid credentials are"
        " not concerned.",
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
        "Requests that wait for events or asynchronous requests occupy no thread of `scim serve`. Under uwsgi"
        " and gunicorn, they occupy at most half of the threads, and at least one.",
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
