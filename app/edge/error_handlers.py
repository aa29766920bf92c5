"""Every exception leaves as a SCIM error: the only border where they are caught."""

import logging

from flask import Flask
from werkzeug.exceptions import HTTPException

from app.edge.responses import Response
from app.protocol.errors import (
    RETRY_AFTER_S,
    InsufficientScope,
    InvalidToken,
    Refusal,
    TooManyRequests,
    error_body,
    error_json,
    status_of,
)
from schema.errors import ScimError
from storage.errors import OutcomeUnknown, StorageError, StorageReadOnly, StorageUnavailable

_LOG = logging.getLogger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Make `app` answer every error, its own included, in the form of RFC 7644 section 3.12."""
    app.register_error_handler(HTTPException, error_response)
    app.register_error_handler(Exception, error_response)


def error_response(error: Exception) -> Response:
    """Return the SCIM error that an exception is answered with."""
    if isinstance(error, ScimError | Refusal | StorageError):
        return _known(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    _LOG.error("unexpected error", exc_info=error)
    return Response(error_json(500, "an unexpected error; the log of the server has the details"), 500)


def _known(error: ScimError | Refusal | StorageError) -> Response:
    response = Response(error_body(error), status_of(error))
    if isinstance(error, StorageUnavailable | OutcomeUnknown):
        _LOG.error("%s", error)
    elif isinstance(error, StorageReadOnly):
        _LOG.warning("%s", error)
    if response.status_code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    elif isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    challenge = _challenge(error)
    if challenge is not None:
        response.headers["WWW-Authenticate"] = f'Bearer realm="SCIM"{challenge}'
    return response


def _challenge(error: Exception) -> str | None:
    """Return the parameters of the challenge behind the realm (RFC 6750 section 3), None for no challenge."""
    match error:
        case InvalidToken():
            return ', error="invalid_token"'
        case InsufficientScope():
            return f', error="insufficient_scope", scope="{error.needed}"'
        case Refusal(status=401):
            # RFC 9110 section 15.5.2 demands a challenge.
            return ""
    return None


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    details = {
        404: "this server has no endpoint at this path",
        405: "this method is not supported at this path",
    }
    detail = details.get(status) or error.description or error.name
    response = Response(error_json(status, detail), status)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response
