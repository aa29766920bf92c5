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
    "startIndex": _query("startIndex", _NUMBER, "Index of the first resource to return, from 1; default 1."),
    "count": _query("count", _NUMBER, "Largest number of resources to return."),
    "sortBy": _query("sortBy", _TEXT, "Path of the attribute to sort by."),
    "sortOrder": _query(
        "sortOrder",
        {"type": "string", "enum": ["ascending", "descending"]},
        "Default: ascending. Resources without a value come last in ascending order.",
    ),
    "cursor": _query(
        "cursor",
        _TEXT,
        "Cursor pagination: empty for the first page, then the `nextCursor` of the previous page.",
        allowEmptyValue=True,
    ),
    "attributes": _query("attributes", _TEXT, "Paths of the attributes to return, separated by commas."),
    "excludedAttributes": _query(
        "excludedAttributes", _TEXT, "Paths of the attributes not to return, separated by commas."
    ),
    "after": _query("after", _TEXT, "The `jti` of the last SET that the reader has."),
    "limit": _query("limit", _NUMBER, "Largest number of SETs to return."),
    "If-Match": _header("If-Match", "Entity-tags or `*`: proceed only if the resource has one of them."),
    "If-None-Match": _header("If-None-Match", "Entity-tags or `*`: proceed only if the resource has none."),
    "Prefer": _header(
        "Prefer", "`respond-async`, `wait=<seconds>`: the answer may be 202, see ASYNC_REQUEST."
    ),
    "resource_id": _path("resource_id", "The `id` of the resource."),
    "txn": _path("txn", "The `Set-Txn` of the answer 202; with `:` and a number, an operation of a Bulk."),
    "feed_id": _path("feed_id", "The `id` of the feed."),
    "type_name": _path("name", "The name of the resource type."),
    "schema_urn": _path("name", "The URN of the schema."),
}
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "ETag": {"schema": _TEXT, "description": "The version of the resource, as in `meta.version`."},
    "Location": {"schema": _TEXT, "description": "URI of the resource or of the result."},
    "Set-Txn": {"schema": _TEXT, "description": "Transaction: the `txn` claim of its SETs."},
    "Preference-Applied": {"schema": _TEXT, "description": "The preferences that were followed."},
    "Retry-After": {"schema": _NUMBER, "description": "Seconds to wait before the next request."},
    "WWW-Authenticate": {"schema": _TEXT, "description": "The authentication scheme."},
    "Content-Security-Policy": {"schema": _TEXT, "description": "Allowed sources of content of the page."},
    "Referrer-Policy": {"schema": _TEXT, "description": "Browsers do not reveal the URL of the page."},
}
# The meaning of each error, and the headers that come with it; its body is a SCIM error.
ERRORS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    400: ("The request is invalid; `scimType` names the kind of error.", ()),
    401: ("The request has no valid credentials.", ("WWW-Authenticate",)),
    403: (
        "The credentials do not include the scope or are not valid from this address, the filter is"
        " forbidden, the storage is read-only, or another program made the resource and `FOREIGN_ENTRIES`"
        " is `read`.",
        ("WWW-Authenticate",),
    ),
    404: ("The resource does not exist.", ()),
    409: ("The request conflicts with the stored data, such as a unique value in use.", ()),
    410: ("The feed no longer holds the SET.", ()),
    412: ("The version of the resource does not meet If-Match or If-None-Match.", ()),
    413: ("The body is too large, or the request is too costly.", ()),
    415: ("The media type of the body is not JSON.", ()),
    429: (
        "The client, or clients with invalid credentials at its address, send too many requests.",
        ("Retry-After",),
    ),
    500: ("An unexpected error; the log of the server has the details.", ()),
    501: ("The feature is not supported, or is switched off.", ()),
    502: ("The storage sent an unusable answer.", ()),
    503: ("The storage is not available at the moment.", ("Retry-After",)),
    504: ("The storage did not answer in time. A change may have taken effect if `detail` says so.", ()),
}
