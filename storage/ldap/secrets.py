"""The password, which has an attribute, and secrets that have none: a salted hash of each is kept."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import ldap
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storage.adapter import StoredResource
from storage.errors import ValueRefused
from storage.ldap.offer import Offer
from storage.ldap.server import sentence
from storage.ldap.wire import Session

# The one that has an attribute: the server hashes it, and LDAP clients bind with it.
PASSWORD: Final = "password"


def without_empty(stored: StoredResource) -> StoredResource:
    """Return what is to be written with an empty password taken for none: who binds with it is nobody."""
    if stored.secrets.get(PASSWORD) != "":
        return stored
    secrets = {path: value for path, value in stored.secrets.items() if path != PASSWORD}
    return replace(stored, secrets=secrets, removed_secrets=stored.removed_secrets | {PASSWORD})


def kept_secrets(stored: StoredResource, known: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes to keep for `stored`: `known` ones, and one for each new secret that fits none."""
    new = {path: value for path, value in stored.secrets.items() if path != PASSWORD}
    known = {path: hashed for path, hashed in known.items() if path not in stored.removed_secrets}
    hasher = PasswordHasher()
    hashed = {path: hasher.hash(value) for path, value in new.items() if not _fits(known.get(path), value)}
    return {**known, **hashed}


def write_password(session: Session, dn: str, stored: StoredResource, offer: Offer) -> None:
    """Set the password in what is to be written, or remove it. Raises ValueRefused."""
    password = stored.secrets.get(PASSWORD)
    if password is not None and not offer.sets_passwords:
        raise ValueRefused("password: the directory does not let clients set passwords (RFC 3062)")
    try:
        if password is not None:
            session.set_password(dn, password)
        elif PASSWORD in stored.removed_secrets:
            session.modify(dn, [(ldap.MOD_REPLACE, "userPassword", None)])
    except (ldap.CONSTRAINT_VIOLATION, ldap.INVALID_SYNTAX, ldap.UNWILLING_TO_PERFORM) as exc:
        raise ValueRefused(f"password: the directory refuses it: {sentence(exc)}") from exc


def _fits(known: str | None, value: str) -> bool:
    if known is None:
        return False
    try:
        return PasswordHasher().verify(known, value)
    except (VerificationError, InvalidHashError):
        return False
