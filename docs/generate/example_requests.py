"""An example of each operation: a request that the API description offers, and the answer of a server."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from app.edge.description.operation import Operation
from docs.generate.example_server import ExampleServer
from docs.generate.markdown import pretty

# Creation comes first, and removal last.
_ORDER: Final = {"POST": 0, "DELETE": 2}
_QUERIES: Final = {
    "findAll": "?filter=meta.resourceType%20eq%20%22User%22&attributes=userName",
    "readEvents": "?limit=1",
    "listUser": "?filter=userName%20sw%20%22b%22&count=10&attributes=userName",
    "listGroup": "?count=10&attributes=displayName",
}
_HEADERS: Final = ("Content-Type", "ETag", "Location", "Set-Txn", "Preference-Applied", "Retry-After")


_MOST_LINES: Final = 60


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, as they travel; `answer` is None if it is too long for a page."""

    request: str
    answer: str | None


def exchanges(operations: Iterable[Operation]) -> Mapping[str, Exchange]:
    """Return an example of each operation that succeeds, by the id of the operation."""
    # /Me needs a token, and is like the User that it stands for.
    able = [o for o in operations if o.answers and o.path != "/Me"]
    found: dict[str, Exchange] = {}
    with ExampleServer() as server:
        ids: dict[str, str] = {}
        for operation in sorted(able, key=lambda o: (_ORDER.get(o.method, 1), len(o.path))):
            found[operation.id] = _exchange(server, operation, ids)
    return found


def _exchange(server: ExampleServer, operation: Operation, ids: dict[str, str]) -> Exchange:
    path = _path(server, operation, ids) + _QUERIES.get(operation.id, "")
    body = operation.body.example if operation.body else None
    kind = operation.body.media_type if operation.body else ""
    if operation.id in ("readEvents", "pollEvents"):
        server.work("events")
    answer = server.ask(operation.method, path, body, Content_Type=kind)
    assert answer.status_code in operation.answers, (operation.id, answer.text)
    if operation.method == "POST" and answer.status_code == 201:
        ids[operation.path] = answer.json["id"]
    text = shown(answer)
    # An answer that no page shows takes no examples: /metrics, which the process shares, would shift them.
    is_short = text.count("\n") <= _MOST_LINES
    return Exchange(
        server.settled(_request(operation, path, kind, body)), server.settled(text) if is_short else None
    )


def _path(server: ExampleServer, operation: Operation, ids: Mapping[str, str]) -> str:
    if operation.path.startswith("/Async"):
        body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": operation.id}
        accepted = server.ask("POST", "/Users", body, Prefer="respond-async")
        if operation.method == "GET":
            server.work("requests 1")
        return str(accepted.headers["Location"])
    name = {"/Schemas/{name}": "urn:ietf:params:scim:schemas:core:2.0:Group"}.get(operation.path, "User")
    resource_id = ids.get(operation.path.partition("/{")[0], "")
    return operation.path.format(resource_id=resource_id, feed_id="default", name=name)


def _request(operation: Operation, path: str, kind: str, body: Any) -> str:
    lines = [f"{operation.method} {path} HTTP/1.1", "Host: scim.example.com"]
    lines += ["Authorization: Bearer <key>"] if operation.scopes else []
    lines += [f"Content-Type: {kind}", "", pretty(body)] if operation.body else []
    return "\n".join(lines)


def shown(answer: Any) -> str:
    """Return an answer as it travels, with the headers that matter."""
    lines = [f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}"]
    lines += [f"{name}: {answer.headers[name]}" for name in _HEADERS if name in answer.headers]
    if answer.data:
        lines += ["", pretty(answer.get_json(force=True)) if "json" in answer.mimetype else answer.text]
    return "\n".join(lines)
