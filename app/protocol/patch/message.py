"""The PatchOp message (RFC 7644 section 3.5.2): from a body to operations."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from app.protocol.errors import Refusal
from app.protocol.messages import read_message, read_names
from app.protocol.tolerance import Profile
from schema import urns
from schema.errors import InvalidPath, InvalidSyntax, InvalidValue, ScimError

OPERATIONS: Final = ("add", "remove", "replace")


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
    operations = read_message(body, urns.PATCH_OP, ("Operations",), profile).get("Operations")
    if not isinstance(operations, list) or not (operations or profile.loose_messages):
        raise InvalidSyntax("Operations: must be a list of operations")
    return [_read_operation(raw, f"Operations[{i}]", profile) for i, raw in enumerate(operations)]


def _read_operation(raw: Any, place: str, profile: Profile) -> PatchOperation:
    if not isinstance(raw, Mapping):
        raise InvalidSyntax(f"{place}: must be an object")
    members = read_names(raw, ("op", "path", "value"), profile, f"{place}.")
    op = members.get("op")
    if isinstance(op, str) and profile.operation_name is not None:
        op = profile.operation_name(op)
    if op not in OPERATIONS:
        raise InvalidSyntax(f"{place}.op: must be one of {', '.join(OPERATIONS)}")
    path = members.get("path")
    if path is not None and not isinstance(path, str):
        raise InvalidPath(f"{place}.path: must be a string")
    if op != "remove" and "value" not in members:
        raise InvalidValue(f"{place}.value: is required")
    value = members.get("value")
    if op == "remove" and value is not None and not profile.removes_by_value:
        raise InvalidValue(f"{place}.value: is not allowed with remove; the path names the values to remove")
    if not path and profile.loose_messages:
        value = _only_object(value)
    return PatchOperation(str(op), path or None, value)


def _only_object(value: Any) -> Any:
    """Return the object in a list of one: the client of SCIM-SDK sends that without a path."""
    alone = isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping)
    return value[0] if alone else value


@contextmanager
def place_named(position: int) -> Iterator[None]:
    """Have what an operation raises name it."""
    try:
        yield
    except ScimError as problem:
        raise type(problem)(f"Operations[{position}]: {problem.detail}") from None
    except Refusal as problem:
        detail = f"Operations[{position}]: {problem.detail}"
        raise Refusal(problem.status, detail, problem.scim_type) from None
