"""The messages of Bulk (RFC 7644 section 3.7): from a body to operations, and from results to a body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from marshmallow import Schema, fields, validate

from app.protocol.bulk_references import bulk_id_of
from app.protocol.errors import Refusal, error_body
from app.protocol.messages import (
    Message,
    Names,
    OperationsField,
    SchemasField,
    TextField,
    canonical_operations,
    one_message,
    read_message,
)
from app.protocol.preconditions import check_tags, versions_in
from app.protocol.profiles import Profile
from schema import urns
from schema.errors import InvalidSyntax

_A_LIMIT: Final = "must be an integer, 0 or more"
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")


class BulkOperationMessage(Schema):
    """One operation of a Bulk request, or its result: both have the same schema (RFC 7644 section 3.7)."""

    method = TextField(required=True, validate=validate.OneOf(METHODS))
    bulkId = TextField(metadata={"description": "Name of the new resource within this request."})
    path = TextField(required=True, metadata={"description": "Such as /Users or /Users/bulkId:a."})
    version = TextField(metadata={"description": "Entity-tag that the resource must have."})
    data = fields.Dict(metadata={"description": "Body of the operation."})
    location = TextField(dump_only=True, metadata={"description": "URI of the resource."})
    response = fields.Dict(dump_only=True, metadata={"description": "The error of an operation that failed."})
    status = TextField(dump_only=True, metadata={"description": "HTTP status of the operation."})


class BulkMessage(Message):
    """A Bulk request (RFC 7644 section 3.7)."""

    schemas = SchemasField(urns.BULK_REQUEST)
    failOnErrors = fields.Integer(
        strict=True,
        validate=validate.Range(min=0, error=_A_LIMIT),
        metadata={"description": "Stop after this many errors; 0: never."},
        error_messages=one_message(_A_LIMIT),
    )
    Operations = OperationsField(BulkOperationMessage)


_NAMES: Final = Names(BulkOperationMessage())


@dataclass(frozen=True)
class BulkRequest:
    """A checked BulkRequest message; `fail_on_errors` is None when errors do not stop it."""

    operations: tuple[Mapping[str, Any], ...]
    fail_on_errors: int | None = None


# What became of an operation that others kept from being tried; no operation ends so by itself.
_NOT_REACHED: Final = 424


def read_bulk_request(body: Mapping[str, Any], max_operations: int, profile: Profile) -> BulkRequest:
    """Return a BulkRequest message.

    `failOnErrors` of 0 sets no limit: clients send it for a number that is not set. Raises
    InvalidSyntax for another message, InvalidValue for `failOnErrors` that is no number from 0,
    and Refusal 413 for more operations than `max_operations` (RFC 7644 section 3.7.4).
    """
    message = read_message(BulkMessage, body, profile)
    operations = message["Operations"]
    if len(operations) > max_operations:
        raise Refusal(413, f"Operations: more than maxOperations ({max_operations})", "tooMany")
    canonical = canonical_operations(operations, _NAMES, profile)
    return BulkRequest(tuple(canonical), message.get("failOnErrors") or None)


def bulk_response(operations: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the BulkResponse message as JSON, without the operations that were not reached."""
    reached = [operation for operation in operations if operation["status"] != str(_NOT_REACHED)]
    return orjson.dumps({"schemas": [urns.BULK_RESPONSE], "Operations": reached})


def not_reached(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of an operation that others kept from being tried."""
    problem = Refusal(_NOT_REACHED, "not carried out: earlier operations reached failOnErrors")
    result = new_result(operation)
    return {**result, "status": str(_NOT_REACHED), "response": orjson.loads(error_body(problem))}


def method_of(operation: Mapping[str, Any], profile: Profile) -> str:
    """Return the method of an operation. Raises InvalidSyntax."""
    method = operation.get("method")
    if isinstance(method, str) and profile.loose_messages:
        method = method.upper()
    if not isinstance(method, str) or method not in METHODS:
        raise InvalidSyntax(f"method: must be one of {', '.join(METHODS)}")
    return method


def endpoint_of(operation: Mapping[str, Any]) -> str:
    """Return the first part of the path of an operation, empty where it has none."""
    return str(operation.get("path", "")).strip("/").partition("/")[0]


def version_of(operation: Mapping[str, Any], profile: Profile) -> list[str] | None:
    """Return the versions that an operation is for, None for any. Raises InvalidSyntax."""
    version = operation.get("version")
    if version is None:
        return None
    if not isinstance(version, str):
        raise InvalidSyntax("version: must be a string")
    check_tags("version", version, profile)
    return versions_in(version)


def new_result(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the result of an operation says before that is carried out."""
    result = {"method": operation.get("method")}
    if bulk_id_of(operation):
        result["bulkId"] = operation["bulkId"]
    return result
