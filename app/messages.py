"""Reading requests (RFC 7644 section 3)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Request
from marshmallow import Schema, ValidationError, fields, validate

from app.protocol.documents import read_object
from app.protocol.errors import Refusal
from app.protocol.messages import read_message
from app.protocol.search import Query
from app.protocol.tolerance import Profile, names_in_a_string, number_in_a_string
from app.responses import JSON, SCIM_JSON
from schema import urns
from schema.errors import InvalidValue
from schema.leniency import Leniency
from schema.projection import Projection, make_projection
from schema.resource_type import ResourceType

_MEDIA_TYPES: Final = frozenset({SCIM_JSON, JSON, ""})
# SQL knows 64 bits; what is longer is no page number.
_DIGITS: Final = 18


def _text_field(**metadata: str) -> fields.String:
    return fields.String(metadata=metadata, error_messages={"invalid": "must be a string"})


def _names_field(description: str) -> fields.List[Any]:
    problem = "must be a list of strings"
    name = fields.String(error_messages={"invalid": problem, "null": problem})
    return fields.List(
        name, metadata={"description": description}, error_messages={"invalid": problem}
    )


def _number_field(description: str) -> fields.Integer:
    problem = f"must be an integer of {_DIGITS} digits at most"
    return fields.Integer(
        strict=True,
        validate=validate.Range(-(10**_DIGITS), 10**_DIGITS, error=problem),
        metadata={"description": description},
        error_messages={"invalid": problem, "too_large": problem},
    )


class SearchMessage(Schema):
    """A search by POST (RFC 7644 section 3.4.3, RFC 9865 section 3)."""

    schemas = fields.List(fields.String(), metadata={"example": [urns.SEARCH_REQUEST]})
    attributes = _names_field("Paths of the attributes to return.")
    excludedAttributes = _names_field("Paths of the attributes not to return.")
    filter = _text_field(example='userName sw "b"')
    sortBy = _text_field(description="Path of the attribute to sort by.")
    sortOrder = _text_field(description="ascending or descending.")
    startIndex = _number_field("Index of the first resource to return, from 1.")
    count = _number_field("Largest number of resources to return.")
    cursor = _text_field(description="Empty for the first page, then the nextCursor of the previous page.")


_SEARCH: Final = SearchMessage()
_SEARCH_NAMES: Final = frozenset(_SEARCH.fields) - {"schemas"}


@dataclass(frozen=True)
class BodyLimits:
    """The largest body of a request, in bytes, and the deepest, in levels."""

    size: int
    depth: int


def read_body(request: Request, limits: BodyLimits) -> Mapping[str, Any]:
    """Return the JSON object a request carries.

    Raises Refusal 413 for a body that is too large, 415 for another media type, and InvalidSyntax
    for text that is no JSON object, or is nested too deeply.
    """
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise Refusal(415, f"the body must be {SCIM_JSON} or {JSON}, not {media_type}")
    if (request.content_length or 0) > limits.size:
        raise Refusal(413, f"the body is larger than {limits.size} bytes", "tooLarge")
    raw = request.stream.read(limits.size + 1)
    if len(raw) > limits.size:
        raise Refusal(413, f"the body is larger than {limits.size} bytes", "tooLarge")
    return read_object(raw, limits.depth)


def read_query(arguments: Mapping[str, str], profile: Profile) -> Query:
    """Return what the query arguments of a list request ask for. Raises InvalidValue."""
    if not arguments:
        return Query()
    return Query(
        filter=arguments.get("filter") or None,
        start_index=read_integer(arguments, "startIndex", 1),
        count=read_integer(arguments, "count", None),
        sort_by=arguments.get("sortBy") or None,
        descending=_is_descending(arguments.get("sortOrder")),
        cursor=arguments.get("cursor"),
        attributes=_names(arguments, "attributes"),
        excluded_attributes=_names(arguments, "excludedAttributes"),
        leniency=profile.resources,
    )


def read_search_request(body: Mapping[str, Any], profile: Profile) -> Query:
    """Return what a SearchRequest message asks for (RFC 7644 section 3.4.3).

    Raises InvalidSyntax for another message, InvalidValue naming what does not fit.
    """
    message = read_message(body, urns.SEARCH_REQUEST, _SEARCH_NAMES, profile)
    if profile.loose_messages:
        message = {name: _LOOSELY.get(name, _as_it_is)(value) for name, value in message.items()}
    try:
        read = _SEARCH.load({name: value for name, value in message.items() if value is not None})
    except ValidationError as exc:
        name, problem = next(iter(exc.messages_dict.items()))
        raise InvalidValue(f"{name}: {_first(problem)}") from None
    return Query(
        filter=read.get("filter") or None,
        start_index=read.get("startIndex", 1),
        count=read.get("count"),
        sort_by=read.get("sortBy") or None,
        descending=_is_descending(read.get("sortOrder")),
        cursor=read.get("cursor"),
        attributes=tuple(read.get("attributes", ())),
        excluded_attributes=tuple(read.get("excludedAttributes", ())),
        leniency=profile.resources,
    )


# Members that the default profile reads in another type than that of the RFC.
_LOOSELY: Final[dict[str, Callable[[Any], Any]]] = {
    "attributes": names_in_a_string,
    "excludedAttributes": names_in_a_string,
    "startIndex": number_in_a_string,
    "count": number_in_a_string,
}


def _as_it_is(value: Any) -> Any:
    return value


def _first(problem: Any) -> str:
    """Return the first of the problems that marshmallow has with a value."""
    while not isinstance(problem, str):
        problem = next(iter(problem.values() if isinstance(problem, dict) else problem))
    return problem


def _is_descending(order: str | None) -> bool:
    if not order or order.lower() == "ascending":
        return False
    if order.lower() == "descending":
        return True
    raise InvalidValue(f"sortOrder: must be ascending or descending, not {order[:40]!r}")


def read_names(arguments: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths in the arguments `attributes` and `excludedAttributes`."""
    return _names(arguments, "attributes"), _names(arguments, "excludedAttributes")


def read_projection(
    resource_type: ResourceType, arguments: Mapping[str, str], leniency: Leniency
) -> Projection:
    """Return what the arguments `attributes` and `excludedAttributes` ask for. Raises InvalidValue."""
    if not arguments:
        return Projection(resource_type)
    return make_projection(resource_type, *read_names(arguments), leniency)


def _names(arguments: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in arguments.get(name, "").split(",") if part.strip())


def read_integer(arguments: Mapping[str, str], name: str, default: Any) -> Any:
    """Return the argument called `name` as a number of at most 18 digits, `default` where it is absent.

    Raises InvalidValue.
    """
    text = arguments.get(name)
    if text is None or text == "":
        return default
    if re.fullmatch(rf"[+-]?[0-9]{{1,{_DIGITS}}}", text) is None:
        raise InvalidValue(f"{name}: must be an integer, not {text[:40]!r}")
    return int(text)
