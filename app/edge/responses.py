"""Responses as WSGI applications, and those that operations make (RFC 7644 section 3)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from werkzeug.urls import iri_to_uri

from app.edge.headers import chosen_type
from app.protocol.preconditions import entity_tag
from app.protocol.representation import Text
from app.protocol.search import Answer
from schema import urns

SCIM_JSON = "application/scim+json"
JSON = "application/json"

_STATUSES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_NO_BODY: Final = frozenset({204, 304})
# A browser takes what clients stored for what it is called, never for a page.
NOSNIFF: Final = ("X-Content-Type-Options", "nosniff")


class Response:
    """A response whose body is whole, comes in chunks, or is None where there is none.

    Without a `content_type` it is SCIM JSON, called plain JSON on request (RFC 7644 section 3.1).
    """

    def __init__(
        self,
        body: str | bytes | Iterator[bytes] | None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        self.body = body.encode() if isinstance(body, str) else body
        self.status_code = status
        self.headers = dict(headers) if headers else {}
        self.content_type = content_type

    def __call__(self, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
        body, headers = self.body, [*self.headers.items(), NOSNIFF]
        for number, (name, value) in enumerate(headers):
            if "\n" in value or "\r" in value:
                raise ValueError(f"the header {name} contains the end of a line")
            if name == "Location" and not value.isascii():
                # An operator may write an IRI as BASE_URL.
                headers[number] = (name, iri_to_uri(value))
        if body is not None:
            headers.append(("Content-Type", self.content_type or _type_of_json(environ)))
        if not isinstance(body, Iterator) and self.status_code not in _NO_BODY:
            headers.append(("Content-Length", str(len(body or b""))))
        start_response(_STATUSES[self.status_code], headers)
        if body is None or environ["REQUEST_METHOD"] == "HEAD":
            return ()
        return body if isinstance(body, Iterator) else (body,)


def _type_of_json(environ: Mapping[str, Any]) -> str:
    accept = environ.get("HTTP_ACCEPT")
    return chosen_type(accept, (SCIM_JSON, JSON)) if accept else SCIM_JSON


def empty_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response without a body, and so without a type of it."""
    return Response(None, status, headers)


def document_response(document: Any) -> Response:
    """Return a response that carries `document`, not yet JSON."""
    return Response(orjson.dumps(document))


def discovery_response(document: Mapping[str, Any]) -> Response:
    """Return one resource of the discovery endpoints, with its `meta.location` as Location."""
    return Response(orjson.dumps(document), headers={"Location": document["meta"]["location"]})


def resource_response(
    body: str | Iterator[bytes], version: str, location: str, status: int = 200
) -> Response:
    """Return one resource with its entity-tag and its location (RFC 7644 sections 3.3 to 3.5)."""
    return Response(body, status, {"ETag": entity_tag(version), "Location": location})


def changed_response(version: str, location: str) -> Response:
    """Return the answer to a PATCH that does not repeat the resource (RFC 7644 section 3.5.2)."""
    return empty_response(204, {"ETag": entity_tag(version), "Location": location})


def list_response(answer: Answer) -> Response:
    """Return a ListResponse (RFC 7644 section 3.4.2, RFC 9865 section 2)."""
    parts = [
        f'{{"schemas":["{urns.LIST_RESPONSE}"],"totalResults":{answer.total},'
        f'"itemsPerPage":{len(answer.resources)}'
    ]
    if answer.start_index is not None:
        parts.append(f'"startIndex":{answer.start_index}')
    if answer.next_cursor is not None:
        parts.append(f'"nextCursor":"{answer.next_cursor}"')
    if answer.previous_cursor is not None:
        parts.append(f'"previousCursor":"{answer.previous_cursor}"')
    beginning = ",".join([*parts, '"Resources":['])
    texts = [text for text in answer.resources if isinstance(text, str)]
    if len(texts) == len(answer.resources):
        return Response(f"{beginning}{','.join(texts)}]}}")
    return Response(_streamed(beginning, answer.resources))


def _streamed(beginning: str, resources: Sequence[Text]) -> Iterator[bytes]:
    yield beginning.encode()
    for position, text in enumerate(resources):
        if position:
            yield b","
        if isinstance(text, str):
            yield text.encode()
        else:
            yield from text
    yield b"]}"
