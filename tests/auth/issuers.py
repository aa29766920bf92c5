"""An issuer of access tokens that really listens: it signs what it is told to, and fails as issuers do."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "https://scim.example.com"


class SigningKey:
    """A private key with its id and algorithm."""

    def __init__(self, kid: str | None, algorithm: str, private: Any = None) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private = private or _private(algorithm)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """Return the public key as the issuer publishes it."""
        signer: Any = jwt.get_algorithm_by_name(self.algorithm)
        document = dict(signer.to_jwk(self.private.public_key(), as_dict=True))
        document.pop("key_ops", None)
        named = {} if self.kid is None else {"kid": self.kid}
        return {**document, **named, "use": "sig", **members}

    def sign(self, header: str | Mapping[str, Any], claims: str | Mapping[str, Any]) -> str:
        """Return a token with exactly these texts."""
        parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
        signed = ".".join(encoded(part) for part in parts)
        signer = jwt.get_algorithm_by_name(self.algorithm)
        return f"{signed}.{encoded(signer.sign(signed.encode(), self.private))}"


def encoded(part: str | bytes) -> str:
    """Return a part of a token in base64url."""
    raw = part.encode() if isinstance(part, str) else part
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@cache
def _rsa(number: int, bits: int = 2048) -> Any:
    # Each takes a while to make; tests need a few that differ.
    return rsa.generate_private_key(65537, bits)


def rsa_key(kid: str | None, number: int = 0, algorithm: str = "RS256", bits: int = 2048) -> SigningKey:
    """Return an RSA key: the same one for the same number."""
    return SigningKey(kid, algorithm, _rsa(number, bits))


def _private(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}
    return ec.generate_private_key(curves[algorithm])


Behaviour = Callable[[BaseHTTPRequestHandler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """A client that went away, or that does not trust the certificate."""


class HttpIssuer:
    """An issuer on a free port; `path` is that of its URL. `requests` are the paths that were asked for."""

    def __init__(
        self, *keys: SigningKey, path: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.keys = list(keys)
        self.extra_keys: list[Any] = []
        self.requests: list[str] = []
        # A path with another answer than that of an issuer.
        self.instead: dict[str, Behaviour] = {}
        self._gate = threading.Event()
        self._gate.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                issuer._gate.wait(30)
                # A client that did not wait for its answer.
                with suppress(OSError):
                    issuer.instead.get(self.path, issuer.answer)(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        self.host = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self.url = self.host + path
        self.metadata: dict[str, Any] = {"issuer": self.url, "jwks_uri": f"{self.host}/jwks"}
        self.metadata_path = f"{path.rstrip('/')}/.well-known/openid-configuration"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.05), daemon=True)
        self._thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as an issuer does."""
        if handler.path == self.metadata_path:
            json_answer(self.metadata)(handler)
        elif handler.path == "/jwks":
            json_answer({"keys": [*(key.jwk() for key in self.keys), *self.extra_keys]})(handler)
        else:
            json_answer({"error": "not found"}, 404)(handler)

    @property
    def fetches(self) -> int:
        """How often the keys were asked for."""
        return self.requests.count("/jwks")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Answer nobody until the context ends."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def stop(self) -> None:
        """Listen no longer."""
        self._gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return the claims of a good token; a value of None leaves a claim out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "client-1",
            "client_id": "client-1",
            "iat": now,
            "exp": now + 600,
            "jti": "t-1",
            "scope": "scim.read scim.write",
        }
        return {name: value for name, value in {**good, **claims}.items() if value is not None}

    def token(self, key: SigningKey | None = None, **claims: Any) -> str:
        """Return a token that is good but for `claims`."""
        signer = key or self.keys[0]
        return signer.sign(header_of(signer), self.claims(**claims))


def header_of(key: SigningKey, **members: Any) -> dict[str, Any]:
    """Return the header of a good token; a value of None leaves a member out."""
    good = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid, **members}
    return {name: value for name, value in good.items() if value is not None}


def json_answer(document: Any, status: int = 200) -> Behaviour:
    """Return the behaviour of sending a document."""
    return bytes_answer(json.dumps(document).encode(), status)


def bytes_answer(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    """Return the behaviour of sending some bytes."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)

    return behave
