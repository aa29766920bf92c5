"""The parameters, headers and statuses that operations share: each is described once."""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}


def _query(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {"in": "query", "name": name, "schema": schema, "description": description, **more}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"in": "header", "name": name, "schema": _TEXT, "description": description}


def _path(name: str, description: str, **more: Any) -> dict[str, Any]:
    return {"in": "path", "name": name, "required": True, "schema": _TEXT, "description": description, **more}


# Without examples and defaults: Swagger UI would send those unasked.
PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "filter": _query(
        "filter", _TEXT, 'A filter (RFC 7644 section 3.4.2.2), such as `externalId eq "701984"`.'
    ),
    "startIndex": _query("startIndex", _NUMBER, "Index of the first resource wanted; 1 unless given."),
    "count": _query("count", _NUMBER, "How many resources are wanted at the most."),
    "sortBy": _query("sortBy", _TEXT, "Path of the attribute to sort by."),
    "sortOrder": _query(
        "sortOrder",
        {"type": "string", "enum": ["ascending", "descending"]},
        "Ascending unless given. Resources without a value come last when ascending.",
    ),
    "cursor": _query(
        "cursor",
        _TEXT,
        "Empty for the first page in cursor pagination, then the `nextCursor` of the page before.",
        allowEmptyValue=True,
    ),
    "attributes": _query("attributes", _TEXT, "Attribute paths, separated by commas: return only these."),
    "excludedAttributes": _query(
        "excludedAttributes", _TEXT, "Attribute paths, separated by commas: return all but these."
    ),
    "after": _query("after", _TEXT, "The `jti` of the last event that the reader has."),
    "limit": _query("limit", _NUMBER, "How many events are wanted at the most."),
    "If-Match": _header("If-Match", "Entity-tags: carry it out only at one of these versions; or `*`."),
    "If-None-Match": _header("If-None-Match", "Entity-tags: carry it out at no version but these; or `*`."),
    "Prefer": _header(
        "Prefer", "`respond-async`, and `wait=<seconds>`: answer before it is done, see ASYNC_REQUEST."
    ),
    "resource_id": _path("resource_id", "The `id` of the resource."),
    "txn": _path("txn", "The `Set-Txn` of the answer 202; with `:` and a number, one operation of a Bulk."),
    "feed_id": _path("feed_id", "The `id` of the feed."),
    "type_name": _path("name", "The name of the resource type."),
    "schema_urn": _path("name", "The URN of the schema."),
}
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "ETag": {"schema": _TEXT, "description": "The version of the resource, as in `meta.version`."},
    "Location": {"schema": _TEXT, "description": "Where the resource or the result is."},
    "Set-Txn": {"schema": _TEXT, "description": "The name of the transaction, as in `txn` of its event."},
    "Preference-Applied": {"schema": _TEXT, "description": "The preference that was followed."},
    "Retry-After": {"schema": _NUMBER, "description": "Seconds after which to ask again."},
    "WWW-Authenticate": {"schema": _TEXT, "description": "How to authenticate."},
    "Content-Security-Policy": {"schema": _TEXT, "description": "From where the page may load anything."},
    "Referrer-Policy": {"schema": _TEXT, "description": "The page tells no other server its address."},
}
# The meaning of each error, and the headers that come with it; its body is a SCIM error.
ERRORS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    400: ("The request cannot be used; `scimType` says in which way.", ()),
    401: ("The request has no valid credentials.", ("WWW-Authenticate",)),
    403: ("The request is not allowed: a sensitive filter, or a storage that is read-only.", ()),
    404: ("There is no such resource.", ()),
    409: ("It conflicts with what there is, such as a unique value.", ()),
    410: ("It is not there any more.", ()),
    412: ("The resource is not at a version that the request names.", ()),
    413: ("The body is too large, or the request asks for too much.", ()),
    415: ("The body is not JSON by its media type.", ()),
    500: ("An unexpected error; the log of the server describes it.", ()),
    501: ("This is not supported, or switched off.", ()),
    502: ("The storage gave no usable answer.", ()),
    503: ("The storage is not available for the moment.", ("Retry-After",)),
    504: ("The storage did not answer in time: the request may have been carried out.", ()),
}
