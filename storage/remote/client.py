"""Requests to a service over HTTP: each has a deadline, a limit of size, and one of three outcomes.

A request ends with an answer; with StorageUnavailable or a child of it, when the service did nothing;
with OutcomeUnknown, when the service may have made a change. It is sent again, after a pause, until
`timeout_s` seconds are over, where the service did nothing or the request may be done twice (RFC 9110
section 9.2.2).
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson

from schema.retry_after import retry_after_s
from storage.errors import BadBackendAnswer, OutcomeUnknown, StorageUnavailable
from storage.remote.connections import Connections, Failed

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# An answer that is read as a whole has no more bytes than this, and one that is read in pieces.
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_STREAM_BYTES: Final = 16 * MAX_BYTES
_PIECE: Final = 1 << 16
# The most attempts at one request, and the first pause; each pause is twice as long as the one before.
_ATTEMPTS: Final = 8
_FIRST_PAUSE_S: Final = 0.1
# With less time than this left, another attempt would only end late.
_LEAST_S: Final = 0.1
_DOWN: Final = frozenset({502, 503, 504})


@dataclass(frozen=True)
class Service:
    """A service: its name in errors, its URL, and how to speak to it.

    `credential` is the header that carries `key`, and its value. `refusal` is the error after a 401,
    without the name. `json` is the type of the values that answers hold, and `sends` the word for them.
    """

    name: str
    url: str
    headers: Mapping[str, str]
    key: str = field(repr=False)
    credential: tuple[str, str] = field(repr=False)
    refusal: str
    json: type = object
    sends: str = "JSON"


@dataclass(frozen=True)
class Request:
    """A request: `path` below the URL of the service; `body` is sent as JSON.

    `changes` says that it is meant to change something, `repeatable` that it may be done twice.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    changes: bool = False
    repeatable: bool = True


@dataclass(frozen=True)
class Answer:
    """An answer: status, headers, and the JSON value in it, None without a body.

    `repeated` says that the request was sent before, and may have taken effect then.
    """

    status: int
    headers: Mapping[str, str]
    document: Any
    repeated: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """Sends requests to one service. Redirects are not followed: the key is for the service alone."""

    def __init__(self, service: Service, timeout_s: float, pool_size: int) -> None:
        self.name = service.name
        self._service = service
        self._timeout_s = timeout_s
        self._connections = Connections(service.name, service.credential, pool_size)

    @property
    def outages(self) -> int:
        """How often no connection could be made."""
        return self._connections.outages

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        self._connections.close()

    def send(self, request: Request) -> Answer:
        """Return the whole answer: its status is 200 to 299, 501, or 400 to 499 but not 401 or 429."""

        def exchange(deadline: float, repeated: bool) -> Answer:
            with self._connections.leased(deadline), self._opened(request, deadline) as response:
                document = self._document(response)
                return Answer(response.status_code, response.headers, document, repeated)

        return self._repeated(request, exchange)

    @contextmanager
    def stream(self, request: Request) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Return status and headers of an answer, and its body in pieces, once; an error is read at once.

        The deadline bounds the waiting for bytes, and not the time of the caller between two pieces.
        """
        with self._repeated(request, lambda deadline, _: self._opened(request, deadline)) as response:
            answer = Answer(response.status_code, response.headers, None)
            try:
                if not answer.is_success:
                    answer = Answer(answer.status, answer.headers, self._document(response))
                yield answer, self._pieces(response, MAX_STREAM_BYTES)
            except Failed as failed:
                raise failed.failure from failed

    # -- one attempt

    def _opened(self, request: Request, deadline: float) -> Any:
        response = self._connections.request(
            request.method,
            self._service.url + request.path,
            deadline,
            params=list(request.params) or None,
            data=None if request.body is None else orjson.dumps(request.body),
            headers={**self._service.headers, **request.headers},
        )
        try:
            self._check_status(response)
        except Failed:
            response.close()
            raise
        return response

    def _check_status(self, response: Any) -> None:
        status, said = response.status_code, f"{self.name} answered with status {response.status_code}"
        if status == 429 or status in _DOWN:
            # Gateways say 503 of a server that went away too; who names a time has not begun.
            untouched = status == 429 or (status == 503 and "Retry-After" in response.headers)
            wait_s = retry_after_s(response.headers.get("Retry-After"))
            busy = StorageUnavailable(f"{said}: it is busy or down")
            raise Failed(busy, untouched=untouched, passes=True, wait_s=wait_s)
        if status == 401:
            raise Failed(StorageUnavailable(f"{self.name} {self._service.refusal}"), untouched=True)
        if 300 <= status < 400 and status != 303:
            redirect = f"{said}, a redirect, which the server does not follow"
            raise Failed(BadBackendAnswer(redirect), untouched=True)
        if status < 200 or status == 303 or (status >= 500 and status != 501):
            raise Failed(BadBackendAnswer(said), passes=status == 500)

    def _document(self, response: Any) -> Any:
        """Return the JSON of a body, None when it is empty or, in an error, something else."""
        body = b"".join(self._pieces(response, MAX_BYTES))
        is_error = response.status_code >= 400
        try:
            document = orjson.loads(body) if body.strip() else None
        except orjson.JSONDecodeError as exc:
            if is_error:
                return None
            raise self._bad() from exc
        if is_error:
            return self._without_key(document)
        if document is not None and not isinstance(document, self._service.json):
            raise self._bad()
        return document

    def _bad(self) -> Failed:
        return Failed(BadBackendAnswer(f"{self.name} sent an answer that is not {self._service.sends}"))

    def _without_key(self, document: Any) -> Any:
        """Return the members of an error, None if it has none; texts that repeat the key hide it."""
        if not isinstance(document, dict):
            return None
        key = self._service.key
        texts = {name: text.replace(key, "***") for name, text in document.items() if isinstance(text, str)}
        return {**document, **texts} if key else document

    def _pieces(self, response: Any, limit: int) -> Iterator[bytes]:
        size = 0
        while True:
            with self._connections.translated():
                piece = response.raw.read1(_PIECE, decode_content=True)
            if not piece:
                return
            size += len(piece)
            if size > limit:
                raise Failed(BadBackendAnswer(f"{self.name} sent more than {limit} bytes"))
            yield piece

    # -- several attempts

    def _repeated(self, request: Request, attempt: Callable[[float, bool], _Result]) -> _Result:
        deadline = time.monotonic() + self._timeout_s
        number, may_be_done = 1, False
        while True:
            try:
                return attempt(deadline, may_be_done)
            except Failed as failed:
                may_be_done = may_be_done or (request.changes and not failed.untouched)
                pause_s = _FIRST_PAUSE_S * 2 ** (number - 1) * random.uniform(0.5, 1)
                wait_s = max(failed.wait_s or 0.0, pause_s)
                is_over = number == _ATTEMPTS or time.monotonic() + wait_s + _LEAST_S >= deadline
                if is_over or not failed.passes or not (failed.untouched or request.repeatable):
                    if may_be_done:
                        raise OutcomeUnknown(str(failed)) from failed
                    raise failed.failure from failed
                _LOG.info("%s: %s, next attempt in %.1f s", request.method, failed, wait_s)
            time.sleep(wait_s)
            number += 1
