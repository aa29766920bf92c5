"""Reading requests (RFC 7644 section 3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask import Request

from app.edge.responses import JSON, SCIM_JSON
from app.protocol.documents import read_object
from app.protocol.errors import Refusal
from app.protocol.profiles import Profile
from app.protocol.search import Query
from app.protocol.search_message import clamped, is_descending
from schema.errors import InvalidCount, InvalidValue, ScimError
from schema.leniency import Leniency
from schema.projection import Projection, make_projection
from schema.resource_type import ResourceType

_MEDIA_TYPES: Final = frozenset({SCIM_JSON, JSON, ""})


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
    if request.mimetype not in _MEDIA_TYPES:
        raise Refusal(415, f"the body must be {SCIM_JSON} or {JSON}, not {request.mimetype}")
    length = request.content_length
    if (length or 0) > limits.size:
        raise Refusal(413, f"the body is larger than {limits.size} bytes", "tooLarge")
    # A stream may set aside as much memory as it is asked for.
    raw = request.stream.read(limits.size + 1 if length is None else length)
    if len(raw) > limits.size:
        raise Refusal(413, f"the body is larger than {limits.size} bytes", "tooLarge")
    return read_object(raw, limits.depth)


def read_query(arguments: Mapping[str, str], profile: Profile) -> Query:
    """Return what the query arguments of a list request ask for.

    Raises InvalidValue, and InvalidCount for a count beside a cursor (RFC 9865 section 2.1).
    """
    if not arguments:
        return Query()
    cursor = arguments.get("cursor")
    return Query(
        filter=arguments.get("filter") or None,
        start_index=read_integer(arguments, "startIndex", 1),
        count=read_integer(arguments, "count", None, InvalidValue if cursor is None else InvalidCount),
        sort_by=arguments.get("sortBy") or None,
        descending=is_descending(arguments.get("sortOrder")),
        cursor=cursor,
        attributes=_names(arguments, "attributes"),
        excluded_attributes=_names(arguments, "excludedAttributes"),
        leniency=profile.resources,
    )


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


def read_integer(
    arguments: Mapping[str, str], name: str, default: Any, error: type[ScimError] = InvalidValue
) -> Any:
    """Return the argument called `name` as a number that any storage takes, `default` where it is absent.

    Raises `error` for what is no integer.
    """
    text = arguments.get(name)
    if text is None or text == "":
        return default
    # Python reads a number of any length, in a time that grows with its square.
    if re.fullmatch("[+-]?[0-9]{1,100}", text) is None:
        raise error(f"{name}: must be an integer, not {text[:40]!r}")
    return clamped(int(text))
