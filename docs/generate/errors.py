"""docs/reference/errors.md, from the errors of the code and the answers of a server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from app.configuration.settings import Settings
from app.edge.description.vocabulary import ERRORS
from app.edge.responses import SCIM_JSON
from app.protocol.cursors import Cursor, Cursors
from app.protocol.errors import RETRY_AFTER_S, TooManyRequests, error_body, status_of
from docs.generate.example_requests import shown
from docs.generate.example_server import ExampleServer
from docs.generate.markdown import code, document, listed, pretty, table
from schema import urns
from schema.errors import ScimError
from storage import errors as storage

_INTRO: Final = """
Every error is a SCIM error (RFC 7644 section 3.12), `application/scim+json`: `status` repeats the
status, `scimType` names the kind of error, and `detail` says in words what is wrong. `detail` may change
between versions; programs read `status` and `scimType`.

An operation of a Bulk request has the same error in its `response`. The answer to the Bulk request
itself is 200.
"""
_PROXY: Final = """
## From a proxy

An error whose body is not a SCIM error comes from another program: a proxy in front of the server, or
uwsgi or gunicorn. See [Web servers](web-servers.md).
"""
# Statuses that no operation of the description has.
_OTHERS: Final = {
    405: "The path exists, but not with this method. `Allow` names the methods.",
    408: "The client did not send the whole request within `REQUEST_TIMEOUT`.",
    411: "The web server cannot read a body without `Content-Length`. Only uwsgi and gunicorn answer this.",
    424: "The server did not carry out this operation of an asynchronous Bulk request, because it had reached"
    " `failOnErrors` before.",
    431: "The head of the request is larger than 64 KiB.",
}
_WORDS: Final = {
    "tooLarge": "The body is larger than `MAX_BODY_SIZE`, or `BULK_MAX_PAYLOAD_SIZE` for a Bulk request.",
    "tooMany": "The request asks for too much: more Bulk operations than `BULK_MAX_OPERATIONS`, or a PATCH"
    " that is too costly.",
}
_PATCH: Final = {"schemas": [urns.PATCH_OP]}


def _user(name: str, **more: Any) -> dict[str, Any]:
    return {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, **more}


def _operation(**operation: Any) -> dict[str, Any]:
    return {**_PATCH, "Operations": [operation]}


@dataclass(frozen=True)
class Case:
    """A request that is refused, and how it is shown."""

    status: int
    word: str
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


_CASES: Final = (
    Case(400, "invalidFilter", "GET", "/Users?filter=userName%20is%20%22bjensen%22"),
    Case(400, "invalidSyntax", "POST", "/Users", '{"userName": '),
    Case(400, "invalidPath", "PATCH", "/Users/{id}", _operation(op="replace", path="emails[", value="x")),
    Case(400, "noTarget", "PATCH", "/Users/{id}", _operation(op="remove")),
    Case(400, "invalidValue", "POST", "/Users", _user("alice", active="perhaps")),
    Case(400, "mutability", "PATCH", "/Users/{id}", _operation(op="replace", path="meta.created", value="x")),
    Case(400, "invalidCursor", "GET", "/Users?cursor=x"),
    Case(400, "invalidCount", "GET", "/Users?count=1000&cursor="),
    Case(401, "", "GET", "/Users", headers={"Authorization": "Bearer wrong"}),
    Case(403, "", "GET", "/Schemas?filter=name%20pr"),
    Case(404, "", "GET", "/Users/0"),
    Case(405, "", "DELETE", "/Users"),
    Case(409, "uniqueness", "POST", "/Users", _user("BJensen")),
    Case(410, "", "GET", "/Events/Feeds/default/Stream?after=0"),
    Case(412, "", "DELETE", "/Users/{id}", headers={"If-Match": 'W/"2"'}),
    Case(413, "tooLarge", "POST", "/Users", _user("x" * 2000)),
    Case(413, "tooMany", "POST", "/Bulk", {"schemas": [urns.BULK_REQUEST], "Operations": [{}, {}]}),
    Case(415, "", "POST", "/Users", "userName: bjensen", {"Content-Type": "application/yaml"}),
    Case(501, "", "GET", "/Me"),
)
# Errors of a broken storage, and of a client that sent many requests before.
_OTHER_CAUSES: Final = (
    TooManyRequests("the client may send 25/s requests; try again later", 1),
    storage.BadBackendAnswer("x"),
    storage.StorageUnavailable("x"),
    storage.BackendTimeout("x"),
    storage.OutcomeUnknown("x"),
    storage.Contention("x"),
)


def page() -> str:
    """Return the page of errors."""
    examples = _examples()
    meanings = {**{status: meaning for status, (meaning, _) in ERRORS.items()}, **_OTHERS}
    parts = ["## scimType", table(("`scimType`", "status", "meaning"), _words())]
    for status in sorted(meanings):
        parts.append(f"## {status}")
        headers = ERRORS[status][1] if status in ERRORS else ()
        with_headers = f" The answer has the header {listed(headers)}." if headers else ""
        parts.append(f"{HTTPStatus(status).phrase}. {meanings[status]}{with_headers}")
        parts += [text for number, text in examples if number == status]
    return document("Errors", _INTRO, *parts, _PROXY)


def _words() -> Iterator[tuple[str, str, str]]:
    answered = {case.word for case in _CASES} | {"expiredCursor"}
    for kind in ScimError.__subclasses__():
        word = kind.scim_type or ""
        if word in answered and word not in _WORDS:
            yield f"`{word}`", str(status_of(kind("x"))), (kind.__doc__ or "").partition("\n")[0]
    for word, meaning in _WORDS.items():
        yield f"`{word}`", "413", meaning


def _examples() -> list[tuple[int, str]]:
    with ExampleServer(MAX_BODY_SIZE="1024", BULK_MAX_OPERATIONS="1") as server:
        user = server.ask("POST", "/Users", _user("bjensen")).json["id"]
        found = [(case.status, _example(server, case, user)) for case in _CASES]
    found.append((400, code(_response(_expired_cursor()), "http")))
    return found + [(status_of(error), code(_response(error), "http")) for error in _OTHER_CAUSES]


def _example(server: ExampleServer, case: Case, user: str) -> str:
    path = case.path.replace("{id}", user)
    answer = server.ask(case.method, path, case.body, **case.headers)
    assert answer.status_code == case.status, (case, answer.text)
    assert answer.json.get("scimType", "") == case.word, (case, answer.text)
    lines = [f"{case.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in case.headers.items())]
    if case.body is not None:
        text = case.body if isinstance(case.body, str) else json.dumps(case.body)
        lines += ["", text if len(text) < 500 else "(a body of more than 1024 bytes)"]
    request, response = "\n".join(lines), shown(answer)
    return server.settled(f"{code(request, 'http')}\n\n{code(response, 'http')}")


def _response(error: Exception) -> str:
    status = status_of(error)
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\nContent-Type: {SCIM_JSON}"
    retry_after_s = error.retry_after_s if isinstance(error, TooManyRequests) else RETRY_AFTER_S
    retry = f"\nRetry-After: {retry_after_s}" if status in (429, 503) else ""
    return f"{head}{retry}\n\n{pretty(json.loads(error_body(error)))}"


def _expired_cursor() -> Exception:
    """Return what a cursor that is two hours old causes."""
    now = datetime.now(UTC)
    timeout_s = Settings().cursor_timeout
    before = Cursors(lambda client: [b"key"], timeout_s, lambda: now - timedelta(hours=2))
    text = before.write(Cursor(None, False, 0), "client", (), 10)
    try:
        Cursors(lambda client: [b"key"], timeout_s, lambda: now).read(text, "client", (), 10)
    except ScimError as exc:
        return exc
    raise AssertionError("a cursor of two hours ago is valid")
