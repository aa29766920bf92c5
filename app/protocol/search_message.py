"""The SearchRequest message (RFC 7644 section 3.4.3): from a body to a query."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import fields, validate

from app.protocol.messages import Message, SchemasField, TextField, TextsField, one_message, read_message
from app.protocol.profiles import Profile
from app.protocol.search import Query
from app.protocol.tolerance import names_in_a_string, number_in_a_string
from schema import urns
from schema.errors import InvalidValue

# SQL knows 64 bits; what is longer is no page number.
DIGITS: Final = 18


def _number_field(description: str) -> fields.Integer:
    problem = f"must be an integer of {DIGITS} digits at most"
    return fields.Integer(
        strict=True,
        validate=validate.Range(-(10**DIGITS), 10**DIGITS, error=problem),
        metadata={"description": description},
        error_messages=one_message(problem),
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

    Raises InvalidSyntax for another message, InvalidValue naming what does not fit.
    """
    message = read_message(SearchMessage, body, profile)
    return Query(
        filter=message.get("filter") or None,
        start_index=message.get("startIndex", 1),
        count=message.get("count"),
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
