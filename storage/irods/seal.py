"""What the other users of a zone cannot read: sealed texts, and digests in place of the keys of look-ups.

Every user of the zone can read the metadata of an account. With keys, a document is encrypted (Fernet), and
a key that resources are found by is a digest (HMAC with SHA-256), which compares for equality only.
"""

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

# Every sealed text begins so: a version of 0x80, and the high bytes of a time. JSON never does.
_SEALED: Final = "gAAAA"


class KeyMissing(Exception):
    """None of the keys opens a sealed text."""


class Seal:
    """Seals by the first of some keys, and opens by each of them; without keys, texts stay as they are."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers = [Fernet(base64.urlsafe_b64encode(_derived(key, "seal"))) for key in keys]
        self._digest_keys = [_derived(key, "digest") for key in keys]
        self.names: Sequence[str] = [hmac.digest(key, b"name", "sha256").hex() for key in keys]

    @property
    def is_on(self) -> bool:
        return bool(self._ciphers)

    def sealed(self, text: str) -> str:
        return self._ciphers[0].encrypt(text.encode()).decode() if self._ciphers else text

    def opened(self, text: str) -> str:
        """Return a text that was sealed, or that never was. Raises KeyMissing."""
        if not text.startswith(_SEALED):
            return text
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(text.encode()).decode()
            except InvalidToken:
                continue
        raise KeyMissing

    def is_current(self, text: str) -> bool:
        """Return whether a text is as `sealed` returns it now."""
        if not text.startswith(_SEALED) or not self._ciphers:
            return not self._ciphers
        try:
            self._ciphers[0].decrypt(text.encode())
        except InvalidToken:
            return False
        return True

    def digest(self, path: str, key: str) -> str:
        """Return the value of the metadata for a key of a path."""
        return _digest(self._digest_keys[0], path, key) if self._digest_keys else key

    def digests(self, path: str, key: str) -> list[str]:
        """Return each value that the metadata for a key may have: those of other keys, and of none."""
        return [*(_digest(secret, path, key) for secret in self._digest_keys), key]


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode(), "sha256")


def _digest(secret: bytes, path: str, key: str) -> str:
    return hmac.digest(secret, f"{path}\0{key}".encode(), "sha256").hex()
