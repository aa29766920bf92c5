"""One line of log per request, without bodies, query strings or credentials."""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask

_LOG = logging.getLogger("scim.request")


class RequestLog:
    """WSGI middleware that logs method, path, status and milliseconds at level INFO.

    A request ends when the last byte of the answer has left, or when the client is gone.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        line = _Line(environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", ""))

        def noted_start(status: str, headers: Any, exc_info: Any = None) -> Any:
            line.status = status[:3]
            return start_response(status, headers, exc_info)

        return _Answer(self._application(environ, noted_start), line)


class _Line:
    def __init__(self, method: str, path: str) -> None:
        self._method, self._path = method, path
        self._started = time.perf_counter()
        self.status = "-"

    def write(self, end: str) -> None:
        milliseconds = (time.perf_counter() - self._started) * 1000
        # The path is the client's: as JSON it cannot break the line.
        _LOG.info("%s %s %s %.1f ms%s", self._method, json.dumps(self._path), self.status, milliseconds, end)


class _Answer:
    """What the application returned; closing it, as every web server does, writes the line."""

    def __init__(self, parts: Iterable[bytes], line: _Line) -> None:
        self._parts = parts
        self._line = line
        self._is_whole = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        self._is_whole = True

    def close(self) -> None:
        try:
            if hasattr(self._parts, "close"):
                self._parts.close()
        finally:
            self._line.write("" if self._is_whole else ", incomplete")


def install_request_log(app: Flask) -> None:
    """Log the requests of `app`, unless the level of the log makes that moot."""
    if _LOG.isEnabledFor(logging.INFO):
        app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]
