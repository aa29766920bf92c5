"""The SearchRequest message (RFC 7644 section 3.4.3): from a body to a query."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import fields

from app.protocol.messages import Message, SchemasField, TextField, TextsField, one_message, read_message
from app.protocol.profiles import Profile
from app.protocol.search import Query
from app.protocol.tolerance import names_in_a_string, number_in_a_string
from schema import urns
from schema.errors import InvalidCount, InvalidValue

# SQL knows 64 bits, and no store has as many resources.
_MOST: Final = 10**18


def clamped(number: int) -> int:
    """Return a startIndex or count that any storage can take: larger ones mean the same."""
    return max(-_MOST, min(number, _MOST))


def _number_field(description: str) -> fields.Integer:
    return fields.Integer(
        strict=True,
        metadata={"description": description},
        error_messages=one_message("must be an integer"),
    )


class SearchMessage(Message):
    """A search by POST (RFC 7644 section 3.4.3, RFC 9865 section 3)."""

    schemas = SchemasField(urns.SEARCH_REQUEST)
    attributes = TextsField(metadata={"description": "Paths of the attributes to return."})
    excludedAttributes = TextsField(metadata={"description": "Paths of the attributes not to return."})
    filter = TextField(metadata={"example": 'userName sw "b"'})
    sortBy = TextField(metadata={"description": "Path of the attribute to sort by."})
    sortOrder = TextField(metadata={"description": "ascending or descending."})
    startIndex = _number_field("Index of the first resource to return, from 1.")
    count = _number_field("Largest number of resources to return.")
    cursor = TextField(
        metadata={"description": "Empty for the first page, then the nextCursor of the previous page."}
    )

    tolerances = {
        "attributes": names_in_a_string,
        "excludedAttributes": names_in_a_string,
        "startIndex": number_in_a_string,
        "count": number_in_a_string,
    }


def read_search_request(body: Mapping[str, Any], profile: Profile) -> Query:
    """Return what a SearchRequest message asks for.

    Raises InvalidSyntax for another message, InvalidValue naming what does not fit, and InvalidCount for a
    count beside a cursor (RFC 9865 section 2.1).
    """
    try:
        message = read_message(SearchMessage, body, profile)
    except InvalidValue as problem:
        if str(problem).startswith("count:") and body.get("cursor") is not None:
            raise InvalidCount(str(problem)) from problem
        raise
    return Query(
        filter=message.get("filter") or None,
        start_index=clamped(message.get("startIndex", 1)),
        count=clamped(message["count"]) if "count" in message else None,
        sort_by=message.get("sortBy") or None,
        descending=is_descending(message.get("sortOrder")),
        cursor=message.get("cursor"),
        attributes=tuple(message.get("attributes", ())),
        excluded_attributes=tuple(message.get("excludedAttributes", ())),
        leniency=profile.resources,
    )


def is_descending(order: str | None) -> bool:
    """Return whether `sortOrder` is descending. Raises InvalidValue."""
    if not order or order.lower() == "ascending":
        return False
    if order.lower() == "descending":
        return True
    raise InvalidValue(f"sortOrder: must be ascending or descending, not {order[:40]!r}")
