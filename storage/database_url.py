"""DATABASE_URL: which database, and how to reach it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

# What comes before "://", and what may stand behind a "+", to the dialect that is meant. The
# drivers are ours to choose: a URL written for another one keeps working.
SCHEMES: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PORTS: Final = {"postgresql": 5432, "mysql": 3306}

# The options that the MySQL driver takes from a URL; those of PostgreSQL are libpq's own.
_SECONDS: Final = ("connect_timeout", "read_timeout", "write_timeout")
_FILES: Final = ("ssl_ca", "ssl_cert", "ssl_key")
# More seconds the driver does not take.
_YEAR_S: Final = 31_536_000
_TRUE: Final = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class DatabaseUrl:
    """A database: its dialect (`sqlite`, `postgresql` or `mysql`) and what its driver is told.

    `name` is the database, or the file of an SQLite database; `options` are arguments of the driver.
    """

    dialect: str
    name: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """The database without credentials, for messages."""
        if self.dialect == "sqlite":
            return self.name
        host = self.options.get("unix_socket") or self.options.get("host", "localhost")
        return f"{self.dialect}://{host}:{self.options.get('port', _PORTS[self.dialect])}/{self.name}"


def parse_database_url(text: str) -> DatabaseUrl:
    """Return the database that `text` names, such as `postgresql://user:password@host/name`.

    Also `postgres://`, `mysql://`, `mariadb://`, `sqlite:///relative` and `sqlite:////absolute`,
    with or without a driver as in `mysql+pymysql://`. Raises ValueError, which says nothing of
    the password.
    """
    # Secrets that come from files end in a line break.
    text = text.strip()
    scheme, separator, _ = text.partition("://")
    dialect = SCHEMES.get(scheme.split("+")[0].lower()) if separator else None
    if dialect is None:
        raise ValueError(f"must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    if dialect == "sqlite":
        return _sqlite(text)
    try:
        parts = urlsplit(text)
        port = parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as exc:
        # urllib quotes what it cannot read, which may be a part of the password.
        raise ValueError(
            "cannot be read: characters such as / ? # @ : in user or password must be written as %XX, "
            "the port is a number, and options are written as name=value"
        ) from exc
    name = unquote(parts.path.lstrip("/")) or query.pop("dbname", "")
    if not name:
        raise ValueError("must name a database, as in postgresql://user:password@host/name")
    options: dict[str, Any] = {"host": unquote(parts.hostname or query.pop("host", "")) or "localhost"}
    options |= {"port": port} if port else {}
    options |= {"user": unquote(parts.username)} if parts.username else {}
    options |= {"password": unquote(parts.password)} if parts.password else {}
    return DatabaseUrl(dialect, name, options | (_mysql_options(query) if dialect == "mysql" else query))


def _sqlite(text: str) -> DatabaseUrl:
    # Options but mode=ro are those of other drivers.
    path, _, query = text.partition("://")[2].partition("?")
    if not path.startswith("/") or len(path) < 2 or path == "/:memory:":
        raise ValueError("must name a file: sqlite:///relative.db or sqlite:////absolute.db")
    options = {"mode": "ro"} if dict(parse_qsl(query)).get("mode") == "ro" else {}
    return DatabaseUrl("sqlite", str(Path(unquote(path[1:])).expanduser()), options)


def _mysql_options(query: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key, value in query.items():
        if key in ("charset", "collation", "use_unicode", "autocommit"):
            # Fixed here: utf8mb4, compared by code points.
            continue
        if key in ("ssl_mode", "ssl-mode", "sslmode", "ssl"):
            options |= _tls(value)
        elif key in ("ssl_verify_cert", "ssl_verify_identity"):
            options[key] = value.lower() in _TRUE
        elif key in _SECONDS:
            if not value.isdecimal() or not 0 < int(value) <= _YEAR_S:
                raise ValueError(f"has {key}={value[:20]}; {key} must be seconds, 1 or more")
            options[key] = int(value)
        elif key in _FILES:
            if not Path(value).is_file():
                raise ValueError(f"has {key}={value}, which is not a file")
            options[key] = value
        elif key == "unix_socket":
            options[key] = value
        else:
            raise ValueError(f"has the unknown option {key}")
    return options


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
