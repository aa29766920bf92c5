"""From the table of operations to the OpenAPI document."""

from collections.abc import Iterable
from typing import Any

from apispec import APISpec

from app.edge.description.messages import ErrorMessage
from app.edge.description.operation import Answer, Body, Operation
from app.edge.description.vocabulary import ERRORS, HEADERS, PARAMETERS
from app.edge.responses import SCIM_JSON


def describe(spec: APISpec, operations: Iterable[Operation]) -> None:
    """Add operations to a document, and all that they share."""
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for name, parameter in PARAMETERS.items():
        spec.components.parameter(name, parameter["in"], parameter)
    for status, (description, headers) in ERRORS.items():
        answer = Answer(description, {SCIM_JSON: ErrorMessage}, headers)
        spec.components.response(_error(status), _answer(answer))
    tags = set()
    for operation in operations:
        if operation.tag not in tags:
            spec.tag({"name": operation.tag})
            tags.add(operation.tag)
        spec.path(operation.path, operations={operation.method.lower(): _operation(operation)})


def _operation(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    described = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": list(operation.parameters),
        "responses": answers | {str(status): _error(status) for status in operation.statuses},
        "security": _security(operation),
    }
    return described if operation.body is None else {**described, "requestBody": _body(operation.body)}


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Return the alternatives: each scheme with each of the scopes, and none where none is needed."""
    schemes = ("bearer", "apiKey")
    needed = [{scheme: [scope]} for scope in operation.scopes for scheme in schemes]
    return [*needed, {}] if operation.is_optional else needed


def _body(body: Body) -> dict[str, Any]:
    content = {"schema": body.schema, "example": body.example}
    return {"required": True, "content": {body.media_type: content}}


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.content:
        described["content"] = {kind: {"schema": schema} for kind, schema in answer.content.items()}
    if answer.headers:
        described["headers"] = {name: name for name in answer.headers}
    return described


def _error(status: int) -> str:
    return f"Error{status}"
