"""docs/reference/http-api.md, from the table of operations and the answers of a server."""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from app.edge.description.operation import Operation
from app.edge.description.table import operations_of
from app.edge.description.vocabulary import HEADERS, PARAMETERS
from docs.generate.example_requests import Exchange, exchanges
from docs.generate.markdown import bullets, code, document, listed, table
from schema.registry import load_registry

_INTRO: Final = """
This page lists every operation of the API, with the resource types that come with the server.
`/openapi.json` has the same as an OpenAPI 3.1 document, and for your own resource types too. Swagger UI
at `/` can send each request.

## Credentials

A request carries an API key or a [token](../how-to/tokens.md) as `Authorization: Bearer <token>` or as
`x-api-key: <token>`. A request without valid credentials is answered 401. `API_KEY` in the
[settings](settings.md#api_key) has the API keys, which include every scope. The last column of the table has
the scopes, of which the credentials need one; without it the answer is 403. `/Bulk` and `/.search` need the
scope of each resource type that they concern. A client without `scim.read` gets only the `id` of what it
writes.

## Media types

A body is `application/scim+json` or `application/json`; a request without a `Content-Type` counts as
JSON. An answer is `application/scim+json`, unless `Accept` asks for `application/json`. Every
[error](errors.md) is a SCIM error.

## Paths

Paths are relative to `BASE_PATH`. A slash at the end of a path makes no difference. HEAD is answered
like GET, without the body.
"""
# Facts that the summaries of the operations leave out, by tag.
_ABOUT: Final = {
    "Bulk": "See [Profiles](profiles.md) for references between operations, and `BULK_MAX_OPERATIONS` in the"
    " [settings](settings.md#bulk_max_operations) for the limit.",
    "Me": "`/Me` is the User for which the [token](../how-to/tokens.md#users) was created. The server answers"
    " 501 to POST, and to every request with other credentials.",
    "Async": "See [Asynchronous requests](../how-to/asynchronous-requests.md).",
    "Events": "See [Event feeds](../how-to/event-feeds.md).",
    "Keys": "See [Rotate keys](../how-to/rotate-keys.md).",
    "Health": "- `/health` is answered 200 as long as the process lives, also while it adopts documents,"
    " builds an index or seals resources at its start.\n"
    "- `/health/ready` is answered 200 when the storage can be read. The state database and the broker must"
    " answer too, if the server uses them.\n"
    "- `/health/writable` is answered 200 when the storage accepts writes. It is answered 503 when the"
    " storage is read-only, full, owned by another user or down, and by a process with earlier settings than"
    " another one. An upstream and JumpCloud count as"
    " writable when they answer.",
    "Metrics": "See [Metrics](metrics.md).",
}


def page() -> str:
    """Return the page of the HTTP API."""
    operations = list(operations_of(load_registry(None)))
    found = exchanges(operations)
    parts = ["## Operations", _overview(operations)]
    for tag, tagged in itertools.groupby(operations, lambda operation: operation.tag):
        parts += [f"## {tag}", _ABOUT.get(tag, "")]
        for operation in tagged:
            parts += _described(operation, found.get(operation.id))
    parts += ["## Parameters", _parameters(), "## Headers of answers", _headers()]
    return document("HTTP API", _INTRO, *parts)


def _overview(operations: Iterable[Operation]) -> str:
    rows = (
        (f"[`{o.method}`](#{_anchor(o)})", f"`{o.path}`", o.summary, _access(o)) for o in operations
    )
    return table(("method", "path", "what it does", "scopes"), rows)


def _title(operation: Operation) -> str:
    # A heading that ends with a slash has another anchor on GitHub than on the site.
    return f"`{operation.method} {operation.path}`" + (" (root)" if operation.path == "/" else "")


def _access(operation: Operation) -> str:
    if not operation.scopes:
        return "none"
    scopes = " or ".join(f"`{scope}`" for scope in operation.scopes)
    return f"{scopes} for a search, none for the page" if operation.is_optional else scopes


def _anchor(operation: Operation) -> str:
    return re.sub(r"[^\w -]", "", _title(operation).lower()).replace(" ", "-")


def _described(operation: Operation, exchange: Exchange | None) -> Iterator[str]:
    yield f"### {_title(operation)}"
    yield f"{operation.summary}."
    facts = [f"Name in `/openapi.json`: `{operation.id}`", f"Scopes: {_access(operation)}"]
    if operation.parameters:
        facts.append(f"[Parameters](#parameters): {_parameters_of(operation)}")
    facts.append(f"Errors: {_errors_of(operation)}")
    yield bullets(facts)
    answers = operation.answers.items()
    if answers:
        rows = ((str(s), listed(a.content), listed(a.headers), a.description) for s, a in answers)
        yield table(("status", "media types", "headers", "meaning"), rows)
    if exchange is not None:
        yield from _example(exchange)


def _parameters_of(operation: Operation) -> str:
    return listed(PARAMETERS[name]["name"] for name in operation.parameters)


def _errors_of(operation: Operation) -> str:
    return ", ".join(f"[{status}](errors.md#{status})" for status in operation.statuses)


def _example(exchange: Exchange) -> Iterator[str]:
    yield code(exchange.request, "http")
    answer = exchange.answer
    yield "The answer is too long for this page." if answer is None else code(answer, "http")


def _parameters() -> str:
    rows = ((f"`{p['name']}`", p["in"], _schema(p["schema"]), p["description"]) for p in PARAMETERS.values())
    return table(("parameter", "in", "type", "meaning"), rows)


def _schema(schema: dict[str, Any]) -> str:
    return listed(schema["enum"]) if "enum" in schema else str(schema["type"])


def _headers() -> str:
    return bullets(f"`{name}`: {header['description']}" for name, header in HEADERS.items())
