"""Bodies of requests, where the web server hands them over as they come."""

import contextlib
import importlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask
from werkzeug.exceptions import BadRequest

from app.edge.responses import SCIM_JSON
from app.protocol.errors import error_json

# Bytes of a body that are read and thrown away after the answer is known: a connection that is closed
# with bytes unread destroys the answer.
MOST_DISCARDED: Final = 8 << 20
_AT_ONCE: Final = 65536


class WholeBody:
    """WSGI middleware that answers when the body of the request has been read or thrown away."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        length = environ.get("CONTENT_LENGTH") or "0"
        if not chunked and length == "0":
            result: Iterable[bytes] = self._application(environ, start_response)
            return result
        if chunked and not _can_read_chunks(environ):
            return _length_required(start_response)
        left = int(length) if length.isdecimal() and not chunked else None
        body = environ["wsgi.input"] = _Body(environ["wsgi.input"], left)
        result = self._application(environ, start_response)
        body.discard()
        return result


def install_whole_body(app: Flask) -> None:
    """Let the requests of `app` have bodies of any kind that the web server can read."""
    app.wsgi_app = WholeBody(app.wsgi_app)  # type: ignore[method-assign]


class _Body:
    """The body of one request: `left` bytes, or all until its end when that is None."""

    def __init__(self, stream: Any, left: int | None) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes. Raises BadRequest for what is no body."""
        try:
            data: bytes = self._stream.read(size)
        # Each web server has exceptions of its own for a chunk that is none, and for a client that is gone.
        except Exception as exc:
            self._left = 0
            raise BadRequest(f"the body cannot be read: {exc}") from exc
        if self._left is not None:
            self._left -= len(data)
        elif not data:
            self._left = 0
        return data

    def discard(self) -> None:
        """Read what is left, within reason."""
        discarded = 0
        with contextlib.suppress(BadRequest):
            while self._left != 0 and discarded < MOST_DISCARDED:
                data = self.read(_AT_ONCE if self._left is None else min(_AT_ONCE, self._left))
                discarded += len(data)
                if not data:
                    return


def _can_read_chunks(environ: dict[str, Any]) -> bool:
    """Whether the end of a chunked body shows; with uwsgi, only its own function knows."""
    if "uwsgi.version" in environ:
        environ["wsgi.input"] = _Chunks(importlib.import_module("uwsgi").chunked_read)
        environ["wsgi.input_terminated"] = True
    return bool(environ.get("wsgi.input_terminated"))


class _Chunks:
    """A stream of the chunks that a function returns until it returns none."""

    def __init__(self, next_chunk: Callable[[], bytes]) -> None:
        self._next_chunk = next_chunk
        self._kept = bytearray()
        self._is_over = False

    def read(self, size: int = -1) -> bytes:
        while not self._is_over and (size < 0 or len(self._kept) < size):
            chunk = self._next_chunk()
            self._kept += chunk
            self._is_over = not chunk
        end = len(self._kept) if size < 0 else size
        data = bytes(self._kept[:end])
        del self._kept[:end]
        return data


def _length_required(start_response: Any) -> Iterable[bytes]:
    body = error_json(411, "this web server does not read chunked bodies: send Content-Length")
    start_response(
        "411 Length Required", [("Content-Type", SCIM_JSON), ("Content-Length", str(len(body)))]
    )
    return [body]
