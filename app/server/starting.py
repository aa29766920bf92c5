"""The answers of `scim serve` while its storage is prepared for long: a start-up probe sees how far it is."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from typing import Any, Final

import orjson

from app.configuration.settings import Settings
from app.edge.responses import JSON, SCIM_JSON
from app.protocol.errors import RETRY_AFTER_S, error_json
from storage.progress import followed

_LOG = logging.getLogger(__name__)

# Seconds that a client may take for its request.
_REQUEST_S: Final = 5.0
# The longest wait of the end of this server for its thread.
_POLL_S: Final = 0.05


class _Answer(BaseHTTPRequestHandler):
    """Says that the process lives, and refuses every other request."""

    timeout = _REQUEST_S
    server: "_Listener"

    def _answer(self) -> None:
        path = self.path.partition("?")[0].removeprefix(self.server.base_path).rstrip("/")
        is_alive = path == "/health" and self.command in ("GET", "HEAD")
        detail = f"the server is starting: {self.server.doing}"
        if is_alive:
            body = orjson.dumps({"status": "starting", "detail": detail})
        else:
            body = error_json(503, detail)
        self.send_response(200 if is_alive else 503)
        self.send_header("Content-Type", JSON if is_alive else SCIM_JSON)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def version_string(self) -> str:
        return "scim"

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the log to the lines on the work itself."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, settings: Settings, doing: str) -> None:
        if ":" in settings.host:
            self.address_family = socket.AF_INET6
        self.base_path, self.doing = settings.base_path, doing
        super().__init__((settings.host, settings.port), _Answer)

    def server_bind(self) -> None:
        # That of HTTPServer looks up the name of the host: without a name server, the start would wait.
        TCPServer.server_bind(self)


class _Starting:
    """Listens at HOST:PORT from the first report of long work on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener: _Listener | None = None
        self._has_tried = False
        self._telling = Lock()

    def tell(self, doing: str) -> None:
        with self._telling:
            if self._listener is not None:
                self._listener.doing = doing
            elif not self._has_tried:
                self._has_tried = True
                self._listen(doing)

    def _listen(self, doing: str) -> None:
        try:
            self._listener = _Listener(self._settings, doing)
        except OSError as exc:
            # The web server will not get the port either, and says so.
            _LOG.warning("nobody can ask how far the start is: %s", exc)
            return
        Thread(target=self._listener.serve_forever, args=(_POLL_S,), daemon=True).start()

    def end(self) -> None:
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()


@contextmanager
def progress_served(settings: Settings) -> Iterator[None]:
    """Tell at HOST:PORT how far long work on the storage in this context is, once it has taken a second.

    `/health` is answered 200, everything else 503 with Retry-After. The port is free again at the end.
    """
    starting = _Starting(settings)
    try:
        with followed(starting.tell):
            yield
    finally:
        starting.end()
