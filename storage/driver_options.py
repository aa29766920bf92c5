"""Options behind the `?` of a database URL: from texts to the types that the drivers take."""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# More seconds the driver of MySQL does not take.
_YEAR_S: Final = 31_536_000
_TRUE: Final = ("1", "true", "yes", "on")

# The texts of libpq: https://www.postgresql.org/docs/current/libpq-connect.html
_LIBPQ_TEXTS: Final = frozenset(
    "application_name channel_binding dbname fallback_application_name gssdelegation gssencmode gsslib host "
    "hostaddr krbsrvname load_balance_hosts max_protocol_version min_protocol_version oauth_client_id "
    "oauth_client_secret oauth_issuer oauth_scope options passfile password port require_auth requirepeer "
    "scram_client_key scram_server_key service ssl_max_protocol_version ssl_min_protocol_version sslcert "
    "sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword "
    "sslrootcert sslsni target_session_attrs user".split()
)
_LIBPQ_NUMBERS: Final = frozenset(
    "connect_timeout keepalives keepalives_count keepalives_idle keepalives_interval tcp_user_timeout".split()
)
_SESSIONS: Final = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_PORTS: Final = re.compile(r"[0-9]{0,5}(,[0-9]{0,5})*")

_MYSQL_SECONDS: Final = ("connect_timeout", "read_timeout", "write_timeout")
_MYSQL_FILES: Final = ("ssl_ca", "ssl_cert", "ssl_key")


def postgresql_options(query: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of psycopg: the options of libpq, and `prepare_threshold`.

    Raises ValueError, which names the option and says nothing of the password.
    """
    options: dict[str, Any] = {}
    for key, value in query.items():
        if key == "client_encoding":
            # Fixed here: UTF-8.
            continue
        if key in _LIBPQ_NUMBERS:
            options[key] = _number(key, value)
        elif key == "prepare_threshold":
            options[key] = None if value.lower() == "none" else _number(key, value)
        elif key == "target_session_attrs" and value not in _SESSIONS:
            raise ValueError(f"has {key}={value[:20]}; it must be one of {', '.join(_SESSIONS)}")
        elif key == "port" and not _PORTS.fullmatch(value):
            raise ValueError(f"has {key}={value[:20]}; it must be a port number for each host")
        elif key in _LIBPQ_TEXTS:
            options[key] = value
        else:
            raise _unknown(key)
    return options


def mysql_options(query: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of PyMySQL. Raises ValueError as `postgresql_options` does."""
    options: dict[str, Any] = {}
    for key, value in query.items():
        if key in ("charset", "collation", "use_unicode", "autocommit"):
            # Fixed here: utf8mb4, compared by code points.
            continue
        if key in ("ssl_mode", "ssl-mode", "sslmode", "ssl"):
            options |= _tls(value)
        elif key in ("ssl_verify_cert", "ssl_verify_identity"):
            options[key] = value.lower() in _TRUE
        elif key in _MYSQL_SECONDS:
            if not value.isdecimal() or not 0 < int(value) <= _YEAR_S:
                raise ValueError(f"has {key}={value[:20]}; {key} must be seconds, 1 or more")
            options[key] = int(value)
        elif key in _MYSQL_FILES:
            if not Path(value).is_file():
                raise ValueError(f"has {key}={value}, which is not a file")
            options[key] = value
        elif key == "unix_socket":
            options[key] = value
        else:
            raise _unknown(key)
    return options


def _unknown(key: str) -> ValueError:
    if key == "autocommit":
        return ValueError("has the option autocommit: the server begins and ends its transactions itself")
    return ValueError(f"has the unknown option {key[:40]}")


def _number(key: str, value: str) -> int:
    # libpq reads an int of C.
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) >= 2**31:
        raise ValueError(f"has {key}={value[:20]}; {key} must be a whole number, 0 or more")
    return int(value)


def _tls(mode: str) -> dict[str, Any]:
    match mode.lower().replace("-", "_"):
        case "disabled" | "disable" | "false" | "0":
            return {"ssl_disabled": True}
        case "preferred" | "prefer":
            return {}
        case "required" | "require" | "true" | "1":
            # Encrypted whoever answers, as these words mean for every client of MySQL.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return {"ssl": context}
        case "verify_ca":
            return {"ssl_verify_cert": True}
        case "verify_identity" | "verify_full":
            return {"ssl_verify_cert": True, "ssl_verify_identity": True}
    raise ValueError("has an unknown ssl_mode")
