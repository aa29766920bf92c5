"""The PatchOp message (RFC 7644 section 3.5.2): from a body to operations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import Schema, fields, validate

from app.protocol.errors import Refusal
from app.protocol.messages import (
    Message,
    Names,
    OperationsField,
    SchemasField,
    TextField,
    canonical_operations,
    read_message,
)
from app.protocol.profiles import Profile
from schema import urns
from schema.errors import InvalidPath, InvalidSyntax, InvalidValue, ScimError
from telemetry.deviations import accepted

OPERATIONS: Final = ("add", "remove", "replace")


class PatchOperationMessage(Schema):
    """One operation of a PATCH."""

    op = TextField(required=True, validate=validate.OneOf(OPERATIONS))
    path = TextField(metadata={"example": 'emails[type eq "work"].value'})
    value = fields.Raw(metadata={"description": "Any value that the attribute can have."})


class PatchMessage(Message):
    """A PATCH request (RFC 7644 section 3.5.2)."""

    schemas = SchemasField(urns.PATCH_OP)
    Operations = OperationsField(PatchOperationMessage)


_NAMES: Final = Names(PatchOperationMessage())


@dataclass(frozen=True)
class PatchOperation:
    """One operation as the client sent it; `path` is None where there is none.

    `value` is None where there is none, too: null and absent are the same (RFC 7643 section 2.5).
    """

    op: str
    path: str | None
    value: Any = None


def read_operations(body: Mapping[str, Any], profile: Profile) -> list[PatchOperation]:
    """Return the operations of a PatchOp message.

    Raises InvalidSyntax when it is none, or an operation is not add, remove or replace.
    """
    operations = read_message(PatchMessage, body, profile)["Operations"]
    if not operations and not profile.loose_messages:
        raise InvalidSyntax("Operations: must be a list of operations")
    spellings = {op: op for op in OPERATIONS}
    return [
        _operation(members, position, profile, spellings)
        for position, members in enumerate(canonical_operations(operations, _NAMES, profile))
    ]


def _operation(
    members: Mapping[str, Any], position: int, profile: Profile, spellings: dict[str, str]
) -> PatchOperation:
    """Return one operation; `spellings` collects what each spelling of `op` means."""
    name, path, value = members.get("op"), members.get("path"), members.get("value")
    op = spellings.get(name) if isinstance(name, str) else None
    if op is None:
        op = spellings[str(name)] = _canonical_op(name, position, profile)
    if path is not None and not isinstance(path, str):
        raise InvalidPath(f"Operations[{position}].path: must be a string")
    if op != "remove" and "value" not in members:
        raise InvalidValue(f"Operations[{position}].value: is required")
    if op == "remove" and value is not None:
        if not profile.removes_by_value:
            detail = "is not allowed with remove; the path names the values to remove"
            raise InvalidValue(f"Operations[{position}].value: {detail}")
        accepted("removal-by-value")
    if not path and profile.loose_messages:
        value = _only_object(value)
    return PatchOperation(op, path or None, value)


def _canonical_op(name: Any, position: int, profile: Profile) -> str:
    if isinstance(name, str) and profile.operations_in_any_case:
        meant = name.lower()
        if meant != name and meant in OPERATIONS:
            accepted("operation-case")
        name = meant
    if name not in OPERATIONS:
        raise InvalidSyntax(f"Operations[{position}].op: must be one of {', '.join(OPERATIONS)}")
    return str(name)


def _only_object(value: Any) -> Any:
    """Return the object in a list of one: the client of SCIM-SDK sends that without a path."""
    alone = isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping)
    return value[0] if alone else value


def placed(problem: ScimError | Refusal, position: int) -> ScimError | Refusal:
    """Return what an operation raised, with the position of the operation."""
    detail = f"Operations[{position}]: {problem.detail}"
    if isinstance(problem, Refusal):
        return Refusal(problem.status, detail, problem.scim_type)
    return type(problem)(detail)
