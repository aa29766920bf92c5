"""The table of operations: every endpoint of the API with all that can be sent and answered.

A new endpoint is one more entry; parameters, headers and errors are named, and described in
`app.edge.description.vocabulary`. Tests compare the table with the routes, and with what is answered.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from marshmallow import Schema, fields

from app.edge.description import examples
from app.edge.description.messages import (
    LIST_MEMBERS,
    FeedList,
    FeedMessage,
    PollAnswer,
)
from app.edge.description.operation import Answer, Body, Operation
from app.edge.responses import JSON, SCIM_JSON
from app.protocol.bulk_message import BulkMessage
from app.protocol.patch.message import PatchMessage
from app.protocol.poll_message import PollMessage
from app.protocol.search_message import SearchMessage
from schema.marshalling import marshmallow_schema
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.tokens import SECEVENT_JWT

_ANY: Final = {"type": "object"}
_TEXT: Final = {"type": "string"}
_STATUS: Final = {"type": "object", "properties": {"status": _TEXT}, "example": {"status": "OK"}}

_PROJECTION: Final = ("attributes", "excludedAttributes")
_LIST: Final = ("filter", "startIndex", "count", "sortBy", "sortOrder", "cursor", *_PROJECTION)
_CONDITIONS: Final = ("If-Match", "If-None-Match")
# Statuses that a storage may cause.
_STORED: Final = (501, 502, 503, 504)
_SEARCHED: Final = (400, 403, *_STORED)
_WRITTEN: Final = (400, 403, 404, 409, 412, *_STORED)

_ACCEPTED: Final = Answer(
    "Accepted as an asynchronous request; Location is the URI of the result.",
    headers=("Set-Txn", "Preference-Applied", "Location"),
)
_DONE: Final = Answer("Done.")


def operations_of(registry: Registry) -> Iterator[Operation]:
    """Yield every operation of a server with these resource types; no two have the same id."""
    for resource_type in registry.resource_types:
        schema = marshmallow_schema(resource_type)
        yield from _of_collection(resource_type, schema)
        yield from _of_single(resource_type, schema)
    yield from _of_all_types(registry)
    yield from _OF_REQUESTS
    yield from _OF_EVENTS
    yield from _OF_DISCOVERY
    yield from _OF_OPERATION


def _scim(schema: Any, description: str = "Done.", headers: tuple[str, ...] = ()) -> Answer:
    return Answer(description, {SCIM_JSON: schema}, headers)


def _row(
    resource_type: ResourceType, verb: str, method: str, below: str, summary: str, *rest: Any, **more: Any
) -> Operation:
    # No other id of an operation begins with one of these verbs, so a type cannot take one.
    name, path = resource_type.name, resource_type.endpoint + below
    return Operation(f"{verb}{name}", method, path, name, summary, *rest, **more)


def _of_collection(resource_type: ResourceType, schema: type[Schema]) -> Iterator[Operation]:
    row = partial(_row, resource_type)
    found = _scim(_list_schema(resource_type.name, schema), "The resources found.")
    created = _scim(schema, "The new resource.", ("ETag", "Location"))
    whole = Body(schema, examples.resource_example(resource_type))
    sought = Body(SearchMessage, examples.search_example(resource_type))
    yield row("list", "GET", "", "List or search", {200: found}, _LIST, errors=_SEARCHED)
    yield row(
        "create",
        "POST",
        "",
        "Create",
        {201: created, 202: _ACCEPTED},
        (*_PROJECTION, "Prefer"),
        whole,
        (*_STORED, 403, 404, 409),
    )
    yield row("search", "POST", "/.search", "Search by POST", {200: found}, body=sought, errors=_SEARCHED)


def _of_single(resource_type: ResourceType, schema: type[Schema]) -> Iterator[Operation]:
    row = partial(_row, resource_type)
    single = "/{resource_id}"
    one = _scim(schema, "The resource.", ("ETag", "Location"))
    unchanged = Answer("If-None-Match names the current version of the resource.", headers=("ETag",))
    yield row(
        "get",
        "GET",
        single,
        "Retrieve",
        {200: one, 304: unchanged},
        ("resource_id", *_PROJECTION, *_CONDITIONS),
        errors=(400, 404, 412, *_STORED),
    )
    whole = Body(schema, examples.resource_example(resource_type))
    parts = Body(PatchMessage, examples.patch_example(resource_type))
    identified = ("resource_id", *_PROJECTION, *_CONDITIONS, "Prefer")
    unrepeated = Answer("Done; the group is too large to be returned.", headers=("ETag", "Location"))
    later = {202: _ACCEPTED, 204: unrepeated}
    yield row("replace", "PUT", single, "Replace", {200: one, **later}, identified, whole, _WRITTEN)
    yield row("patch", "PATCH", single, "Change attributes", {200: one, **later}, identified, parts, _WRITTEN)
    yield row(
        "delete",
        "DELETE",
        single,
        "Delete",
        {202: _ACCEPTED, 204: _DONE},
        ("resource_id", *_CONDITIONS, "Prefer"),
        errors=_WRITTEN,
    )


def _list_schema(name: str, schema: type[Schema]) -> type[Schema]:
    members = {**LIST_MEMBERS, "Resources": fields.List(fields.Nested(schema))}
    return Schema.from_dict(members, name=f"{name}ListResponse")


def _of_all_types(registry: Registry) -> Iterator[Operation]:
    found = _scim(_ANY, "The resources found.")
    page = ("Content-Security-Policy", "Referrer-Policy")
    yield Operation(
        "findAll",
        "GET",
        "/",
        "Search",
        "With a query or a SCIM media type, search all resource types; else this page, without credentials",
        {200: Answer(found.description, {**found.content, "text/html": _TEXT}, page)},
        _LIST,
        errors=_SEARCHED,
        access="either",
    )
    yield Operation(
        "findAllByPost",
        "POST",
        "/.search",
        "Search",
        "Search all resource types",
        {200: found},
        body=Body(SearchMessage, examples.search_all_example(registry)),
        errors=_SEARCHED,
    )
    yield Operation(
        "runBulk",
        "POST",
        "/Bulk",
        "Bulk",
        "Many operations in one request",
        {200: _scim(_ANY, "The result of each operation."), 202: _ACCEPTED},
        ("Prefer",),
        Body(BulkMessage, examples.bulk_example(registry)),
        (403, *_STORED),
    )


_OF_REQUESTS: Final = (
    *(
        Operation(f"me{method.title()}", method, "/Me", "Me", "The authenticated user", {}, errors=(501,))
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
    Operation(
        "readResult",
        "GET",
        "/Async/{txn}",
        "Async",
        "The result of an asynchronous request",
        {
            200: Answer("The result.", {SCIM_JSON: _ANY, SECEVENT_JWT: _TEXT}),
            202: _scim(_ANY, "The request is not finished.", ("Retry-After",)),
        },
        ("txn",),
        errors=(404, *_STORED),
    ),
    Operation(
        "forgetResult",
        "DELETE",
        "/Async/{txn}",
        "Async",
        "Delete a result, or withdraw a request that has not begun",
        {204: _DONE},
        ("txn",),
        errors=(404, 409, *_STORED),
    ),
)
_FEED: Final = "/Events/Feeds/{feed_id}"
_OF_EVENTS: Final = (
    Operation(
        "readFeeds",
        "GET",
        "/Events/Feeds",
        "Events",
        "List the event feeds",
        {200: _scim(FeedList, "The feeds.")},
        ("startIndex", "count"),
        errors=(400, *_STORED),
    ),
    Operation(
        "readFeed",
        "GET",
        _FEED,
        "Events",
        "An event feed and the resources in it",
        {200: _scim(FeedMessage, "The feed.")},
        ("feed_id",),
        errors=(404, *_STORED),
    ),
    Operation(
        "readEvents",
        "GET",
        f"{_FEED}/Stream",
        "Events",
        "Read an event feed",
        {200: _scim(_ANY, "The SETs after the given one.")},
        ("feed_id", "after", "limit"),
        errors=(400, 403, 404, 410, *_STORED),
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
        (403, 404, *_STORED),
    ),
    Operation(
        "readKeys",
        "GET",
        "/.well-known/jwks.json",
        "Keys",
        "The public keys that verify signed SETs",
        {200: Answer("The keys.", {"application/jwk-set+json": _ANY})},
        access="public",
    ),
)


def _discovery(verb: str, path: str, summary: str, *parameters: str) -> Operation:
    headers = () if summary.startswith("Every") else ("Location",)
    answer = _scim(_ANY, summary, headers)
    errors = (403, 404) if parameters else (403,)
    return Operation(
        verb, "GET", path, "Discovery", summary, {200: answer}, parameters, None, errors, "public"
    )


_OF_DISCOVERY: Final = (
    _discovery("readServiceProviderConfig", "/ServiceProviderConfig", "Features of this service provider"),
    _discovery("readResourceTypes", "/ResourceTypes", "Every resource type"),
    _discovery("readResourceType", "/ResourceTypes/{name}", "One resource type", "type_name"),
    _discovery("readSchemas", "/Schemas", "Every schema"),
    _discovery("readSchema", "/Schemas/{name}", "One schema", "schema_urn"),
)


def _health(verb: str, path: str, summary: str, *errors: int) -> Operation:
    answer = Answer(summary, {JSON: _STATUS})
    return Operation(verb, "GET", path, "Health", summary, {200: answer}, errors=errors, access="public")


_OF_OPERATION: Final = (
    _health("checkHealth", "/health", "The process is alive"),
    _health("checkReadiness", "/health/ready", "Storage, state database and broker work", 502, 503, 504),
    _health("checkWritability", "/health/writable", "The storage accepts changes", 502, 503, 504),
    Operation(
        "readMetrics",
        "GET",
        "/metrics",
        "Metrics",
        "Metrics for Prometheus",
        {200: Answer("The metrics.", {"text/plain": _TEXT})},
        errors=_STORED,
    ),
)
