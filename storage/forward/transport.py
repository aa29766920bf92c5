"""Exchanges with the upstream: bounded in time and size, repeated where that is safe (RFC 9110)."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson

from schema.retry_after import retry_after_s
from storage.errors import BadBackendAnswer, OutcomeUnknown, StorageUnavailable
from storage.forward.connections import BrokenOff, Connections, NotReached, NotSent
from storage.forward.messages import Answer, Request

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# An answer that is read as a whole has no more bytes than this, and one that is read in pieces.
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_STREAM_BYTES: Final = 16 * MAX_BYTES
_CHUNK: Final = 1 << 16
_ATTEMPTS: Final = 4
_BACKOFF_S: Final = 0.2
# What may be sent again though the first may have taken effect: our PATCHes set, add and remove.
_IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE", "PATCH", "SEARCH"})
_PASSING: Final = frozenset({502, 503, 504})


class _Busy(StorageUnavailable):
    """The upstream says that it is busy or down; `wait_s` is how long it asks to wait.

    `is_refusal` says that it did nothing with the request.
    """

    def __init__(self, message: str, is_refusal: bool, wait_s: float | None) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal
        self.wait_s = wait_s


class _Redirected(BadBackendAnswer):
    """The upstream says that the request belongs to another place: it was not carried out here."""


class Transport:
    """Sends requests. Every failure to get an answer leaves as StorageUnavailable or a child of it.

    A request that changes something, and may have reached the upstream, fails with OutcomeUnknown
    instead. One request, repetitions included, waits about `timeout_s` seconds at the most. The key is
    for this upstream only: redirects are not followed.
    """

    def __init__(self, url: str, key: str, timeout_s: float, pool_size: int) -> None:
        parts = urlsplit(url)
        self._url = url.rstrip("/")
        self.name = f"the upstream {parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._timeout_s = timeout_s
        self._connections = Connections(self.name, key, pool_size)

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        self._connections.close()

    def send(self, request: Request) -> Answer:
        """Return the whole answer, of a status below 300, or from 400 to 501 but for 429 and 500."""
        return self._repeated(request, self._exchange)

    @contextmanager
    def stream(self, request: Request) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Return status and headers of the answer to a GET, and its body in pieces, once.

        The document of the answer is there when the status is no success. Leaving the context
        before the end gives up the rest.
        """
        response = self._repeated(request, self._opened)
        with response:
            answer = Answer(response.status_code, response.headers, None)
            if not answer.is_success:
                answer = Answer(response.status_code, response.headers, self._document(response))
            yield answer, self._pieces(response, MAX_STREAM_BYTES)

    # -- one attempt

    def _exchange(self, request: Request, left_s: float, repeated: bool) -> Answer:
        with self._opened(request, left_s, repeated) as response:
            document = self._document(response)
            return Answer(response.status_code, response.headers, document, repeated)

    def _opened(self, request: Request, left_s: float, repeated: bool) -> Any:
        headers = {"Accept": "application/scim+json, application/json", "Accept-Encoding": "identity"}
        if request.body is not None:
            headers["Content-Type"] = "application/scim+json"
        if request.if_match is not None:
            headers["If-Match"] = request.if_match
        response = self._connections.request(
            "POST" if request.method == "SEARCH" else request.method,
            self._url + request.path,
            left_s,
            params=request.params or None,
            data=None if request.body is None else orjson.dumps(request.body),
            headers=headers,
        )
        try:
            self._check_status(response)
        except BaseException:
            response.close()
            raise
        return response

    def _check_status(self, response: Any) -> None:
        status = response.status_code
        if status == 429 or status in _PASSING:
            wait_s = retry_after_s(response.headers.get("Retry-After"))
            # Gateways say 503 of a server that went away too; who names a time has not begun.
            is_refusal = status == 429 or (status == 503 and "Retry-After" in response.headers)
            raise _Busy(f"{self.name} answered with {status}: it is busy or down", is_refusal, wait_s)
        if 300 <= status < 400 and status != 303:
            raise _Redirected(f"{self.name} answered with a redirect, which the server does not follow")
        if status < 200 or status == 303 or (status >= 500 and status != 501):
            raise BadBackendAnswer(f"{self.name} answered with status {status}")

    def _document(self, response: Any) -> Any:
        """Return the JSON of a body, None when it is empty or, in an error, something else."""
        body = b"".join(self._pieces(response, MAX_BYTES))
        if not body.strip():
            return None
        kind = response.headers.get("Content-Type", "application/json").lower()
        try:
            if "json" not in kind:
                raise ValueError(kind)
            document = orjson.loads(body)
            if not isinstance(document, dict):
                raise ValueError("no object")
        except ValueError as exc:
            if response.status_code >= 400:
                return None
            raise BadBackendAnswer(f"{self.name} sent an answer that is not SCIM") from exc
        return document

    def _pieces(self, response: Any, limit: int) -> Iterator[bytes]:
        size = 0
        while True:
            with self._connections.translated():
                piece = response.raw.read1(_CHUNK, decode_content=True)
            if not piece:
                return
            size += len(piece)
            if size > limit:
                raise BadBackendAnswer(f"{self.name} sent more than {limit} bytes")
            yield piece

    # -- several attempts

    def _repeated(self, request: Request, attempt: Callable[[Request, float, bool], _Result]) -> _Result:
        deadline = time.monotonic() + self._timeout_s
        number, may_be_done = 0, False
        while True:
            try:
                return attempt(request, max(0.001, deadline - time.monotonic()), may_be_done)
            except StorageUnavailable as failure:
                untouched = _is_untouched(failure)
                may_be_done = may_be_done or (request.is_write and not untouched)
                wait_s = _BACKOFF_S * 2**number * random.uniform(0.5, 1)
                if isinstance(failure, _Busy) and failure.wait_s is not None:
                    wait_s = failure.wait_s
                number += 1
                is_over = number == _ATTEMPTS or time.monotonic() + wait_s >= deadline
                passes = isinstance(failure, (_Busy, NotReached, BrokenOff))
                if is_over or not passes or not (untouched or request.method in _IDEMPOTENT):
                    if may_be_done:
                        raise OutcomeUnknown(str(failure)) from failure
                    raise
                _LOG.info("%s %s: next attempt in %.1f s: %s", request.method, self.name, wait_s, failure)
                time.sleep(wait_s)


def _is_untouched(failure: StorageUnavailable) -> bool:
    """Return whether the upstream certainly did nothing with the request."""
    if isinstance(failure, _Busy):
        return failure.is_refusal
    return isinstance(failure, (NotSent, _Redirected))
