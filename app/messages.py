"""Reading requests (RFC 7644 section 3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from app.protocol.documents import read_object
from app.protocol.errors import Refusal
from app.protocol.search import Query
from app.responses import JSON, SCIM_JSON
from schema import urns
from schema.errors import InvalidSyntax, InvalidValue
from schema.projection import Projection, make_projection
from schema.resource_type import ResourceType

_MEDIA_TYPES: Final = frozenset({SCIM_JSON, JSON, ""})
# SQL knows 64 bits; what is longer is no page number.
_DIGITS: Final = 18
_IN_64_BITS: Final = validate.Range(-(10**_DIGITS), 10**_DIGITS)


class SearchMessage(Schema):
    """A search by POST (RFC 7644 section 3.4.3, RFC 9865 section 3)."""

    schemas = fields.List(fields.String(), metadata={"example": [urns.SEARCH_REQUEST]})
    attributes = fields.List(fields.String(), metadata={"description": "Return only these."})
    excludedAttributes = fields.List(fields.String(), metadata={"description": "Return all but these."})
    filter = fields.String(metadata={"example": 'userName sw "b"'})
    sortBy = fields.String(metadata={"description": "Path of the attribute to sort by."})
    sortOrder = fields.String(metadata={"description": "ascending or descending."})
    startIndex = fields.Integer(
        strict=True, validate=_IN_64_BITS, metadata={"description": "Index of the first one, from 1."}
    )
    count = fields.Integer(
        strict=True, validate=_IN_64_BITS, metadata={"description": "The most resources wanted."}
    )
    cursor = fields.String(metadata={"description": "Empty for the first page, then what nextCursor said."})


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


def read_query(arguments: Mapping[str, str]) -> Query:
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
    )


def read_search_request(body: Mapping[str, Any]) -> Query:
    """Return what a SearchRequest message asks for (RFC 7644 section 3.4.3).

    Raises InvalidSyntax for another message, InvalidValue naming what does not fit.
    """
    names = {name.lower(): name for name in SearchMessage().fields}
    message = {names.get(key.lower(), key): value for key, value in body.items() if value is not None}
    try:
        read = SearchMessage(unknown=EXCLUDE).load(message)
    except ValidationError as exc:
        problems = "; ".join(f"{name}: {_flat(problem)}" for name, problem in exc.messages_dict.items())
        raise InvalidValue(problems) from None
    schemas = {urn.lower() for urn in read.get("schemas", ())}
    if schemas and urns.SEARCH_REQUEST.lower() not in schemas:
        raise InvalidSyntax(f"schemas: must contain {urns.SEARCH_REQUEST}")
    return Query(
        filter=read.get("filter") or None,
        start_index=read.get("startIndex", 1),
        count=read.get("count"),
        sort_by=read.get("sortBy") or None,
        descending=_is_descending(read.get("sortOrder")),
        cursor=read.get("cursor"),
        attributes=tuple(read.get("attributes", ())),
        excluded_attributes=tuple(read.get("excludedAttributes", ())),
    )


def _flat(problem: Any) -> str:
    if isinstance(problem, dict):
        return ", ".join(f"[{key}] {_flat(value)}" for key, value in problem.items())
    return " ".join(map(str, problem)) if isinstance(problem, list) else str(problem)


def _is_descending(order: str | None) -> bool:
    if not order or order.lower() == "ascending":
        return False
    if order.lower() == "descending":
        return True
    raise InvalidValue(f"sortOrder: must be ascending or descending, not {order[:40]!r}")


def read_names(arguments: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths in the arguments `attributes` and `excludedAttributes`."""
    return _names(arguments, "attributes"), _names(arguments, "excludedAttributes")


def read_projection(resource_type: ResourceType, arguments: Mapping[str, str]) -> Projection:
    """Return what the arguments `attributes` and `excludedAttributes` ask for. Raises InvalidValue."""
    if not arguments:
        return Projection(resource_type)
    return make_projection(resource_type, *read_names(arguments))


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
