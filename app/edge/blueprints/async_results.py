"""What became of asynchronous requests (RFC 9967 section 2.5.1.1)."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.guard import current_context
from app.edge.headers import asks_for
from app.edge.responses import Response, empty_response
from app.protocol.asynchronous import AsyncRequests
from app.protocol.bulk_message import bulk_response
from app.protocol.errors import Refusal
from app.protocol.job import JobStatus
from set_delivery.streams import Publishing
from set_delivery.tokens import SECEVENT_JWT, UNSECURED, encode

_RETRY_AFTER_S: Final = "1"


def async_blueprint(requests: AsyncRequests | None, publishing: Publishing) -> Blueprint:
    """Return the blueprint of /Async."""
    blueprint = Blueprint("Async", __name__, url_prefix="/Async")

    @blueprint.route("/<txn>")
    class Result(MethodView):
        init_every_request = False

        def get(self, txn: str) -> Response:
            asked, whole, position = _asked(requests, txn)
            status = asked.jobs.status(whole, current_context().principal.id)
            if status is None:
                raise _unknown(txn)
            if status.result is None:
                body = {"status": "202", "progress": {"done": status.done, "total": status.total}}
                return Response(orjson.dumps(body), 202, {"Retry-After": _RETRY_AFTER_S})
            result = _part(status, txn, position)
            if asks_for(request.environ.get("HTTP_ACCEPT", ""), SECEVENT_JWT):
                return _token(asked, publishing, txn, status, position)
            return Response(_shown(result))

        def delete(self, txn: str) -> Response:
            asked, whole, position = _asked(requests, txn)
            principal = current_context().principal.id
            if position is not None or asked.jobs.status(whole, principal) is None:
                raise _unknown(txn)
            if not asked.jobs.forget(whole, principal):
                raise Refusal(409, "the request has begun and cannot be withdrawn")
            return empty_response(204)

    return blueprint


def _asked(requests: AsyncRequests | None, txn: str) -> tuple[AsyncRequests, str, int | None]:
    """Return the transaction, and which operation of a Bulk request is meant, if one is."""
    whole, colon, number = txn.partition(":")
    if requests is None or colon and not (number.isascii() and number.isdigit()):
        raise _unknown(txn)
    return requests, whole, int(number[:9]) if colon else None


def _part(status: JobStatus, txn: str, position: int | None) -> Mapping[str, Any]:
    assert status.result is not None
    if position is None:
        return status.result
    operations = status.result.get("operations", ())
    if position >= len(operations):
        raise _unknown(txn)
    operation: Mapping[str, Any] = operations[position]
    return operation


def _shown(result: Mapping[str, Any]) -> bytes:
    return bulk_response(result["operations"]) if "operations" in result else orjson.dumps(result)


def _token(
    requests: AsyncRequests, publishing: Publishing, txn: str, status: JobStatus, position: int | None
) -> Response:
    completion = requests.completions.as_set(txn, status, position)
    audience = publishing.audience_of(completion.event, completion.feeds)
    claims = completion.claims(publishing.issuer, audience, publishing.mode)
    text, media_type = encode(claims, publishing.key or UNSECURED)
    return Response(text, content_type=media_type)


def _unknown(txn: str) -> Refusal:
    return Refusal(404, f"there is no asynchronous request {txn[:100]}")
