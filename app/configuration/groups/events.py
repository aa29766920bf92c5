"""Settings of Security Event Tokens, asynchronous requests and the processes that work on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.configuration import stream_types, types
from set_delivery.streams import DEFAULT_FEED, Feed
from set_delivery.tokens import ALGORITHMS
from storage import option_types
from storage.options import secret, setting


@dataclass(frozen=True, repr=False)
class EventSettings:
    """Security Event Tokens."""

    set_push_url: str = secret(
        "",
        types.http_url,
        "The URL of a receiver: the server sends it every SET by POST (RFC 8935).",
        "The receiver is called `push`. The URL is a secret because it may contain a password.",
    )
    set_push_token: str = secret(
        "",
        option_types.text,
        "The bearer token for the receiver of `SET_PUSH_URL`.",
        "A token with other characters than printable ASCII stops the start.",
    )
    set_receivers: list[Any] | None = secret(
        None,
        stream_types.receivers,
        "Several receivers, each with its own token, key, feeds and events.",
        "An unknown event, an empty secret or a name that two receivers share stops the start. See"
        " [Receive events](../how-to/receive-events.md).",
    )
    set_push_require_tls: bool = setting(
        False, option_types.flag, "`true`: a receiver with a URL other than `https://` stops the start."
    )
    set_push_timeout: float = setting(
        10.0,
        option_types.seconds,
        "The time that a receiver may take to answer, in seconds.",
        "After this time the server counts a failure and sends the SET again later.",
    )
    event_mode: str = setting(
        "notice",
        option_types.one_of("notice", "full"),
        "`notice`: an event contains the names of the changed attributes. `full`: it contains their values"
        " too.",
        "A receiver of `SET_RECEIVERS` may have its own `mode`.",
    )
    event_ignored_attributes: frozenset[str] = setting(
        frozenset({"urn:mace:surf.nl:sram:scim:extension:User:sramInactiveDays"}),
        types.names,
        "Attributes whose change alone publishes no event.",
    )
    set_issuer: str = setting(
        "scim",
        option_types.text,
        "The claim `iss` of every SET.",
        "If the value is a URL and `BASE_URL` is unset, event feeds have URLs under it.",
    )
    set_audience: str = setting(
        "",
        option_types.text,
        "The claim `aud` of every SET.",
        "The events `feed:add` and `feed:remove` name the URL of the feed as well.",
        shown="the URLs of the feeds of the event",
    )
    set_signing_secret: str = secret(
        "",
        option_types.text,
        "The secret that the server signs SETs with, by HS256, HS384 or HS512. The receiver has the same"
        " secret.",
        "Without a secret and without a key, the server pushes SETs as plain JSON."
        " `SET_SIGNING_KEY_FILES` takes precedence.",
    )
    set_signing_algorithm: str = setting(
        "HS256",
        option_types.one_of(*ALGORITHMS),
        "The algorithm of the signature.",
        "An algorithm that does not fit the secret or the key stops the start.",
    )
    set_signing_key_files: tuple[Path, ...] = setting(
        (),
        types.files,
        "PEM files with private keys. The server signs with the first key and publishes the public half of"
        " each at `/.well-known/jwks.json`.",
        "A file that cannot be read, or a key with a password, stops the start."
        " See [Rotate keys](../how-to/rotate-keys.md).",
    )
    set_feeds: tuple[Feed, ...] = setting(
        (Feed(DEFAULT_FEED, "Default"),),
        stream_types.feeds,
        "The event feeds that contain every event. A feed is a named sequence of SETs (RFC 9967).",
    )
    set_feeds_enabled: bool = setting(
        True,
        option_types.flag,
        "`true`: a member that joins or leaves a group publishes the event `feed:add` or `feed:remove`.",
    )
    set_group_as_feed: bool = setting(
        True,
        option_types.flag,
        "`true`: each group is an event feed. It contains the events of the group and of its members.",
    )
    set_poll_enabled: bool = setting(
        False,
        option_types.flag,
        "`true`: readers can fetch events at `/Events/Feeds/{id}/Stream` (RFC 8936).",
        "With `false`, these requests are answered 501.",
    )
    set_poll_max_events: int = setting(
        10_000,
        option_types.positive,
        "The largest number of events that a feed keeps.",
        "The server deletes the oldest events above this number, acknowledged or not. The log has a warning"
        " before that.",
    )
    set_poll_wait: float = setting(
        5.0,
        option_types.seconds,
        "The time that a poll waits for an event when there is none, in seconds.",
        "Under uwsgi and gunicorn, a waiting poll occupies a thread. When half of the threads wait already, a"
        " poll is answered immediately.",
    )
    set_retention: int = setting(
        30 * 86400,
        option_types.positive,
        "The time that the server keeps an event that a receiver has not accepted, in seconds.",
        "After this time the server deletes the event for this receiver. The log has a warning before that.",
    )
    set_refused_after: int = setting(
        86400,
        option_types.positive,
        "The time that the server sends a SET again when the receiver answers 400 without `err`, in seconds.",
        "After this time the server keeps the SET as refused and sends the next one.",
    )


@dataclass(frozen=True, repr=False)
class ChangeLogSettings:
    """The change log."""

    change_log: str = setting(
        "auto",
        option_types.one_of("auto", "on", "off"),
        "`on`: the server keeps a row for each change: who changed what, when. `off`: it keeps none. `auto`:"
        " `on` with an SQL database and with flat files, otherwise when there is a state database because"
        " `STATE_DATABASE_URL` is set, or events or asynchronous requests are switched on.",
        "The rows are in the state database. See [Audit](../how-to/audit.md).",
    )
    change_retention: int = setting(
        90 * 86400,
        option_types.positive,
        "The time that the server keeps a row of the change log, in seconds.",
        "A signed checkpoint takes the place of deleted rows.",
    )
    audit_values: Literal["none", "names", "values"] = setting(
        "names",
        option_types.one_of("none", "names", "values"),
        "The changed attributes in a row of the change log. `names`: their names. `values`: their"
        " names, and their values before and after the change. `none`: neither.",
        "Passwords, other attributes that are never returned, copies of them by a mapping, and"
        " `EVENT_IGNORED_ATTRIBUTES` are logged without values. See [Audit](../how-to/audit.md#values).",
    )
    audit_reads: bool = setting(
        False,
        option_types.flag,
        "`true`: a GET of a single resource is a row of the change log too.",
        "The row is stored before the answer. Without a change log the setting stops the start.",
    )
    audit_export_url: str = secret(
        "",
        types.collector_url,
        "The URL of a collector: the server sends it every row of the change log.",
        "The URL is a secret because it may contain a password. Without a change log the setting stops the"
        " start. See [Audit](../how-to/audit.md#send-rows-to-a-collector).",
    )
    audit_export_token: str = secret(
        "",
        option_types.printable,
        "The bearer token for an HTTP collector.",
    )


@dataclass(frozen=True, repr=False)
class AsynchronousSettings:
    """Asynchronous requests."""

    async_request: str = setting(
        "none",
        option_types.one_of("none", "request", "long"),
        "`none`: every request is answered with its result. `request`: a request with `Prefer:"
        " respond-async` is answered 202. `long`: the same, and a request with `Prefer: wait=N` is answered"
        " 202 when it takes longer than N seconds.",
        "N counts up to 15 seconds. See [Asynchronous requests](../how-to/asynchronous-requests.md).",
    )
    async_result_ttl: int = setting(
        86400,
        option_types.positive,
        "The time that the server keeps the result of an asynchronous request, in seconds.",
        "After this time `/Async/{id}` is answered 404. A backend that is down is tried again for this time.",
    )


@dataclass(frozen=True, repr=False)
class WorkerSettings:
    """Background work."""

    embedded_worker: bool = setting(
        True,
        option_types.flag,
        "`true`: web processes deliver events and carry out asynchronous requests. `false`: they leave this"
        " to `scim worker`.",
        "With `CELERY_BROKER_URL` the setting has no effect.",
    )
    celery_broker_url: str = secret(
        "",
        types.broker_url,
        "The URL of a Redis or AMQP broker: Celery workers do the work of `scim worker`.",
        "Several URLs are separated by `;`: the server tries the next when one does not answer. See"
        " [Celery](../how-to/celery.md).",
    )
