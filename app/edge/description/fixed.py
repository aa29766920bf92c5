"""The operations that are the same on every server: events, discovery, and its operation."""

from typing import Final

from app.edge.description import examples
from app.edge.description.messages import FeedList, FeedMessage, PollAnswer
from app.edge.description.operation import ANY, STORED, TEXT, Answer, Body, Operation, scim
from app.edge.responses import JSON
from app.protocol.poll_message import PollMessage

_STATUS: Final = {"type": "object", "properties": {"status": TEXT}, "example": {"status": "OK"}}
_EVENTS: Final = ("scim.events",)
_FEED: Final = "/Events/Feeds/{feed_id}"
OF_EVENTS: Final = (
    Operation(
        "readFeeds",
        "GET",
        "/Events/Feeds",
        "Events",
        "List the event feeds",
        {200: scim(FeedList, "The feeds.")},
        ("startIndex", "count"),
        errors=(400, *STORED),
        scopes=_EVENTS,
    ),
    Operation(
        "readFeed",
        "GET",
        _FEED,
        "Events",
        "An event feed and the resources in it",
        {200: scim(FeedMessage, "The feed.")},
        ("feed_id",),
        errors=(404, *STORED),
        scopes=_EVENTS,
    ),
    Operation(
        "readEvents",
        "GET",
        f"{_FEED}/Stream",
        "Events",
        "Read an event feed",
        {200: scim(ANY, "The SETs after the given one.")},
        ("feed_id", "after", "limit"),
        errors=(400, 404, 410, *STORED),
        scopes=_EVENTS,
    ),
    Operation(
        "pollEvents",
        "POST",
        f"{_FEED}/Stream",
        "Events",
        "Poll an event feed (RFC 8936)",
        {200: Answer("The SETs that are not acknowledged.", {JSON: PollAnswer})},
        ("feed_id",),
        Body(PollMessage, examples.POLL, JSON),
        (404, *STORED),
        _EVENTS,
    ),
    Operation(
        "readKeys",
        "GET",
        "/.well-known/jwks.json",
        "Keys",
        "The public keys that verify signed SETs",
        {200: Answer("The keys.", {"application/jwk-set+json": ANY})},
    ),
)


def _discovery(verb: str, path: str, summary: str, *parameters: str) -> Operation:
    headers = () if summary.startswith("Every") else ("Location",)
    answer = scim(ANY, summary, headers)
    errors = (403, 404) if parameters else (403,)
    return Operation(verb, "GET", path, "Discovery", summary, {200: answer}, parameters, None, errors)


OF_DISCOVERY: Final = (
    _discovery("readServiceProviderConfig", "/ServiceProviderConfig", "Features of this service provider"),
    _discovery("readResourceTypes", "/ResourceTypes", "Every resource type"),
    _discovery("readResourceType", "/ResourceTypes/{name}", "One resource type", "type_name"),
    _discovery("readSchemas", "/Schemas", "Every schema"),
    _discovery("readSchema", "/Schemas/{name}", "One schema", "schema_urn"),
)


def _health(verb: str, path: str, summary: str, *errors: int) -> Operation:
    answer = Answer(summary, {JSON: _STATUS})
    return Operation(verb, "GET", path, "Health", summary, {200: answer}, errors=errors)


OF_OPERATION: Final = (
    _health("checkHealth", "/health", "The process is alive"),
    _health("checkReadiness", "/health/ready", "Storage, state database and broker work", 502, 503, 504),
    _health("checkWritability", "/health/writable", "The storage accepts changes", 502, 503, 504),
    Operation(
        "readMetrics",
        "GET",
        "/metrics",
        "Metrics",
        "Metrics for Prometheus",
        {200: Answer("The metrics.", {"text/plain": TEXT})},
        errors=(503,),
        scopes=("scim.admin",),
    ),
)
