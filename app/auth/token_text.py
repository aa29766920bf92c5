"""The text of a named token: random, and recognisable for programs that look for leaked secrets.

    scim_ + 40 characters of [0-9A-Za-z] + their CRC-32 in 6 of these characters

The random part has 238 bits. The checksum tells a token from a text that only looks like one, without
asking the state database.
"""

import hashlib
import re
import secrets
import zlib
from typing import Final

PREFIX: Final = "scim_"
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM: Final = 40
_CHECKSUM: Final = 6
_FORM: Final = re.compile(f"{PREFIX}([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECKSUM}}})")


def new_token() -> str:
    """Return a new token."""
    text = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM))
    return f"{PREFIX}{text}{_checksum(text)}"


def is_token(text: str) -> bool:
    """Return whether a text has the form of a token, its checksum included."""
    found = _FORM.fullmatch(text)
    return found is not None and _checksum(found[1]) == found[2]


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal digits: the only form in which it is stored.

    A random text of this length cannot be found by trying, so that a slow hash would add nothing.
    """
    return hashlib.sha256(token.encode("latin-1")).hexdigest()


def _checksum(text: str) -> str:
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        rest, digit = divmod(rest, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
