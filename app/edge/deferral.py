"""Answering before the work is done: `Prefer: respond-async` (RFC 9967 section 2.5.1, RFC 7240)."""

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final

import orjson
from flask import Response, request

from app.edge.guard import current_context
from app.edge.headers import read_preferences
from app.edge.responses import empty_response, scim_response
from app.protocol.asynchronous import AsyncRequest, AsyncRequests
from app.protocol.bulk_message import BulkRequest, bulk_response
from app.work.wakeups import RESULTS, Wakeups
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)

# Nobody keeps a connection waiting longer than this, in seconds, whatever they say: a server that is
# to end must have told them by then.
LONGEST_WAIT_S: Final = 15
# Whoever waits longer than this, in seconds, needs a place: most requests are done by then.
_BRIEFLY_S: Final = 0.2


class Deferral:
    """Decides which requests are answered with 202, under `mode` none, request or long.

    `prefix` precedes the path in every location. A request that waits long takes one of `places`;
    `wakeups` wake it when there are results.
    """

    def __init__(
        self,
        requests: AsyncRequests | None,
        mode: str,
        prefix: str,
        places: threading.Semaphore,
        wakeups: Wakeups,
    ) -> None:
        self._requests = requests
        self._mode = mode
        self._prefix = prefix
        self._places = places
        self._wakeups = wakeups

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
        try:
            result = self._waited(txn, wait_s)
        except StorageError as problem:
            # It is accepted: whoever were told otherwise would ask for it again.
            _LOG.warning("the result of the request %s cannot be read: %s", txn, problem)
            result = None
        if result is not None:
            return normal_response(result)
        headers = {
            "Set-Txn": txn,
            "Preference-Applied": "respond-async",
            "Location": f"{self._prefix}/Async/{txn}",
        }
        return empty_response(202, headers)

    def _waited(self, txn: str, wait_s: float) -> Mapping[str, Any] | None:
        if not wait_s:
            return None
        result = self._looked(txn, min(wait_s, _BRIEFLY_S))
        # Who finds every place taken is told to come back: other requests need the threads.
        if result is None and wait_s > _BRIEFLY_S and self._places.acquire(blocking=False):
            try:
                return self._looked(txn, wait_s - _BRIEFLY_S)
            finally:
                self._places.release()
        return result

    def _looked(self, txn: str, wait_s: float) -> Mapping[str, Any] | None:
        """Return the result of a request once it is done, None if that takes longer than `wait_s`."""
        assert self._requests is not None
        for _ in self._wakeups.looks(RESULTS, wait_s):
            status = self._requests.jobs.status(txn, current_context().principal.id)
            if status is not None and status.result is not None:
                return status.result
        return None


def normal_response(result: Mapping[str, Any]) -> Response:
    """Return the answer that the request would have had at once."""
    headers = {}
    status = int(result["status"])
    if "version" in result:
        headers["ETag"] = result["version"]
    if "location" in result and status < 300 and result["method"] != "DELETE":
        headers["Location"] = result["location"]
    if "operations" in result:
        return scim_response(bulk_response(result["operations"]), status)
    if "response" not in result:
        return empty_response(status, headers)
    return scim_response(orjson.dumps(result["response"]), status, headers)
