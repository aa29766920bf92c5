"""Each request as it is watched: its id, its line in the log, and its figures.

The line and the figures hold the route, not the path; no body, no query and no credentials. They are made
when the last byte of the answer has left, or when the client is gone.
"""

import logging
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from telemetry import tracing
from telemetry.catalogue import REQUEST_SECONDS, REQUESTS
from telemetry.current import Activity, current
from telemetry.lines import Values, say_line, word
from telemetry.metrics import OTHER, bounded

_LOG = logging.getLogger("scim.request")

# An id of a request that the log, headers and the change log may hold as it came.
_ID: Final = re.compile("[!-~]{1,100}")
# RFC of W3C, Trace Context: version, trace, span, flags. A trace of zeros is none.
_TRACEPARENT: Final = re.compile("[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# An address of IPv6 in brackets or of IPv4, both with a port or without one, or one of IPv6 alone.
_HOP: Final = re.compile(
    r"\[([0-9A-Fa-f:.]{2,45})\](?::\d{1,5})?|([0-9.]{7,15})(?::\d{1,5})?|([0-9A-Fa-f:.]{2,45})"
)


@dataclass(frozen=True)
class Origin:
    """Who sends requests: `base` names the base, and `proxies` is how many trusted proxies are ahead."""

    base: str
    proxies: int = 0

    def address(self, environ: Mapping[str, Any]) -> str:
        """Return the address of the client, as the farthest trusted proxy has seen it.

        An entry of the header that is no address counts as none.
        """
        address: str = environ.get("REMOTE_ADDR", "")
        if self.proxies:
            # Each proxy appends the address that it got the request from; what precedes is the client's.
            hops = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
            if len(hops) >= self.proxies and (found := _HOP.fullmatch(hops[-self.proxies].strip())):
                with suppress(ValueError):
                    address = str(ip_address(found[1] or found[2] or found[3]))
        return address


class Watch:
    """WSGI middleware that counts the requests of an application, and logs each at level INFO.

    A request has the id of its header X-Request-ID, else the trace of its traceparent, else a new one.
    The answer has the id, and the traceparent if the request has one.
    """

    def __init__(self, application: Any, origin: Origin) -> None:
        self._application = application
        self._origin = origin

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # All that comes after, limits and networks of tokens among it, sees the client behind the proxies.
        environ["REMOTE_ADDR"] = self._origin.address(environ)
        request = _Request(environ, self._origin.base, start_response)
        current.set(request)
        try:
            request.parts = self._application(environ, request.start)
        finally:
            current.set(None)
        return request


class _Request(Activity):
    """A request, and its answer as a server takes it: closing it, as every server does, ends the request."""

    parts: Iterable[bytes]
    status = "-"
    sent = 0
    is_whole = False

    def __init__(self, environ: Mapping[str, Any], base: str, start_response: Any) -> None:
        given = environ.get("HTTP_X_REQUEST_ID")
        traceparent = environ.get("HTTP_TRACEPARENT")
        trace = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        if given is None or not _ID.fullmatch(given):
            given = trace[1] if trace else f"{random.getrandbits(64):016x}"
        super().__init__(base, "", given, "", environ["REMOTE_ADDR"])
        self._start_response = start_response
        self.method: str = environ.get("REQUEST_METHOD", "")
        self.path: str = environ.get("PATH_INFO", "")
        if trace:
            self.traceparent = trace[0]
        if tracing.is_on():
            self.span = tracing.begun("server", "request", self.traceparent)
            self.traceparent = tracing.traceparent_of(self.span)

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Begin the answer, with the id of the request."""
        self.status = status[:3]
        headers = [*headers, ("X-Request-ID", self.request_id)]
        if self.traceparent:
            headers.append(("traceparent", self.traceparent))
        return self._start_response(status, headers, exc_info)

    def __iter__(self) -> Iterator[bytes]:
        # Another thread may go on with a request that has waited, and parts may be made on the way.
        current.set(self)
        for part in self.parts:
            self.sent += len(part)
            yield part
        self.is_whole = True

    def close(self) -> None:
        """End the request: count it, and log it."""
        current.set(self)
        try:
            if hasattr(self.parts, "close"):
                self.parts.close()
        finally:
            self._end()
            current.set(None)

    def _end(self) -> None:
        seconds = time.perf_counter() - self.started_s
        route = self.name or "-"
        method = self.method if self.method in _METHODS else OTHER
        REQUESTS.inc(self.base, route, method, self.status, bounded(self.principal))
        REQUEST_SECONDS.observe(seconds, self.base, route, method)
        if _LOG.isEnabledFor(logging.INFO):
            self._log(method, route, seconds)
        if self.span is not None:
            self._end_span(method, route)

    def _end_span(self, method: str, route: str) -> None:
        self.span.update_name(f"{method} {route}")
        self.span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "scim.base": self.base,
                "scim.principal": self.principal,
                "scim.request_id": self.request_id,
            }
        )
        if self.status.isdecimal():
            self.span.set_attribute("http.response.status_code", int(self.status))
            if self.status >= "500":
                self.span.set_attribute("error.type", self.status)
        self.span.end()

    def _log(self, method: str, route: str, seconds: float) -> None:
        message = f"{method} {route} {self.status} {seconds * 1000:.1f} ms"
        principal = f" principal={word(self.principal)}" if self.principal else ""
        path = f" path={word(self.path)}" if Values.are_shown else ""
        incomplete = "" if self.is_whole else " incomplete=true"
        line = (
            f"{message} bytes={self.sent} store_calls={self.store_calls}"
            f" store_ms={self.store_s * 1000:.1f}{principal} address={word(self.address)}"
            f" base={self.base} request_id={self.request_id}{path}{incomplete}"
        )

        def fields() -> dict[str, Any]:
            return {
                "message": message,
                "method": method,
                "route": route,
                "status": int(self.status) if self.status.isdecimal() else None,
                "ms": round(seconds * 1000, 1),
                "bytes": self.sent,
                "store_calls": self.store_calls,
                "store_ms": round(self.store_s * 1000, 1),
                **({"principal": self.principal} if self.principal else {}),
                "address": self.address,
                "base": self.base,
                "request_id": self.request_id,
                **({"path": self.path} if Values.are_shown else {}),
                **({} if self.is_whole else {"incomplete": True}),
            }

        say_line(_LOG, logging.INFO, line, fields)
