"""API keys: the tokens of the setting API_KEY, which have all scopes."""

import hashlib
from collections.abc import Iterable

from app.auth.known import Known
from app.protocol.context import SCOPES, Principal


class ApiKeys:
    """Knows the API keys, by their digest only; `profile` names the tolerances of their clients."""

    def __init__(self, api_keys: Iterable[str], profile: str) -> None:
        # Looking up a digest takes the same time for every wrong key: how much of a key was
        # right cannot be measured.
        self._known = {
            _digest(key.encode()): Known(_principal(client_name(key)), profile)
            for key in api_keys
            if key
        }

    def known(self, token: str) -> Known | None:
        """Return the client that has an API key, None for any other token."""
        return self._known.get(_digest(token.encode("latin-1")))


def _principal(name: str) -> Principal:
    return Principal(name, name, "api-key", SCOPES, name)


def client_name(api_key: str) -> str:
    """Return the name of the client that has an API key."""
    return f"api-key {_digest(api_key.encode()).hex()[:8]}"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
