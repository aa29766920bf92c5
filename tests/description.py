"""The description of the API as the tests read it: whether it has what the server answers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask

METHODS = ("get", "put", "post", "patch", "delete")
# The protocol's own, and what every answer has.
UNSAID = {"Content-Type", "Content-Length", "X-Content-Type-Options", "X-Request-ID", "traceparent"}
# By the routes of an application: its description.
_documents: dict[frozenset[str], dict[str, Any]] = {}


def document_of(app: Flask) -> dict[str, Any]:
    """Return the description of an application."""
    routes = frozenset(rule.rule for rule in app.url_map.iter_rules())
    if routes not in _documents:
        found: dict[str, Any] = app.test_client().get("/openapi.json").json
        _documents[routes] = found
    return _documents[routes]


def path_of(rule: str) -> str:
    """Return the path of a route as the description has it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def operations_in(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of every operation, references resolved at the top."""
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield method.upper(), path, methods[method]


def resolved(document: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a reference stands for."""
    while "$ref" in described:
        found: Any = document
        for name in described["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        described = found
    return described


def assert_described(app: Flask, answer: Any) -> None:
    """Assert that the description has the status, the media type and the headers of an answer.

    `app/edge/description/table.py` has all of them, by operation.
    """
    with app.test_request_context(environ_overrides=answer.request.environ) as context:
        rule = context.request.url_rule
    document = document_of(app)
    path = path_of(rule.rule) if rule else ""
    method = answer.request.method.replace("HEAD", "GET").lower()
    operation = document["paths"].get(path, {}).get(method)
    if operation is None:
        return
    name, status = operation["operationId"], str(answer.status_code)
    assert status in operation["responses"], f"{name}: {status} is not described: {answer.text}"
    described = resolved(document, operation["responses"][status])
    headers = {header for header in answer.headers.keys()} - UNSAID
    missing = headers - set(described.get("headers", {}))
    assert not missing, f"{name}: {status}: {sorted(missing)} are not described"
    if answer.data and answer.mimetype != "application/json":
        kinds = described.get("content", {})
        assert answer.mimetype in kinds, f"{name}: {status}: {answer.mimetype} is not described"
