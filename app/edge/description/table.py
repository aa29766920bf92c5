"""The table of operations: every endpoint of the API with all that can be sent and answered.

A new endpoint is one more entry; parameters, headers and errors are named, and described in
`app.edge.description.vocabulary`. Tests compare the table with the routes, and with what is answered.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from marshmallow import Schema, fields

from app.edge.description import examples
from app.edge.description.fixed import OF_DISCOVERY, OF_EVENTS, OF_OPERATION
from app.edge.description.messages import LIST_MEMBERS
from app.edge.description.operation import ANY, STORED, TEXT, Answer, Body, Operation, scim
from app.edge.responses import SCIM_JSON
from app.protocol.bulk_message import BulkMessage
from app.protocol.patch.message import PatchMessage
from app.protocol.search_message import SearchMessage
from schema.marshalling import marshmallow_schema
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.tokens import SECEVENT_JWT

_PROJECTION: Final = ("attributes", "excludedAttributes")
_LIST: Final = ("filter", "startIndex", "count", "sortBy", "sortOrder", "cursor", *_PROJECTION)
_CONDITIONS: Final = ("If-Match", "If-None-Match")
_SEARCHED: Final = (400, 403, *STORED)
_WRITTEN: Final = (400, 403, 404, 409, 412, *STORED)

_ACCEPTED: Final = Answer(
    "Accepted as an asynchronous request; Location is the URI of the result.",
    headers=("Set-Txn", "Preference-Applied", "Location"),
)
_DONE: Final = Answer("Done.")
_ALL_TYPES: Final = ("scim.read",)


def operations_of(registry: Registry) -> Iterator[Operation]:
    """Yield every operation of a server with these resource types; no two have the same id."""
    of_user: Iterable[Operation] = ()
    for resource_type in registry.resource_types:
        schema = marshmallow_schema(resource_type)
        yield from _of_collection(resource_type, schema)
        single = list(_of_single(resource_type, schema))
        yield from single
        of_user = single if resource_type.name == "User" else of_user
    yield from _of_all_types(registry)
    yield from _of_me(of_user)
    yield from OF_EVENTS
    yield from OF_DISCOVERY
    yield from OF_OPERATION


def _row(
    resource_type: ResourceType, verb: str, method: str, below: str, summary: str, *rest: Any, **more: Any
) -> Operation:
    # No other id of an operation begins with one of these verbs, so a type cannot take one.
    name, path = resource_type.name, resource_type.endpoint + below
    scopes = _scopes("scim.read" if method == "GET" or below == "/.search" else "scim.write", name)
    return replace(Operation(f"{verb}{name}", method, path, name, summary, *rest, **more), scopes=scopes)


def _scopes(scope: str, *resource_types: str) -> tuple[str, ...]:
    """Return the scopes of which a request needs one: for every resource type, or for one of some."""
    return (scope, *(f"{scope}:{name}" for name in resource_types))


def _of_collection(resource_type: ResourceType, schema: type[Schema]) -> Iterator[Operation]:
    row = partial(_row, resource_type)
    found = scim(_list_schema(resource_type.name, schema), "The resources found.")
    created = scim(schema, "The new resource.", ("ETag", "Location"))
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
        (*STORED, 403, 404, 409),
    )
    yield row("search", "POST", "/.search", "Search by POST", {200: found}, body=sought, errors=_SEARCHED)


def _of_single(resource_type: ResourceType, schema: type[Schema]) -> Iterator[Operation]:
    row = partial(_row, resource_type)
    single = "/{resource_id}"
    one = scim(schema, "The resource.", ("ETag", "Location"))
    unchanged = Answer("If-None-Match names the current version of the resource.", headers=("ETag",))
    yield row(
        "get",
        "GET",
        single,
        "Retrieve",
        {200: one, 304: unchanged},
        ("resource_id", *_PROJECTION, *_CONDITIONS),
        errors=(400, 404, 412, *STORED),
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
    found = scim(ANY, "The resources found.")
    names = [resource_type.name for resource_type in registry.resource_types]
    page = ("Content-Security-Policy", "Referrer-Policy")
    yield Operation(
        "findAll",
        "GET",
        "/",
        "Search",
        "With a query or a SCIM media type, search all resource types; else this page, without credentials",
        {200: Answer(found.description, {**found.content, "text/html": TEXT}, page)},
        _LIST,
        errors=_SEARCHED,
        scopes=_ALL_TYPES,
        is_optional=True,
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
        scopes=_ALL_TYPES,
    )
    yield Operation(
        "runBulk",
        "POST",
        "/Bulk",
        "Bulk",
        "Many operations in one request",
        {200: scim(ANY, "The result of each operation."), 202: _ACCEPTED},
        ("Prefer",),
        Body(BulkMessage, examples.bulk_example(registry)),
        STORED,
        _scopes("scim.write", *names),
    )
    yield from _of_results(names)


def _of_me(of_user: Iterable[Operation]) -> Iterator[Operation]:
    """Yield the operations on the User that the credentials stand for: those on a User, but for POST."""
    found = {one.method: one for one in of_user}
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        row = partial(Operation, f"me{method.title()}", method, "/Me", "Me", "The authenticated user")
        if method in found:
            one = found[method]
            answers = {status: _located(answer) for status, answer in one.answers.items()}
            parameters = tuple(name for name in one.parameters if name != "resource_id")
            yield row(answers, parameters, one.body, (*one.errors, 404, 501), one.scopes)
        else:
            scope = "scim.read" if method == "GET" else "scim.write"
            yield row({}, errors=(501,), scopes=_scopes(scope, "User"))


def _located(answer: Answer) -> Answer:
    return replace(answer, headers=tuple(dict.fromkeys((*answer.headers, "Location"))))


def _of_results(names: Sequence[str]) -> Iterator[Operation]:
    scopes = _scopes("scim.write", *names)
    yield Operation(
        "readResult",
        "GET",
        "/Async/{txn}",
        "Async",
        "The result of an asynchronous request",
        {
            200: Answer("The result.", {SCIM_JSON: ANY, SECEVENT_JWT: TEXT}),
            202: scim(ANY, "The request is not finished.", ("Retry-After",)),
        },
        ("txn",),
        errors=(404, *STORED),
        scopes=scopes,
    )
    yield Operation(
        "forgetResult",
        "DELETE",
        "/Async/{txn}",
        "Async",
        "Delete a result, or withdraw a request that has not begun",
        {204: _DONE},
        ("txn",),
        errors=(404, 409, *STORED),
        scopes=scopes,
    )
