"""Answers over HTTP: read to their end, and every way in which there is none, by name."""

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson
import requests
import urllib3

from storage.deadline import causes
from storage.errors import BackendTimeout, BadBackendAnswer, StorageUnavailable

# More than this is no answer of the API.
_LARGEST_ANSWER: Final = 64 * 1024 * 1024


class Failed(Exception):
    """A call has failed with `failure`; `again` says that it may be repeated, `wait_s` seconds from now.

    `undone` says that JumpCloud certainly did nothing with it.
    """

    def __init__(
        self,
        failure: StorageUnavailable,
        wait_s: float | None = None,
        *,
        again: bool = False,
        undone: bool = False,
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_s = wait_s
        self.again = again
        self.undone = undone


@contextmanager
def translated() -> Iterator[None]:
    """Give the failures of HTTP the names that they have everywhere, as Failed.

    The texts are ours: those of the driver hold addresses and parameters.
    """
    try:
        yield
    except StorageUnavailable as exc:
        raise Failed(exc) from exc
    except requests.exceptions.Timeout as exc:
        undone = isinstance(exc, requests.exceptions.ConnectTimeout)
        raise Failed(BackendTimeout("JumpCloud did not answer in time"), undone=undone) from exc
    except requests.exceptions.SSLError as exc:
        undone = any(isinstance(reason, ssl.SSLCertVerificationError) for reason in causes(exc))
        raise Failed(BadBackendAnswer("TLS with JumpCloud failed"), undone=undone) from exc
    except requests.exceptions.ConnectionError as exc:
        cause = exc.args[0] if exc.args else None
        if isinstance(cause, urllib3.exceptions.TimeoutError):
            raise Failed(BackendTimeout("JumpCloud did not answer in time")) from exc
        if isinstance(cause, urllib3.exceptions.ProtocolError):
            ended = BadBackendAnswer("JumpCloud ended the connection without an answer")
            raise Failed(ended, again=True) from exc
        raise Failed(StorageUnavailable("JumpCloud cannot be reached"), undone=True) from exc
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as exc:
        raise Failed(BadBackendAnswer("JumpCloud sent an incomplete answer")) from exc
    except (requests.exceptions.RequestException, UnicodeError) as exc:
        raise Failed(BadBackendAnswer("the request to JumpCloud cannot be sent")) from exc


def read(response: requests.Response, deadline: float) -> bytes:
    """Return the body of an answer. Raises BadBackendAnswer and BackendTimeout."""
    chunks, size = [], 0
    for chunk in response.iter_content(64 * 1024):
        chunks.append(chunk)
        size += len(chunk)
        if size > _LARGEST_ANSWER:
            raise BadBackendAnswer("JumpCloud sent an answer that is too large")
        if time.monotonic() > deadline:
            raise BackendTimeout("JumpCloud did not finish its answer in time")
    return b"".join(chunks)


def parsed(text: bytes) -> Any:
    """Return the JSON of a body, None for an empty one. Raises BadBackendAnswer."""
    if not text.strip():
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise BadBackendAnswer("JumpCloud sent an answer that is not JSON") from exc
