"""The messages of Bulk (RFC 7644 section 3.7): from a body to operations, and from results to a body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.protocol.bulk_references import bulk_id_of
from app.protocol.errors import Refusal, error_body
from app.protocol.messages import read_message, read_names
from app.protocol.preconditions import check_tags, versions_in
from app.protocol.tolerance import Profile
from schema import urns
from schema.errors import InvalidSyntax, InvalidValue

# The last three belong to a BulkResponse, and are of the same schema (RFC 7644 section 3.7).
_OPERATION: Final = ("method", "bulkId", "version", "path", "data", "location", "response", "status")
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")


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
    message = read_message(body, urns.BULK_REQUEST, ("Operations", "failOnErrors"), profile)
    operations = message.get("Operations")
    if not isinstance(operations, list):
        raise InvalidSyntax("Operations: must be a list of operations")
    if len(operations) > max_operations:
        raise Refusal(413, f"Operations: more than maxOperations ({max_operations})", "tooMany")
    fail_on_errors = message.get("failOnErrors")
    if fail_on_errors is not None and (type(fail_on_errors) is not int or fail_on_errors < 0):
        raise InvalidValue("failOnErrors: must be an integer, 0 or more")
    canonical = []
    for position, raw in enumerate(operations):
        if not isinstance(raw, Mapping):
            raise InvalidSyntax(f"Operations[{position}]: must be an object")
        canonical.append(read_names(raw, _OPERATION, profile, f"Operations[{position}]."))
    return BulkRequest(tuple(canonical), fail_on_errors or None)


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
