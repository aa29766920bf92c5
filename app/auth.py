"""Who is calling: from a request's credentials to a principal (RFC 7644 section 2)."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Principal:
    """A client that has proved who it is, and the profile of tolerances it is granted."""

    name: str
    profile: str = "default"


class Authenticator:
    """Knows the API keys, by their digest only."""

    def __init__(self, api_keys: Iterable[str], profile: str) -> None:
        # Looking up a digest takes the same time for every wrong key: how much of a key was
        # right cannot be measured.
        self._principals = {
            digest: Principal(f"api-key {digest.hex()[:8]}", profile)
            for digest in (_digest(key.encode()) for key in api_keys if key)
        }

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


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
