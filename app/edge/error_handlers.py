"""Every exception leaves as a SCIM error: the only border where they are caught."""

import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from app.edge.responses import scim_response
from app.protocol.errors import (
    RETRY_AFTER_S,
    Refusal,
    error_body,
    error_json,
    status_of,
)
from schema.errors import ScimError
from storage.errors import OutcomeUnknown, StorageError, StorageReadOnly, StorageUnavailable

_LOG = logging.getLogger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Make `app` answer every error, its own included, in the form of RFC 7644 section 3.12."""
    for kind in (ScimError, Refusal, StorageError):
        app.register_error_handler(kind, _known)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _unknown)


def _known(error: Exception) -> Response:
    response = scim_response(error_body(error), status_of(error))
    if isinstance(error, StorageUnavailable | OutcomeUnknown):
        _LOG.error("%s", error)
    elif isinstance(error, StorageReadOnly):
        _LOG.warning("%s", error)
    if response.status_code == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if response.status_code == 401:
        # RFC 9110 section 15.5.2 demands it.
        response.headers["WWW-Authenticate"] = 'Bearer realm="SCIM"'
    return response


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    details = {
        404: "this server has no endpoint at this path",
        405: "this method is not supported at this path",
    }
    detail = details.get(status) or error.description or error.name
    response = scim_response(error_json(status, detail), status)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _unknown(error: Exception) -> Response:
    _LOG.exception("unexpected error")
    return scim_response(error_json(500, "an unexpected error; the log of the server has the details"), 500)
