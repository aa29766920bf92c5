"""One line of log per request, without bodies, query strings or credentials."""

import json
import logging
import time
from collections.abc import Iterable
from typing import Any

from flask import Flask

_LOG = logging.getLogger("scim.request")


class RequestLog:
    """WSGI middleware that logs method, path, status and milliseconds at level INFO."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        started = time.perf_counter()
        method, path = environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", "")

        def logged_start(status: str, headers: Any, exc_info: Any = None) -> Any:
            milliseconds = (time.perf_counter() - started) * 1000
            # The path is the client's: as JSON it cannot break the line.
            _LOG.info("%s %s %s %.1f ms", method, json.dumps(path), status[:3], milliseconds)
            return start_response(status, headers, exc_info)

        result: Iterable[bytes] = self._application(environ, logged_start)
        return result


def install_request_log(app: Flask) -> None:
    """Log the requests of `app`, unless the level of the log makes that moot."""
    if _LOG.isEnabledFor(logging.INFO):
        app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]
