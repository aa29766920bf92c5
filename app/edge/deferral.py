"""Answering before the work is done: `Prefer: respond-async` (RFC 9967 section 2.5.1, RFC 7240)."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import orjson
from flask import request

from app.edge.guard import current_context
from app.edge.headers import read_preferences
from app.edge.responses import Response, empty_response
from app.edge.waiting import Wait, Waiting
from app.protocol.asynchronous import AsyncRequest, AsyncRequests
from app.protocol.bulk_message import BulkRequest, bulk_response
from app.protocol.context import Context
from app.protocol.profiles import Locations
from app.work.wakeups import RESULTS
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

# Nobody keeps a connection waiting longer than this, in seconds, whatever they say: proxies give up earlier.
LONGEST_WAIT_S: Final = 15
# A thread waits so many seconds for any request: most are done by then.
_BRIEFLY_S: Final = 0.2


class Deferral:
    """Decides which requests are answered with 202, under `mode` none, request or long.

    `locations` precede the path in every location. `waiting` lets a request wait for its result.
    """

    def __init__(
        self, requests: AsyncRequests | None, mode: str, locations: Locations, waiting: Waiting
    ) -> None:
        self._requests = requests
        self._mode = mode
        self._locations = locations
        self._waiting = waiting

    def accept(self, asked: AsyncRequest, wait_s: float) -> Response:
        """Keep a request for later, and return the answer to it. Raises what is wrong with its body."""
        assert self._requests is not None
        return self._answer(self._requests.accept(current_context(), asked), wait_s)

    def accept_bulk(self, message: BulkRequest) -> Response | None:
        """Keep the Bulk request at hand if it is one for later, and return the answer to it."""
        wait_s = self.wait_s()
        if self._requests is None or wait_s is None:
            return None
        return self._answer(self._requests.accept_bulk(current_context(), message), wait_s)

    def wait_s(self) -> float | None:
        """Return how long to wait for the request at hand, None if it is not for later."""
        header = request.environ.get("HTTP_PREFER")
        if not header or self._mode == "none" or self._requests is None:
            return None
        preferences = read_preferences(header)
        if self._mode == "request":
            return 0.0 if preferences.respond_async else None
        if preferences.wait_s is not None:
            return float(min(preferences.wait_s, LONGEST_WAIT_S))
        return 0.0 if preferences.respond_async else None

    def _answer(self, txn: str, wait_s: float) -> Response:
        accepted = partial(self._accepted, txn, current_context(), self._applied())
        if not wait_s:
            return accepted()
        look = partial(self._result, txn, current_context(), accepted)
        return self._waiting.answer(Wait(RESULTS, wait_s, look), _BRIEFLY_S)

    def _applied(self) -> str:
        """Return the preferences of the request at hand that a 202 follows (RFC 7240 section 3)."""
        preferences = read_preferences(request.environ["HTTP_PREFER"])
        applied = ["respond-async"] if preferences.respond_async else []
        if self._mode == "long" and preferences.wait_s is not None:
            applied.append(f"wait={preferences.wait_s}")
        return ", ".join(applied)

    def _accepted(self, txn: str, context: Context, applied: str) -> Response:
        headers = {
            "Set-Txn": txn,
            "Preference-Applied": applied,
            "Location": f"{self._locations.prefix(context.profile)}/Async/{txn}",
        }
        return empty_response(202, headers)

    def _result(
        self, txn: str, context: Context, accepted: Callable[[], Response], is_last: bool
    ) -> Response | None:
        """Return the answer to a request that is done, else None, or 202 at the last look."""
        assert self._requests is not None
        try:
            status = self._requests.jobs.status(txn, context.principal.id)
        except StorageError as problem:
            # It is accepted: whoever were told otherwise would ask for it again.
            _LOG.warning("the result of the request %s cannot be read: %s", txn, problem)
            return accepted()
        if status is not None and status.result is not None:
            return normal_response(status.result)
        return accepted() if is_last else None


def normal_response(result: Mapping[str, Any]) -> Response:
    """Return the answer that the request would have had at once."""
    headers = {}
    status = int(result["status"])
    if "version" in result:
        headers["ETag"] = result["version"]
    if "location" in result and status < 300 and result["method"] != "DELETE":
        headers["Location"] = result["location"]
    if "operations" in result:
        return Response(bulk_response(result["operations"]), status)
    if "response" not in result:
        return empty_response(status, headers)
    return Response(orjson.dumps(result["response"]), status, headers)
