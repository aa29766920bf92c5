"""Requests to the upstream, and the errors that its answers stand for (RFC 7644 sections 3 and 3.12)."""

from collections.abc import Mapping
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from schema.resource_type import ResourceType
from storage.errors import (
    BadBackendAnswer,
    ResourceNotFound,
    StorageError,
    StorageReadOnly,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from storage.remote import Answer, Client, Request, Service

# Longer texts of the upstream are cut before they are shown to a client.
_LONGEST_DETAIL: Final = 500
_HEADERS: Final = {"Accept": "application/scim+json, application/json", "Accept-Encoding": "identity"}
KEY_REFUSED: Final = "refuses the key (FORWARD_SCIM_KEY)"
_OF_CONTENT: Final = {"Content-Type": "application/scim+json"}


def scim_client(url: str, key: str, timeout_s: float, pool_size: int) -> Client:
    """Return the client of the service provider at `url`."""
    parts = urlsplit(url)
    name = f"the upstream {parts.hostname}" + (f":{parts.port}" if parts.port else "")
    key = key.strip()
    credential = ("Authorization", f"Bearer {key}" if key else "")
    service = Service(name, url.rstrip("/"), _HEADERS, key, credential, KEY_REFUSED, dict, "SCIM")
    return Client(service, timeout_s, pool_size)


def read_request(path: str, params: Mapping[str, str]) -> Request:
    """Return the request that reads a resource or a list."""
    return Request("GET", path, [*params.items()])


def search_request(path: str, body: Mapping[str, Any]) -> Request:
    """Return the POST that reads a list (RFC 7644 section 3.4.3)."""
    return Request("POST", path, body=body, headers=_OF_CONTENT)


def write_request(
    method: str,
    path: str,
    params: Mapping[str, str],
    body: Mapping[str, Any] | None = None,
    tag: str | None = None,
) -> Request:
    """Return a request that changes something, with `tag` under the condition If-Match.

    All but POST may be done twice: our PATCHes set, add and remove.
    """
    headers = {} if body is None else dict(_OF_CONTENT)
    if tag is not None:
        headers["If-Match"] = tag
    return Request(method, path, [*params.items()], body, headers, changes=True, repeatable=method != "POST")


def raise_refusal(
    answer: Answer, name: str, resource_type: ResourceType, resource_id: str, document: Mapping[str, Any]
) -> NoReturn:
    """Raise what a status of 400 to 599 means for a write of `document` or the reading of a resource.

    `name` is that of the upstream. What concerns the client carries the upstream's own words.
    """
    raise _refusal(answer, name, resource_type, resource_id, document)


def _refusal(
    answer: Answer, name: str, resource_type: ResourceType, resource_id: str, document: Mapping[str, Any]
) -> StorageError:
    detail = detail_of(answer)
    match answer.status:
        case 403:
            refusal = detail or "the upstream does not allow this"
            return StorageReadOnly(refusal, refusal)
        case 404 | 410:
            return ResourceNotFound(resource_type.name, resource_id)
        case 409:
            return UniquenessConflict(_conflicting(resource_type, detail, document))
        case 412:
            return VersionMismatch(f"{resource_type.name} {resource_id} was changed at the upstream")
        case 405 | 501:
            return UnsupportedByBackend(detail or "the upstream does not support this")
        case status if 400 <= status < 500:
            return ValueRefused(detail or f"the upstream answered with {status}", scim_type_of(answer))
    return BadBackendAnswer(f"{name} answered with status {answer.status}")


def detail_of(answer: Answer) -> str:
    """Return what an error of the upstream says to people; empty when it says nothing."""
    detail = answer.document.get("detail") if isinstance(answer.document, Mapping) else None
    return detail[:_LONGEST_DETAIL] if isinstance(detail, str) else ""


def scim_type_of(answer: Answer) -> str:
    """Return the scimType of an error, `invalidValue` when it has none."""
    word = answer.document.get("scimType") if isinstance(answer.document, Mapping) else None
    return word if isinstance(word, str) and word.isalpha() and len(word) < 40 else "invalidValue"


def _conflicting(resource_type: ResourceType, detail: str, document: Mapping[str, Any]) -> str:
    """Return the unique attribute that a conflict is about: named by the upstream, or else likely."""
    paths = sorted(resource_type.unique_paths, key=lambda path: -len(path.text))
    for path in paths:
        if path.text.lower() in detail.lower():
            return path.text
    present = [path.text for path in paths if path.values(document)]
    return next((text for text in present if text != "externalId"), (present or ["id"])[0])
