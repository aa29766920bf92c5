"""From what an operation returns to an HTTP response."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from flask import Response, request
from werkzeug.datastructures import Headers

from app.edge.headers import chosen_type
from app.protocol.preconditions import entity_tag
from app.protocol.representation import Text
from app.protocol.search import Answer
from schema import urns

SCIM_JSON = "application/scim+json"
JSON = "application/json"


class _Complete(Response):
    """A response with a body, whose headers leave as they are: werkzeug would copy and look through them."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        """Return the headers. The length of a body that is whole has been among them since it was set."""
        return self.headers


def scim_response(
    body: str | bytes | Iterator[bytes], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response that carries SCIM JSON, as plain JSON only on request (RFC 7644 section 3.1)."""
    data = body.encode() if isinstance(body, str) else body
    accept = request.environ.get("HTTP_ACCEPT")
    content_type = chosen_type(accept, (SCIM_JSON, JSON)) if accept else SCIM_JSON
    # A location with other letters has to be made a URI, as an operator may write an IRI as BASE_URL.
    is_complete = headers is None or headers.get("Location", "").isascii()
    kind = _Complete if is_complete else Response
    return kind(data, status, headers, content_type=content_type, direct_passthrough=True)


def empty_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response without a body, and so without a type of it."""
    response = Response(status=status, headers=headers)
    response.headers.pop("Content-Type", None)
    return response


def document_response(document: Any) -> Response:
    """Return a response that carries `document`, not yet JSON."""
    return scim_response(orjson.dumps(document))


def discovery_response(document: Mapping[str, Any]) -> Response:
    """Return one resource of the discovery endpoints, with its `meta.location` as Location."""
    return scim_response(orjson.dumps(document), headers={"Location": document["meta"]["location"]})


def resource_response(
    body: str | Iterator[bytes], version: str, location: str, status: int = 200
) -> Response:
    """Return one resource with its entity-tag and its location (RFC 7644 sections 3.3 to 3.5)."""
    return scim_response(body, status, {"ETag": entity_tag(version), "Location": location})


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
        return scim_response(f"{beginning}{','.join(texts)}]}}")
    return scim_response(_streamed(beginning, answer.resources))


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
