"""Requests and answers as waitress reads and writes them, with bounds and errors of our own."""

import re
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.task import ErrorTask, Task
from waitress.utilities import Error, RequestHeaderFieldsTooLarge, build_http_date

from app.edge.request_body import MOST_DISCARDED
from app.edge.responses import SCIM_JSON
from app.edge.waiting import PARK, Later
from app.protocol.errors import error_json

_MOST_HEAD: Final = 65536
# What of a request and of a response is in memory; more is in a temporary file.
_IN_MEMORY: Final = 65536
# A response is held back for a slow reader up to this size; a longer one holds its thread.
_MOST_HELD: Final = 64 << 20
_SEND_AT_ONCE: Final = 65536
# What waitress reads takes time that grows with the square of this: it copies the rest at each chunk.
_READ_AT_ONCE: Final = 8192
# Bytes of the line before a chunk, and of the lines after the last one.
_MOST_CHUNK_LINE: Final = 8192
_FIRST_LINE: Final = re.compile(rb"[^ \r\n]+ [^ \r\n]+(?: HTTP/[0-9]\.[0-9])?\r\n")
_FOLDED: Final = re.compile(rb"\r\n[ \t]")
_INDENT: Final = re.compile(rb"(\r\n[^:\r\n]*:)[ \t]+")
# The headers that have names of their own in the environment of WSGI.
_PLAIN: Final = frozenset({"CONTENT_LENGTH", "CONTENT_TYPE"})
_CODINGS: Final = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    date: str = build_http_date(second)
    return date


class TimedOut(Error):  # type: ignore[misc]
    """The error of a request that was not complete in time."""

    code = 408
    reason = "Request Timeout"


