"""One table from what went wrong to the SCIM error that a client gets (RFC 7644 section 3.12)."""

from typing import Any, Final

import orjson

from schema import urns
from schema.errors import ScimError, Sensitive, Uniqueness
from storage import errors as storage


class Refusal(Exception):
    """A request that is refused with a status that no scimType implies."""

    def __init__(self, status: int, detail: str, scim_type: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.scim_type = scim_type


class InvalidToken(Refusal):
    """The token of a request is not valid (RFC 6750 section 3.1); `detail` names the rule that failed."""

    def __init__(self, detail: str) -> None:
        super().__init__(401, detail)


class InsufficientScope(Refusal):
    """The credentials do not include a scope (RFC 6750 section 3.1).

    `needed` is the scope that would do: for one resource type where the request concerns one.
    """

    def __init__(self, scope: str, resource_type: str | None = None) -> None:
        self.needed = f"{scope}:{resource_type}" if resource_type else scope
        either = f"{scope} or {self.needed}" if resource_type else scope
        super().__init__(403, f"the credentials do not include the scope {either}")


class TooManyRequests(Refusal):
    """The client should try again in `retry_after_s` seconds (RFC 6585 section 4)."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(429, detail)
        self.retry_after_s = retry_after_s


class PreconditionFailed(Refusal):
    """The resource is not at the version the client asked for (RFC 7644 section 3.14)."""

    def __init__(self, version: str) -> None:
        super().__init__(412, f"the resource is at version {version}, which the request excludes")


STATUS: Final[dict[type[Exception], int]] = {
    ScimError: 400,
    Sensitive: 403,
    Uniqueness: 409,
    storage.ResourceNotFound: 404,
    storage.UniquenessConflict: 409,
    storage.UnsupportedByBackend: 501,
    storage.StorageReadOnly: 403,
    storage.ForeignEntry: 403,
    storage.ValueRefused: 400,
    storage.Contention: 503,
    storage.StorageUnavailable: 503,
    storage.BadBackendAnswer: 502,
    storage.BackendTimeout: 504,
    storage.OutcomeUnknown: 504,
}

# Seconds after which a client may try again when the backend was not reachable.
RETRY_AFTER_S: Final = 5


def status_of(error: Exception) -> int:
    """Return the HTTP status for an error of the protocol or the storage."""
    if isinstance(error, Refusal):
        return error.status
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_body(error: Exception) -> bytes:
    """Return the SCIM error for an error of the protocol or the storage, as JSON."""
    return error_json(status_of(error), detail_of(error), _scim_type(error))


def error_json(status: int, detail: str, scim_type: str | None = None) -> bytes:
    """Return a SCIM error as JSON; `detail` is read by people at the client's end."""
    body: dict[str, Any] = {"schemas": [urns.ERROR], "status": str(status)}
    if scim_type is not None:
        body["scimType"] = scim_type
    body["detail"] = detail
    # What clients send may hold lone surrogates, which JSON cannot.
    return orjson.dumps(body | {"detail": detail.encode("utf-8", "replace").decode()})


def _scim_type(error: Exception) -> str | None:
    if isinstance(error, storage.UniquenessConflict):
        return Uniqueness.scim_type
    return error.scim_type if isinstance(error, ScimError | Refusal | storage.ValueRefused) else None


def detail_of(error: Exception) -> str:
    match error:
        case storage.UniquenessConflict(attribute="id"):
            return "id: another resource has the same value"
        case storage.UniquenessConflict():
            return f"{error.attribute}: another resource of this type has the same value"
        case storage.Contention():
            return "other requests changed the same data at the same time; try again later"
        case storage.BackendTimeout():
            return "the storage did not answer in time; try again later"
        case storage.OutcomeUnknown():
            return "the storage did not confirm the change: it may have taken effect, or may do so later"
        case storage.BadBackendAnswer():
            return "the storage sent an unusable answer; try again later"
        case storage.SettingsSuperseded():
            return "this process of the server has earlier settings and takes no changes; try again later"
        case storage.StorageUnavailable():
            return "the storage is not available; try again later"
        case ScimError() | Refusal() | storage.StorageReadOnly():
            return error.detail
    return str(error)
