"""Requests and answers as waitress reads and writes them, with bounds and errors of our own."""

import re
from typing import Final

from waitress.adjustments import Adjustments
from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error, RequestHeaderFieldsTooLarge

from app.edge.request_body import MOST_DISCARDED
from app.edge.responses import SCIM_JSON
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
_CODINGS: Final = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE)


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


class Answer(WSGITask):  # type: ignore[misc]
    """Answers a request; in a process that ends or has no room, the client learns that it was the last."""

    # Whether the head is the whole answer, after which the connection is good for the next one.
    _is_whole = False

    def build_response_header(self) -> bytes:
        if self.channel.server.ends_at is not None or self.channel.server.is_full():
            self.set_close_on_finish()
        asked = self.request.headers.get("CONNECTION", "").lower()
        self._is_whole = self.version == "1.1" and asked != "close" and not self.has_body
        head: bytes = super().build_response_header()
        self._is_whole = False
        return head

    def set_close_on_finish(self) -> None:
        # waitress ends the connection after every answer without Content-Length, 204 and 304 as well.
        if not self._is_whole:
            super().set_close_on_finish()

    def finish(self) -> None:
        super().finish()
        self.channel.send_now()


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
