"""From the text of a setting of the server to its value, as in `storage.option_types`."""

import json
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from app.auth.limits import rate_text
from app.auth.token_text import is_token
from app.protocol.deprovisioning import DeprovisionLimit
from app.protocol.profiles import profile_text
from set_delivery.collectors import SYSLOG_PORTS
from set_delivery.streams import Feed
from storage.option_types import folder, whole

_LOG_LEVELS: Final = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
# Other names that Python has for them; what has no level logs all there is.
_LEVELS_ALSO: Final = {"FATAL": "CRITICAL", "WARN": "WARNING", "NOTSET": "DEBUG"}
_SECRET_KEY_LENGTH: Final = 32
_TOKEN_LENGTH: Final = 16
_BROKER_SCHEMES: Final = ("redis", "rediss", "amqp", "amqps")


def depth(value: str) -> int:
    """a whole number from 10 to 200"""
    # JSON nested more than 254 levels deep cannot be written, and some levels are of the server's own.
    return whole(value, 10, 200, "a whole number from 10 to 200")


def milliseconds(value: str) -> int:
    """a whole number of milliseconds, 0 or more"""
    return whole(value, 0, 10**9, "a whole number of milliseconds, 0 or more")


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


def profile(value: str) -> str:
    """the name of a [profile](profiles.md), and after commas switches such as `-json-strings`"""
    return profile_text(value)


def token(value: str) -> str:
    """a token that `scim token generate` has printed"""
    if not is_token(value.strip()):
        # The token itself must not be in the log.
        raise ValueError("must be a token that scim token generate has printed")
    return value.strip()


def number(value: str) -> int:
    """a whole number, 0 or more"""
    return whole(value, 0, 10**18 - 1, "a whole number, 0 or more")


def deprovision_limit(value: str) -> str:
    """a number such as `50`, or a share of the resources such as `5%`"""
    return str(DeprovisionLimit.read(value))


def rate(value: str) -> str:
    """a number of requests per second, minute or hour: `25/s`, `600/m`, `10000/h`"""
    return rate_text(value)


def rate_or_off(value: str) -> str:
    """a number of requests per second, minute or hour, such as `300/m`, or `off`"""
    return "" if value.strip().lower() == "off" else rate_text(value)


def counter_url(value: str) -> str:
    """a URL with the scheme `redis` or `rediss`"""
    if urlsplit(value).scheme not in ("redis", "rediss"):
        # The value may hold a password.
        raise ValueError("must be a URL with the scheme redis or rediss")
    return value


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


def count(value: str) -> int:
    """a whole number from 0 to 100"""
    return whole(value, 0, 100, "a whole number from 0 to 100")


def long_token(value: str) -> str:
    """16 printable ASCII characters or more, without spaces"""
    if len(value) < _TOKEN_LENGTH or not (value.isascii() and value.isprintable()) or " " in value:
        # The token itself must not be in the log.
        raise ValueError(f"must have {_TOKEN_LENGTH} printable ASCII characters or more, and no spaces")
    return value


def collector_url(value: str) -> str:
    """a URL that begins with `https://`, `http://`, `syslog+tls://` or `syslog+tcp://`"""
    if not _names_host(value, ("http", "https", *SYSLOG_PORTS)):
        # Without saying what it is: there may be a password in it.
        raise ValueError("must be a URL such as https://host/audit, syslog+tls://host or syslog+tcp://host")
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
