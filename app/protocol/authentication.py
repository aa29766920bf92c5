"""Who is calling: from a request's credentials to a principal (RFC 7644 section 2)."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from app.protocol.context import SCOPES, Principal


class Authenticator:
    """Knows the API keys, by their digest only; `profile` names the tolerances of who has one."""

    def __init__(self, api_keys: Iterable[str], profile: str) -> None:
        # Looking up a digest takes the same time for every wrong key: how much of a key was
        # right cannot be measured.
        self._principals = {
            _digest(key.encode()): _principal(client_name(key)) for key in api_keys if key
        }
        self.profile = profile

    def principal(self, environ: Mapping[str, Any]) -> Principal | None:
        """Return who sent the request with this WSGI environment, or None.

        The key comes as `Authorization: Bearer <key>` or as `x-api-key: <key>`.
        """
        header = environ.get("HTTP_AUTHORIZATION", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            token = environ.get("HTTP_X_API_KEY", "")
        # WSGI hands the bytes of a header over as Latin-1 text.
        return self._principals.get(_digest(token.strip(" \t").encode("latin-1")))


def _principal(name: str) -> Principal:
    return Principal(name, name, "api-key", SCOPES, name)


def client_name(api_key: str) -> str:
    """Return the name of the client that has an API key."""
    return f"api-key {_digest(api_key.encode()).hex()[:8]}"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
