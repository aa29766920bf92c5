"""From the text of a setting to its value: functions that raise ValueError for a text that will not do.

The docstring of each says which texts it reads, as docs/reference/settings.md has it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from storage.database_url import parse_database_url

_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")
_CONTROL: Final = "has a line break or another control character, which no header can have"


def text(value: str) -> str:
    """text"""
    return value


def whole(value: str, least: int, most: int, meant: str) -> int:
    """Return a whole number of that range. Raises ValueError saying what is `meant`."""
    # Other numerals than these ten, and `_` between them, are more likely to be a mistake.
    if not re.fullmatch(r"\s*\+?[0-9]{1,18}\s*", value) or not least <= int(value) <= most:
        raise ValueError(f"must be {meant}")
    return int(value)


def positive(value: str) -> int:
    """a whole number, 1 or more"""
    return whole(value, 1, 10**18 - 1, "a whole number, 1 or more")


def hash_memory(value: str) -> int:
    """a whole number from 1 to 4096"""
    return whole(value, 1, 4096, "a whole number from 1 to 4096")


def hash_time(value: str) -> int:
    """a whole number from 1 to 100"""
    return whole(value, 1, 100, "a whole number from 1 to 100")


def hash_parallelism(value: str) -> int:
    """a whole number from 1 to 64"""
    return whole(value, 1, 64, "a whole number from 1 to 64")


def port(value: str) -> int:
    """a port number, 0 to 65535"""
    return whole(value, 0, 65535, "a port number")


def base_url(value: str) -> str:
    """a URL with the scheme `http` or `https`, without a query"""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://scim.example.com")
    return value.rstrip("/")


def api_keys(value: str) -> tuple[str, ...]:
    """text; several keys are separated by commas"""
    keys = [key.strip() for key in value.split(",")]
    if any(map(_has_control, keys)):
        # The key itself must not be in the log.
        raise ValueError(f"a key {_CONTROL}; several keys are separated by commas")
    # A key of HarryKodden/scim may contain a comma, so the whole is a key as well.
    whole_key = "" if _has_control(value.strip()) else value.strip()
    return tuple(dict.fromkeys(key for key in [*keys, whole_key] if key))


def header_text(value: str) -> str:
    """characters of Latin-1 without control characters"""
    # White space around it is not sent.
    if _has_control(value.strip()):
        # The text itself must not be in the log.
        raise ValueError(_CONTROL)
    if any(ord(one) > 255 for one in value):
        raise ValueError("has a character beyond Latin-1, which no header can have")
    return value


def printable(value: str) -> str:
    """printable ASCII characters"""
    if not (value.isascii() and value.isprintable()):
        raise ValueError(_CONTROL if _has_control(value) else "must be printable ASCII")
    return value


def _has_control(text: str) -> bool:
    """Return whether a text has a control character that a header cannot have; it can have a tab."""
    return any((ord(one) < 32 and one != "\t") or ord(one) == 127 for one in text)


def folder(value: str) -> Path:
    """a path; `~` is the home folder"""
    return Path(value).expanduser()


def database_url(value: str) -> str:
    """a URL that begins with `sqlite://`, `postgresql://`, `postgres://`, `mysql://` or `mariadb://`"""
    parse_database_url(value)
    return value


def seconds(value: str) -> float:
    """a number of seconds, above 0 and up to 3600; a fraction is allowed"""
    if not re.fullmatch(r"\s*([0-9]{1,4}(\.[0-9]*)?|\.[0-9]+)\s*", value) or not 0 < float(value) <= 3600:
        raise ValueError("must be a number of seconds, above 0 and up to 3600")
    return float(value)


def flag(value: str) -> bool:
    """`true` or `false`"""
    word = value.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError("must be true or false")
    return word in _TRUE


def table(value: str) -> str:
    """a name of letters, digits, `_`, `$`, `-` and spaces, of 48 characters at most"""
    if not re.fullmatch(r"[A-Za-z_][\w$ -]{0,47}", value, re.ASCII):
        raise ValueError("must be a name of letters, digits, _ $ - and spaces, of 48 characters at most")
    return value


def paths(value: str) -> frozenset[str]:
    """attribute paths, `default` and `*`, separated by commas, in any case"""
    return frozenset(path.strip().lower() for path in value.split(",") if path.strip())


def one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        found = next((word for word in words if word.lower() == value.strip().lower()), None)
        if found is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return found

    *others, last = [f"`{word}`" for word in words]
    read.__doc__ = f"{', '.join(others)} or {last}, in any case"
    return read
