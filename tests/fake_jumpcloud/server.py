"""The HTTP side of the fake: paths, pages, keys, errors, and what goes wrong on purpose."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.fake_jumpcloud.faults import Fault, Faults
from tests.fake_jumpcloud.limits import LIMITS
from tests.fake_jumpcloud.organisation import Organisation
from tests.fake_jumpcloud.query import Refusal
from tests.fake_jumpcloud.routes import Answer, Params, routed


@dataclass(frozen=True)
class Request:
    """A request as the server saw it."""

    method: str
    path: str
    params: Params
    body: Any


class FakeJumpcloudServer:
    """Many organisations, each with an API key of its own; what stands for a database is the key."""

    limits: Mapping[str, str] = LIMITS

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.organisations: dict[str, Organisation] = {}
        # The id that an administrator of several organisations has to send, by key.
        self.organisation_ids: dict[str, str] = {}
        self.requests: list[Request] = []
        # Calls that are answered within a second, 0 for any number.
        self.calls_per_second = 0
        self._answered_at: list[float] = []
        # Seconds that a call takes, and how many were at work at the same time.
        self.delay_s = 0.0
        self.most_at_once = 0
        self._at_work = 0
        self._lock = threading.Lock()
        self.faults = Faults()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _HttpServer(("127.0.0.1", port), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def new_database(self) -> str:
        """Make an organisation and return its key."""
        key = f"key-{len(self.organisations) + 1}-{self.port}"
        self.organisations[key] = Organisation()
        return key

    def environ(self, database: str) -> dict[str, str]:
        """Return the variables that make a service use an organisation."""
        return {"JUMPCLOUD_URL": self.url, "JUMPCLOUD_KEY": database}

    def empty(self, database: str) -> None:
        """Delete everything in an organisation."""
        with self.organisations[database].lock:
            self.organisations[database].clear()
        self.faults.clear()
        self.requests.clear()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count the calls that are at work at the same time."""
        with self._lock:
            self._at_work += 1
            self.most_at_once = max(self.most_at_once, self._at_work)
        time.sleep(self.delay_s)
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1

    def is_asked_too_much(self) -> bool:
        """Return whether one more call is one too many."""
        now = time.monotonic()
        self._answered_at = [at for at in self._answered_at if at > now - 1]
        too_much = 0 < self.calls_per_second <= len(self._answered_at)
        if not too_much:
            self._answered_at.append(now)
        return too_much

    def remove(self) -> None:
        """End the server."""
        self.faults.clear()
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    # Many threads of several processes connect at once.
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away, or did not speak TLS, is no news."""

    def end_connections(self) -> None:
        """Close what clients keep open."""
        for request in list(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeJumpcloudServer
    # An answer must not wait for the acknowledgement of its head.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        params = parse_qsl(parts.query, keep_blank_values=True)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(text) if text else None
        self.fake.requests.append(Request(self.command, parts.path, params, body))
        fault = self.fake.faults.next_for(self.command, parts.path)
        if fault is not None and not fault.done and fault.how != "half":
            return self._fail(fault)
        with self.fake.at_work():
            status, answer, headers = self._answered(parts.path, params, body)
        if fault is not None:
            return self._fail(fault, answer)
        self._send(status, headers, b"" if answer is None else json.dumps(answer).encode())

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _answered(self, path: str, params: Params, body: Any) -> Answer:
        version_2 = path.startswith("/api/v2/")
        try:
            organisation = self._organisation()
            if self.fake.is_asked_too_much():
                raise Refusal(429, "Too Many Requests")
            if organisation.read_only and self.command != "GET" and "/search/" not in path:
                raise Refusal(403, "the role of this administrator is read only")
            with organisation.lock:
                found = routed(organisation, self.command, path, params, body)
                # What changes while it is written is not what was answered.
                return found[0], json.loads(json.dumps(found[1])), found[2]
        except Refusal as refusal:
            if version_2:
                error = {"code": refusal.status, "status": "ERROR", "message": refusal.message, "details": []}
                return refusal.status, error, {}
            return refusal.status, {"message": refusal.message}, {}

    def _organisation(self) -> Organisation:
        key = self.headers.get("x-api-key", "")
        organisation = self.fake.organisations.get(key)
        wanted = self.fake.organisation_ids.get(key)
        if organisation is None or (wanted is not None and self.headers.get("x-org-id") != wanted):
            raise Refusal(401, f"Unauthorized: api key {key}")
        return organisation

    def _fail(self, fault: Fault, answer: Any = None) -> None:
        if fault.how == "silence":
            self.fake.faults.over.wait(fault.seconds)
        if fault.how.startswith("drip"):
            self._drip(fault)
        if fault.how == "half":
            text = json.dumps(answer).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
            self.wfile.write(head.encode() + text[: len(text) // 2])
        if fault.how:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(fault.status, fault.headers, fault.body)

    def _drip(self, fault: Fault) -> None:
        """Send a byte now and then, of the head or of the body."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        self.wfile.write(head if fault.how == "drip head" else head + b"Content-Length: 9999\r\n\r\n")
        ends = time.monotonic() + fault.seconds
        with suppress(OSError):
            while time.monotonic() < ends and not self.fake.faults.over.wait(0.05):
                self.wfile.write(b"x")

    def _send(self, status: int, headers: Mapping[str, str], text: bytes) -> None:
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(text)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + text)
