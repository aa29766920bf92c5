"""Names of accounts: what iRODS can hold, made from what SCIM may hold.

Users and groups share one namespace of 63 characters out of letters, digits and `_.@-`. An account
cannot be renamed: it keeps the name it was made with.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator
from typing import Final

_LONGEST: Final = 63
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]{1,63}", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9_.@-]+", re.ASCII)
_DIGITS: Final = 16
_MARKED = re.compile(rf".*\.[0-9a-f]{{{_DIGITS}}}", re.ASCII)
# How often another name is tried where one is taken by somebody else.
_ATTEMPTS: Final = 10

# Accounts that every zone has for its own purposes.
SYSTEM_NAMES: Final = frozenset({"public", "rodsadmin", "anonymous"})


def is_plain(name: str) -> bool:
    """Return whether iRODS holds this as a name."""
    return _PLAIN.fullmatch(name) is not None and name not in (".", "..")


def names_of_user(key: str) -> Iterator[str]:
    """Yield the names to try for the user with this comparison key, always the same ones in the same order.

    The first is the key itself, or if iRODS cannot hold that, what is left of it with a digest: two
    keys never lead to the same first name.
    """
    # A key that looks like one with a digest could be the first name of another.
    if is_plain(key) and not _MARKED.fullmatch(key):
        yield key
    for number in range(_ATTEMPTS):
        yield _marked(key, hashlib.sha256(f"{number}:{key}".encode()).hexdigest())


def names_of_group(display_name: str) -> Iterator[str]:
    """Yield the names to try for a group; any number of groups may have one displayName."""
    if is_plain(display_name):
        yield display_name
    for _ in range(_ATTEMPTS):
        yield _marked(display_name, secrets.token_hex(_DIGITS))


def _marked(text: str, digits: str) -> str:
    readable = _OTHER.sub("_", text)[: _LONGEST - 1 - _DIGITS].strip("._")
    return f"{readable or 'x'}.{digits[:_DIGITS]}"
