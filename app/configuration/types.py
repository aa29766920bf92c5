"""From the text of a setting of the server to its value, as in `storage.option_types`."""

import json
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from set_delivery.streams import Feed
from storage.option_types import folder, whole

_LOG_LEVELS: Final = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
# Other names that Python has for them; what has no level logs all there is.
_LEVELS_ALSO: Final = {"FATAL": "CRITICAL", "WARN": "WARNING", "NOTSET": "DEBUG"}
_SECRET_KEY_LENGTH: Final = 32
_BROKER_SCHEMES: Final = ("redis", "rediss", "amqp", "amqps")


def depth(value: str) -> int:
    """a whole number from 10 to 200"""
    # JSON nested more than 254 levels deep cannot be written, and some levels are of the server's own.
    return whole(value, 10, 200, "a whole number from 10 to 200")


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


def secret_keys(value: str) -> tuple[str, ...]:
    """keys of 32 characters or more, separated by commas"""
    keys = tuple(dict.fromkeys(key.strip() for key in value.split(",") if key.strip()))
    if any(len(key) < _SECRET_KEY_LENGTH for key in keys):
        # The key itself must not be in the log.
        raise ValueError(f"each key must have {_SECRET_KEY_LENGTH} characters or more")
    return keys


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


def mapping(value: str) -> dict[str, str]:
    """a JSON object; each key and each value is an attribute path"""
    mapping = json_value(value)
    if not isinstance(mapping, dict) or not all(isinstance(path, str) for path in mapping.values()):
        raise ValueError("must be a JSON object of attribute paths")
    return mapping


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
