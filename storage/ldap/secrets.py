"""Secrets that a directory has no attribute for: a salted hash of each is kept with the resource."""

from collections.abc import Mapping
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# The one that has an attribute: the server hashes it, and LDAP clients bind with it.
PASSWORD: Final = "password"


def kept_secrets(plain: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return what to keep: `known` hashes, and one for each new secret that does not fit its own."""
    new = {path: value for path, value in plain.items() if path != PASSWORD}
    hasher = PasswordHasher()
    hashed = {path: hasher.hash(value) for path, value in new.items() if not _fits(known.get(path), value)}
    return {**known, **hashed}


def _fits(known: str | None, value: str) -> bool:
    if known is None:
        return False
    try:
        return PasswordHasher().verify(known, value)
    except (VerificationError, InvalidHashError):
        return False
