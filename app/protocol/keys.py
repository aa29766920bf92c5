"""Keys: one for each purpose, derived from the secrets of the server by HKDF (RFC 5869)."""

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Purpose(StrEnum):
    """What a key is for. A key for one purpose says nothing about the key for another one."""

    CURSORS = "cursors"
    JOBS = "jobs"
    CHECKPOINTS = "checkpoints"
    RESOURCES = "resources"
    FINGERPRINTS = "fingerprints"


class Keys:
    """Derives keys of 32 bytes. The first key of each method writes, and all of its keys read.

    `secrets` are SECRET_KEYS and the key ring. `api_keys` maps the name of a client to its API key.
    """

    def __init__(self, secrets: Sequence[bytes], api_keys: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._api_keys = api_keys
        self._cursors = self.derived(Purpose.CURSORS)
        self._of_clients = {
            name: _derive(api_key.encode(), Purpose.CURSORS) for name, api_key in api_keys.items()
        }
        # Releases 0.1.0 and 0.2.0 signed cursors with this key.
        known = "\0".join(("cursor 2", *sorted(api_keys.values())))
        self._former = hashlib.sha256(known.encode()).digest()

    def derived(self, purpose: Purpose) -> tuple[bytes, ...]:
        """Return the key of each secret for a purpose; none without secrets."""
        return tuple(_derive(secret, purpose) for secret in self._secrets)

    def cursors(self, client: str) -> tuple[bytes, ...]:
        """Return the keys for the cursors of a client.

        Without secrets, the key of a client comes from its own API key: it stays the same when other
        API keys change. With it, a client could sign its own cursors, which show it nothing that a
        query does not.
        """
        own = (self._of_clients[client],) if client in self._of_clients else ()
        return (*self._cursors, *own, self._former)

    def jobs(self) -> tuple[bytes, ...]:
        """Return the keys for asynchronous requests that wait."""
        # Releases 0.1.0 and 0.2.0 encrypted requests with a key from the first API key.
        former = (hashlib.sha256(b"scim job\0" + key.encode()).digest() for key in self._api_keys.values())
        return (*self.derived(Purpose.JOBS), *former)


def _derive(secret: bytes, purpose: Purpose) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"scim {purpose}".encode()).derive(secret)
