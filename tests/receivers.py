"""Receivers of events that really listen, and fail in every way that receivers do."""

import base64
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Attempt:
    """One request that arrived, at `at` seconds of the monotonic clock."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def claims(self) -> dict[str, Any]:
        """The claims of the SET, whose signature nobody has looked at."""
        text = self.body.decode()
        if self.headers["Content-Type"] == "application/json":
            claims: dict[str, Any] = json.loads(text)
            return claims
        part = text.split(".")[1]
        claims = json.loads(_base64(part))
        return claims


Behaviour = Callable[["_Handler"], None]


def answers(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Behaviour:
    """Return a behaviour that answers at once."""

    def behave(handler: "_Handler") -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        handler.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    return behave


ACCEPTS = answers(202)


def refuses(err: str, description: str = "") -> Behaviour:
    """Return a behaviour that refuses a SET for good (RFC 8935 section 2.3)."""
    body = json.dumps({"err": err, "description": description}).encode()
    return answers(400, {"Content-Type": "application/json"}, body)


def says_nothing(handler: "_Handler") -> None:
    """Leave the connection open, and never answer."""
    handler.receiver.ending.wait(30)
    handler.close_connection = True


def hangs_up(handler: "_Handler") -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def drips(status: int) -> Behaviour:
    """Return a behaviour that answers with a body that never ends, a byte at a time."""

    def behave(handler: "_Handler") -> None:
        handler.wfile.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 100000\r\n\r\n".encode())
        with suppress(OSError):
            while not handler.receiver.ending.wait(0.05):
                handler.wfile.write(b".")
        handler.close_connection = True

    return behave


class HttpReceiver:
    """A receiver on 127.0.0.1.

    It behaves as `behaviour` says, but to the first requests as those in `first` do, in turn.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour: Behaviour = ACCEPTS
        self.first: list[Behaviour] = []
        self.attempts: list[Attempt] = []
        self._tls = tls
        self._port = 0
        self.start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}/events"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.ending = threading.Event()
        self.connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.receiver = self
        self._port = self._server.server_address[1]
        if self._tls:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and end every connection."""
        self.ending.set()
        self._server.shutdown()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    @property
    def claims(self) -> list[dict[str, Any]]:
        """The claims of every SET that arrived, repeated ones included."""
        return [attempt.claims for attempt in self.attempts]

    def wait_for(self, is_enough: Callable[[], bool], seconds: float = 60) -> bool:
        """Return whether `is_enough` comes true in time."""
        deadline = time.monotonic() + seconds
        while not is_enough():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


class _Server(ThreadingHTTPServer):
    receiver: HttpReceiver
    allow_reuse_address = True
    # Their ends are waited for: `stop` has ended every connection.
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def receiver(self) -> HttpReceiver:
        return self.server.receiver

    def setup(self) -> None:
        super().setup()
        self.receiver.connections.add(self.connection)

    def finish(self) -> None:
        self.receiver.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever sent it is gone.
            self.close_connection = True
            return
        receiver = self.receiver
        receiver.attempts.append(Attempt(time.monotonic(), self.path, dict(self.headers), body))
        behave = receiver.first.pop(0) if receiver.first else receiver.behaviour
        behave(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what a receiver at 127.0.0.1 serves TLS with, and the file with its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "receiver.pem", folder / "receiver.key"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file


def _base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
