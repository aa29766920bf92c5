"""Answers over HTTP: read to their end, and every way in which there is none, by name."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson
import requests
import urllib3

from storage.errors import BackendTimeout, BadBackendAnswer, StorageUnavailable

# More than this is no answer of the API.
_LARGEST_ANSWER: Final = 64 * 1024 * 1024


class Again(Exception):
    """The call may be repeated, `wait_s` seconds from now if given; otherwise `failure` is raised."""

    def __init__(self, failure: StorageUnavailable, wait_s: float | None = None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_s = wait_s


@contextmanager
def translated() -> Iterator[None]:
    """Give the failures of HTTP the names that they have everywhere.

    The texts are ours: those of the driver hold addresses and parameters.
    """
    try:
        yield
    except requests.exceptions.Timeout as exc:
        raise BackendTimeout("JumpCloud did not answer in time") from exc
    except requests.exceptions.SSLError as exc:
        raise BadBackendAnswer("TLS with JumpCloud failed") from exc
    except requests.exceptions.ConnectionError as exc:
        cause = exc.args[0] if exc.args else None
        if isinstance(cause, urllib3.exceptions.TimeoutError):
            raise BackendTimeout("JumpCloud did not answer in time") from exc
        if isinstance(cause, urllib3.exceptions.ProtocolError):
            raise Again(BadBackendAnswer("JumpCloud ended the connection without an answer")) from exc
        raise StorageUnavailable("JumpCloud cannot be reached") from exc
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as exc:
        raise BadBackendAnswer("JumpCloud sent an incomplete answer") from exc
    except (requests.exceptions.RequestException, UnicodeError) as exc:
        raise BadBackendAnswer("the request to JumpCloud cannot be sent") from exc


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
