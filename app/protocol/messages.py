"""What PatchOp, BulkRequest and SearchRequest have in common (RFC 7644 section 3.1).

Each message is a marshmallow schema, which reads the message and describes it in OpenAPI.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final, cast

from marshmallow import Schema, ValidationError, fields, pre_load

from app.protocol.profiles import Profile, profile_of
from schema.errors import InvalidSyntax, InvalidValue
from telemetry.deviations import accepted

_STRICT: Final = profile_of("strict")


def one_message(problem: str) -> dict[str, Any]:
    """Return the error messages of a field with one text for all values that do not fit."""
    return dict.fromkeys(("invalid", "null", "too_large"), problem)


class TextField(fields.String):
    """A string."""

    default_error_messages = {**one_message("must be a string"), "required": "is required"}


class TextsField(fields.List[Any]):
    """A list of strings."""

    default_error_messages = one_message("must be a list of strings")

    def __init__(self, **options: Any) -> None:
        super().__init__(fields.String(), **options)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        # A body may hold very many values that do not fit: no error is made for each.
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.make_error("invalid")
        return value


class SchemasField(fields.List[Any]):
    """The attribute `schemas` of a message, which names the schema `urn`. Raises InvalidSyntax."""

    def __init__(self, urn: str) -> None:
        super().__init__(fields.String(), required=True, metadata={"example": [urn]})
        self._urn = urn

    def deserialize(self, value: Any, attr: Any = None, data: Any = None, **kwargs: Any) -> Any:
        """Return the URNs, as the client sent them."""
        if isinstance(value, list) and self._urn.lower() in {str(one).lower() for one in value}:
            return value
        if cast(Message, self.parent).profile.loose_messages:
            given = [one for one in (value if isinstance(value, list) else [value]) if one]
            name = self._urn.rpartition(":")[2].lower()
            # A client sends no other message to this endpoint, so a URN that ends alike means this message.
            if not given or any(str(one).lower().rpartition(":")[2] == name for one in given):
                accepted("loose-messages")
                return value
        raise InvalidSyntax(f"schemas: must contain {self._urn}")


class OperationsField(fields.List[Any]):
    """The operations of a message, which `canonical_operations` reads later. Raises InvalidSyntax."""

    def __init__(self, operation: type[Schema]) -> None:
        super().__init__(fields.Nested(operation), required=True)

    def deserialize(self, value: Any, attr: Any = None, data: Any = None, **kwargs: Any) -> Any:
        """Return the list, as the client sent it."""
        if not isinstance(value, list):
            raise InvalidSyntax("Operations: must be a list of operations")
        return value


class Names:
    """The names of the attributes of a message or an operation, which clients may write in any case."""

    def __init__(self, schema: Schema) -> None:
        self._names = frozenset(schema.fields)
        self._by_lower_case = {name.lower(): name for name in schema.fields}

    def read(
        self, raw: Mapping[str, Any], profile: Profile, position: int | None = None
    ) -> Mapping[str, Any]:
        """Return an object with canonical names: a message, or the operation at `position`.

        Of an attribute that occurs twice, the last value counts. By the letter, another name raises
        InvalidSyntax.
        """
        if self._names.issuperset(raw):
            return raw
        found = {}
        for key, value in raw.items():
            name = self._by_lower_case.get(key.lower())
            if name is not None:
                found[name] = value
            elif not profile.loose_messages:
                place = "" if position is None else f"Operations[{position}]."
                raise InvalidSyntax(f"{place}{key[:100]}: is not an attribute of this message")
            else:
                accepted("loose-messages")
        return found


class Message(Schema):
    """A message as a profile reads it; `tolerances` are the readings of loose messages, by attribute."""

    tolerances: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def __init__(self, profile: Profile = _STRICT) -> None:
        super().__init__()
        self.profile = profile
        self._names = Names(self)

    @pre_load
    def _canonical(self, body: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        message = dict(self._names.read(body, self.profile))
        for name in self.tolerances.keys() & message if self.profile.loose_messages else ():
            message[name] = self.tolerances[name](message[name])
        return {name: value for name, value in message.items() if value is not None}


@lru_cache(maxsize=None)
def _reader(kind: type[Message], profile: Profile) -> Message:
    return kind(profile)


def read_message(kind: type[Message], body: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the attributes of a message, of which those that are null are absent.

    Raises InvalidValue for a value that does not fit, and InvalidSyntax for another message or, by the
    letter, for an attribute that the message does not have.
    """
    return load(_reader(kind, profile), body)


def load(schema: Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema reads. Raises InvalidValue, which tells the attribute."""
    try:
        return cast(dict[str, Any], schema.load(body))
    except ValidationError as exc:
        [name, *_], problem = first_problem(exc)
        raise InvalidValue(f"{name}: {problem}") from None


def canonical_operations(
    operations: list[Any], names: Names, profile: Profile
) -> Iterator[Mapping[str, Any]]:
    """Yield operations with canonical names. Raises InvalidSyntax, which tells the position.

    marshmallow takes much longer for a nested schema, and would read on after the first error. One
    request may hold thousands of operations.
    """
    for position, raw in enumerate(operations):
        if not isinstance(raw, dict):
            raise InvalidSyntax(f"Operations[{position}]: must be an object")
        yield names.read(raw, profile, position)


def first_problem(error: ValidationError) -> tuple[list[str | int], str]:
    """Return the first error that marshmallow found: the names and positions above it, and its text."""
    path: list[str | int] = []
    problem: Any = error.messages
    while not isinstance(problem, str):
        if isinstance(problem, dict):
            key, problem = next(iter(problem.items()))
            path.append(key)
        else:
            problem = problem[0]
    return path, problem
