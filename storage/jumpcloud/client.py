"""Calls of the JumpCloud API over HTTP: one at a time, each with an end, each failure with a name."""

import logging
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import requests
from urllib3.util import Timeout

from schema.retry_after import retry_after_s
from storage.deadline import DeadlineAdapter
from storage.errors import (
    BadBackendAnswer,
    OutcomeUnknown,
    StorageReadOnly,
    StorageUnavailable,
    ValueRefused,
)
from storage.jumpcloud.answers import Failed, parsed, read, translated

_LOG = logging.getLogger(__name__)

# Seconds before the first repetition, and at most before the last; a part of it is random.
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 30.0
# With less time than this left, a repetition would tell nothing but that it was late.
_LEAST_S: Final = 0.2

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """An answer that says the call was done; `total` is what the header x-total-count says."""

    body: Any
    total: int | None


class Rejection(ValueRefused):
    """JumpCloud does not want what the call asks for, and says why.

    `repeated` says that the call was sent before, and may have been done then.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"JumpCloud: {message or status}")
        self.status = status
        self.repeated = False


class Client:
    """Calls the API at `url` with an API key. Threads share it; a child of a fork starts afresh."""

    def __init__(self, url: str, key: str, organisation: str, timeout_s: float, pool_size: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("JUMPCLOUD_URL must be a URL such as https://console.jumpcloud.com")
        if not all(text.isascii() and text.isprintable() for text in (key, organisation)):
            raise ValueError("JUMPCLOUD_KEY and JUMPCLOUD_ORG_ID must be printable ASCII")
        self._url = url.rstrip("/")
        self._key = key
        self._headers = {"x-api-key": key, "Accept": "application/json", "Content-Type": "application/json"}
        if organisation:
            self._headers["x-org-id"] = organisation
        self._timeout_s = timeout_s
        self.pool_size = pool_size
        self._abandoned: list[requests.Session] = []
        self._start()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    def _start(self) -> None:
        self._free = threading.BoundedSemaphore(self.pool_size)
        self._session = requests.Session()
        adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=self.pool_size)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Or requests would look for a password in the .netrc of whoever runs the server.
        self._session.auth = lambda request: request

    def after_fork(self) -> None:
        """Forget the connections of the parent process without touching them."""
        self._abandoned.append(self._session)
        self._start()

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        body: Any = None,
        repeatable: bool = True,
        writes: bool | None = None,
    ) -> Answer:
        """Make one call and return its answer.

        It is repeated, within the time-out, when JumpCloud asks for patience, and when it fails
        and the call is `repeatable`. `writes` tells calls that change something; unless it is
        given, all but GET do. Raises Rejection for 400, 404, 409 and other refusals; OutcomeUnknown for
        a change that may have been made by one of the attempts; StorageUnavailable and its children
        for everything else.
        """
        deadline = time.monotonic() + self._timeout_s
        changes = method != "GET" if writes is None else writes
        content = None if body is None else orjson.dumps(body)
        pause, may_be_done = _FIRST_PAUSE_S, False
        while True:
            try:
                with self._leased(deadline):
                    return self._attempt(method, path, params, content, changes, deadline)
            except Failed as failed:
                may_be_done = may_be_done or (changes and not failed.undone)
                wait_s = max(failed.wait_s or 0.0, pause * random.uniform(0.5, 1.0))
                is_over = time.monotonic() + wait_s + _LEAST_S >= deadline
                if is_over or not failed.again or (failed.wait_s is None and not repeatable):
                    if may_be_done:
                        raise OutcomeUnknown(str(failed)) from failed
                    raise failed.failure from failed
                _LOG.info("%s %s: %s, again in %.1f s", method, path.partition("?")[0], failed, wait_s)
            except Rejection as rejection:
                rejection.repeated = may_be_done
                raise
            time.sleep(wait_s)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    @contextmanager
    def _leased(self, deadline: float) -> Iterator[None]:
        """Wait for one of the connections that a process may have."""
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Failed(StorageUnavailable("all connections to JumpCloud are in use"), undone=True)
        try:
            yield
        finally:
            self._free.release()

    def _attempt(
        self, method: str, path: str, params: Params, content: bytes | None, changes: bool, deadline: float
    ) -> Answer:
        # For connecting and waiting together; requests hands it on to urllib3.
        patience: Any = Timeout(total=max(0.01, deadline - time.monotonic()))
        with translated():
            response = self._session.request(
                method,
                self._url + path,
                params=list(params),
                data=content,
                headers=self._headers,
                # The key must not go where somebody else says.
                allow_redirects=False,
                stream=True,
                timeout=patience,
            )
            try:
                text = read(response, deadline)
            finally:
                response.close()
            return self._judged(response.status_code, response.headers, text, changes)

    def _judged(self, status: int, headers: Mapping[str, str], text: bytes, changes: bool) -> Answer:
        """Return the answer if it is one, or raise what it means."""
        if 200 <= status < 300:
            return Answer(parsed(text), _count(headers.get("x-total-count")))
        if 300 <= status < 400:
            redirect = BadBackendAnswer(f"JumpCloud answered with a redirect ({status}); it is not followed")
            raise Failed(redirect, undone=True)
        message = self._message(text)
        if status == 429:
            patience = StorageUnavailable("JumpCloud limits the rate of requests (status 429)")
            wait_s = retry_after_s(headers.get("retry-after")) or 0.0
            raise Failed(patience, wait_s, again=True, undone=True)
        if status >= 500:
            raise Failed(BadBackendAnswer(f"JumpCloud failed with status {status}"), again=True)
        if status == 401:
            raise Failed(StorageUnavailable("JumpCloud refuses the API key (status 401)"), undone=True)
        if status == 403 and changes:
            refusal = f"the API key does not allow this change in JumpCloud: {message or status}"
            raise StorageReadOnly(refusal, refusal)
        if status in (400, 404, 409, 422):
            raise Rejection(status, message)
        refused = f"JumpCloud refuses the request with status {status} {message}"
        raise Failed(StorageUnavailable(refused), undone=True)

    def _message(self, text: bytes) -> str:
        """Return what an error says, shortened, and without the key whatever it says."""
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError:
            return ""
        message = body.get("message") if isinstance(body, dict) else None
        if not isinstance(message, str):
            return ""
        hidden = message.replace(self._key, "***") if self._key else message
        return " ".join(hidden.split())[:200]


def _after_fork(reference: "weakref.ref[Client]") -> None:
    client = reference()
    if client is not None:
        client.after_fork()


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch("[0-9]{1,18}", value) else None