class _Body(OverflowableBuffer):  # type: ignore[misc]
    """Keeps a body up to its limit, and counts the rest."""

    def __init__(self, limit: int) -> None:
        super().__init__(_IN_MEMORY)
        self._limit = limit
        self._dropped = 0

    def append(self, data: bytes) -> None:
        if super().__len__() > self._limit:
            self._dropped += len(data)
        else:
            super().append(data)

    def __len__(self) -> int:
        return int(super().__len__()) + self._dropped


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads a request, and of its body no more than the application will."""

    # Of a request that is none, too: a line of the log names it.
    path = ""

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        receiver = self.body_rcv
        if isinstance(receiver, ChunkedReceiver):
            if max(len(receiver.control_line), len(receiver.trailer)) > _MOST_CHUNK_LINE:
                self.error = RequestHeaderFieldsTooLarge("a chunk size line or a trailer is too long")
                self.completed = True
        if self.completed:
            # Whoever is told to continue is not answered before more has come.
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        header_plus = _checked(header_plus)
        try:
            super().parse_header(header_plus)
        except ValueError as exc:
            raise ParsingError(f"the request target or Content-Length is invalid: {exc}") from exc
        self._check_framing(_CODINGS.findall(header_plus))
        if self.body_rcv is not None:
            self.body_rcv.buf = _Body(self.adj.body_limit)

    def _check_framing(self, codings: list[bytes]) -> None:
        """Refuse a body whose end a proxy might see elsewhere (RFC 9112 section 6.3)."""
        is_plain = len(codings) == 1 and codings[0].lower().strip(b" \t") == b"chunked"
        if codings and (not is_plain or self.version != "1.1" or "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding is not just chunked, or stands beside Content-Length")


def _checked(head: bytes) -> bytes:
    """Return a head without what the expressions of waitress take quadratic time for."""
    if not _FIRST_LINE.match(head):
        raise ParsingError("the request line is invalid")
    if _FOLDED.search(head):
        raise ParsingError("a header field continues on the next line")
    return _INDENT.sub(rb"\1", head)


class Answer(Task):  # type: ignore[misc]
    """Answers a request; in a process that ends or has no room, the client learns that it was the last."""

    # The answer if the request waits for it.
    later: Later | None = None
    complete: bool
    _parts: Iterable[bytes] | None = None
    _failure: Exception | None = None

    def begin(self) -> Later | None:
        """Have the application answer; return what knows when there is an answer if the request must wait."""
        environ = self._environ()
        environ[PARK] = self._park
        try:
            self._parts = self.channel.server.application(environ, self._start_response)
        except Exception as exc:
            self._failure = exc
        return self.later

    def _park(self, later: Later) -> None:
        self.later = later

    def execute(self) -> None:
        if self._failure is not None:
            raise self._failure
        for part in self._parts or ():
            if part:
                self.write(part)
        if not self.wrote_header:
            self.write(b"")
        length = self.content_length
        if length is not None and self.content_bytes_written != length and self.request.command != "HEAD":
            # The client would wait for the rest.
            self.set_close_on_finish()

    def close(self) -> None:
        """Let the application end what belongs to the request."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()

    def finish(self) -> None:
        super().finish()
        self.channel.send_now()

    def _environ(self) -> dict[str, Any]:
        request, channel = self.request, self.channel
        path = request.path
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        environ = {
            **channel.server.environ,
            "REMOTE_ADDR": channel.addr[0],
            "REMOTE_PORT": str(channel.addr[1]),
            "REQUEST_METHOD": request.command,
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "PATH_INFO": path,
            "REQUEST_URI": request.request_uri,
            "QUERY_STRING": request.query,
            "wsgi.input": request.get_body_stream(),
        }
        for name, value in request.headers.items():
            environ[name if name in _PLAIN else f"HTTP_{name}"] = value
        return environ

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info and self.wrote_header:
            raise exc_info[1]
        if self.complete and not exc_info:
            raise AssertionError("start_response is called a second time")
        self.complete, self.status, self.response_headers = True, status, list(headers)
        for name, value in headers:
            if name.lower() == "content-length":
                self.content_length = int(value)
        return self.write

    def build_response_header(self) -> bytes:
        server = self.channel.server
        asked = self.request.headers.get("CONNECTION", "").lower()
        keeps = asked == "keep-alive" if self.version == "1.0" else asked != "close"
        headers = [one for one in self.response_headers if one[0].lower() != "content-length"]
        if self.has_body and self.content_length is not None:
            headers.append(("Content-Length", str(self.content_length)))
        elif self.has_body:
            keeps = False
            if self.version == "1.1":
                self.chunked_response = True
                headers.append(("Transfer-Encoding", "chunked"))
        if not keeps or server.ends_at is not None or server.is_full():
            self.close_on_finish = True
            headers.append(("Connection", "close"))
        elif self.version == "1.0":
            headers.append(("Connection", "Keep-Alive"))
        lines = [f"HTTP/{self.version} {self.status}", f"Date: {_date(int(time.time()))}"]
        lines += [f"{name}: {value}" for name, value in headers]
        text = "\r\n".join(lines)
        if text.count("\n") != len(headers) + 1 or text.count("\r") != len(headers) + 1:
            raise ValueError("a header of the answer contains the end of a line")
        return f"{text}\r\n\r\n".encode("latin-1")


class ErrorAnswer(ErrorTask):  # type: ignore[misc]
    """Answers what never became a request of the application, as a SCIM error."""

    def execute(self) -> None:
        error = self.request.error
        body = error_json(error.code, f"{error.reason}: {error.body}")
        self.status = f"{error.code} {error.reason}"
        # Whatever version a request of which so little is known has.
        self.version = "1.1"
        self.response_headers.append(("Content-Type", SCIM_JSON))
        self.content_length = len(body)
        self.set_close_on_finish()
        self.channel.has_unread = True
        self.write(body)

    def finish(self) -> None:
        super().finish()
        self.channel.send_now()


def make_adjustments(body_limit: int) -> Adjustments:
    """Return the settings of waitress, for bodies that the application reads up to `body_limit`."""
    adjustments = Adjustments(
        ident=None,
        recv_bytes=_READ_AT_ONCE,
        send_bytes=_SEND_AT_ONCE,
        inbuf_overflow=_IN_MEMORY,
        outbuf_high_watermark=_MOST_HELD,
        max_request_header_size=_MOST_HEAD,
        max_request_body_size=max(MOST_DISCARDED, body_limit) + 1,
        log_socket_errors=False,
        clear_untrusted_proxy_headers=False,
    )
    adjustments.body_limit = body_limit
    return adjustments


def environ_of(port: int) -> dict[str, Any]:
    """Return what is the same in the WSGI environment of every request of a process."""
    return {
        "SERVER_NAME": "scim",
        "SERVER_PORT": str(port),
        "SERVER_SOFTWARE": "scim",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        # The end of the body is the end of the stream.
        "wsgi.input_terminated": True,
    }
