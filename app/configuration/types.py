"""From the text of a setting to its value: functions that raise ValueError for a text that will not do.

The docstring of each says which texts it reads, as docs/reference/settings.md has it.
"""

import json
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from set_delivery.streams import Feed
from storage.database_url import parse_database_url

_LOG_LEVELS: Final = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
# Other names that Python has for them; what has no level logs all there is.
_LEVELS_ALSO: Final = {"FATAL": "CRITICAL", "WARN": "WARNING", "NOTSET": "DEBUG"}
_TRUE: Final = ("true", "1", "yes", "on")
_FALSE: Final = ("false", "0", "no", "off")
_SECRET_KEY_LENGTH: Final = 32
_BROKER_SCHEMES: Final = ("redis", "rediss", "amqp", "amqps")


def text(value: str) -> str:
    """text"""
    return value


def _whole(value: str, least: int, most: int, meant: str) -> int:
    """Return a whole number of that range. Raises ValueError saying what is `meant`."""
    # Other numerals than these ten, and `_` between them, are more likely to be a mistake.
    if not re.fullmatch(r"\s*\+?[0-9]{1,18}\s*", value) or not least <= int(value) <= most:
        raise ValueError(f"must be {meant}")
    return int(value)


def positive(value: str) -> int:
    """a whole number, 1 or more"""
    return _whole(value, 1, 10**18 - 1, "a whole number, 1 or more")


def depth(value: str) -> int:
    """a whole number from 10 to 200"""
    # JSON nested more than 254 levels deep cannot be written, and some levels are of the server's own.
    return _whole(value, 10, 200, "a whole number from 10 to 200")


def port(value: str) -> int:
    """a port number, 0 to 65535"""
    return _whole(value, 0, 65535, "a port number")


def host(value: str) -> str:
    """a name or an address such as `127.0.0.1` or `::1`, without a port"""
    # The brackets of a URL are no part of an IPv6 address.
    name = re.sub(r"^\[(.*:.*)\]$", r"\1", value.strip())
    try:
        usable = bool(ip_address(name)) if ":" in name else re.fullmatch(r"[\w.\-]+", name)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be a name or an address such as 127.0.0.1 or ::1, without a port")
    return name


def log_level(value: str) -> str:
    """`CRITICAL` (or `FATAL`), `ERROR`, `WARNING` (or `WARN`), `INFO`, `DEBUG` (or `NOTSET`), in any case"""
    level = value.strip().upper()
    level = _LEVELS_ALSO.get(level, level)
    if level not in _LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(_LOG_LEVELS)}")
    return level


def base_path(value: str) -> str:
    """a path such as `/api/v2`"""
    path = "/" + value.strip("/")
    if not re.fullmatch(r"/[\w\-./~]*", path, re.ASCII) or ".." in path:
        raise ValueError("must be a path such as /api/v2")
    return "" if path == "/" else path


def base_url(value: str) -> str:
    """a URL with the scheme `http` or `https`, without a query"""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://scim.example.com")
    return value.rstrip("/")


def api_keys(value: str) -> tuple[str, ...]:
    """text; several keys are separated by commas"""
    # A key of HarryKodden/scim may contain a comma, so the whole is a key as well.
    keys = [key.strip() for key in value.split(",")]
    return tuple(dict.fromkeys(key for key in [*keys, value.strip()] if key))


def secret_keys(value: str) -> tuple[str, ...]:
    """keys of 32 characters or more, separated by commas"""
    keys = tuple(dict.fromkeys(key.strip() for key in value.split(",") if key.strip()))
    if any(len(key) < _SECRET_KEY_LENGTH for key in keys):
        # The key itself must not be in the log.
        raise ValueError(f"each key must have {_SECRET_KEY_LENGTH} characters or more")
    return keys


def folder(value: str) -> Path:
    """a path; `~` is the home folder"""
    return Path(value).expanduser()


def database_url(value: str) -> str:
    """a URL that begins with `sqlite://`, `postgresql://`, `postgres://`, `mysql://` or `mariadb://`"""
    parse_database_url(value)
    return value


def mongo_url(value: str) -> str:
    """a URL that begins with `mongodb://` or `mongodb+srv://`"""
    if not re.match(r"mongodb(\+srv)?://[^/]", value):
        raise ValueError("must be a URL such as mongodb://user:password@host/database")
    return value


def ldap_url(value: str) -> str:
    """a host, `host:port`, or a URL that begins with `ldap://`, `ldaps://` or `ldapi://`"""
    url = value if "://" in value else f"ldap://{value}"
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("ldap", "ldaps", "ldapi") and bool(parts.netloc) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path not in ("", "/"):
        raise ValueError("must be a host, host:port, or a URL such as ldaps://ldap.example.org")
    return url.rstrip("/")


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


def _names_host(url: str, schemes: Sequence[str]) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def http_url(value: str) -> str:
    """a URL that begins with `http://` or `https://`"""
    if not _names_host(value, ("http", "https")):
        raise ValueError("must be a URL such as https://receiver.example.com/events")
    return value


def broker_url(value: str) -> str:
    """URLs that begin with `redis://`, `rediss://`, `amqp://` or `amqps://`, separated by `;`"""
    # Of several, separated by ;, the next is tried when one does not answer.
    for url in value.split(";"):
        if not _names_host(url, _BROKER_SCHEMES):
            # Without saying what it is: there may be a password in it.
            raise ValueError("must be a URL such as redis://host:6379/0 or amqps://user:password@host/vhost")
    return value


def json_value(value: str) -> Any:
    """JSON"""
    try:
        return json.loads(value)
    except json.JSONDecodeError as exc:
        raise ValueError(f"is not JSON: {exc}") from None


def files(value: str) -> tuple[Path, ...]:
    """paths separated by commas"""
    return tuple(folder(part.strip()) for part in value.split(",") if part.strip())


def names(value: str) -> frozenset[str]:
    """names separated by commas"""
    return frozenset(part.strip() for part in value.split(",") if part.strip())


def table(value: str) -> str:
    """a name of letters, digits, `_`, `$`, `-` and spaces, of 48 characters at most"""
    if not re.fullmatch(r"[A-Za-z_][\w$ -]{0,47}", value, re.ASCII):
        raise ValueError("must be a name of letters, digits, _ $ - and spaces, of 48 characters at most")
    return value


def paths(value: str) -> frozenset[str]:
    """attribute paths separated by commas, in any case"""
    return frozenset(path.strip().lower() for path in value.split(",") if path.strip())


def mapping(value: str) -> dict[str, str]:
    """a JSON object; each key and each value is an attribute path"""
    mapping = json_value(value)
    if not isinstance(mapping, dict) or not all(isinstance(path, str) for path in mapping.values()):
        raise ValueError("must be a JSON object of attribute paths")
    return mapping


def one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        found = next((word for word in words if word.lower() == value.strip().lower()), None)
        if found is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return found

    *others, last = [f"`{word}`" for word in words]
    read.__doc__ = f"{', '.join(others)} or {last}, in any case"
    return read


def as_text(value: Any) -> str:
    """Return the text that a variable has for a value; "" for an unset one."""
    match value:
        case None | "" | ():
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case Feed():
            return value.id
        case frozenset():
            return ",".join(sorted(value))
        case tuple():
            return ",".join(map(as_text, value))
    return str(value)
