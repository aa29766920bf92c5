"""DATABASE_URL: which database, and how to reach it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from storage.driver_options import mysql_options, postgresql_options

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
# A host, or an IPv6 address in brackets, and its port.
_HOST: Final = re.compile(r"(\[[^][]*\]|[^][:]*)(?::([0-9]{0,5}))?")


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
        hosts = str(self.options.get("unix_socket") or self.options.get("host", "localhost")).split(",")
        ports = str(self.options.get("port") or _PORTS[self.dialect]).split(",")
        # One port is for all hosts.
        ports = ports * len(hosts) if len(ports) == 1 else ports
        shown = (f"{host}:{port or _PORTS[self.dialect]}" for host, port in zip(hosts, ports, strict=False))
        return f"{self.dialect}://{','.join(shown)}/{self.name}"


def parse_database_url(text: str) -> DatabaseUrl:
    """Return the database that `text` names, such as `postgresql://user:password@host/name`.

    PostgreSQL takes several hosts, as libpq does: `postgresql://user@one:5432,two:5433/name`.
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
        hosts, ports = _hosts(parts.netloc.rpartition("@")[2])
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as exc:
        # urllib quotes what it cannot read, which may be a part of the password.
        raise ValueError(
            "cannot be read: characters such as / ? # @ : in user or password must be written as %XX, "
            "the port is a number, and options are written as name=value"
        ) from exc
    name = query.pop("dbname", "") or unquote(parts.path.lstrip("/"))
    if not name:
        raise ValueError("must name a database, as in postgresql://user:password@host/name")
    if len(hosts) > 1 and dialect == "mysql":
        raise ValueError("names several hosts, of which only PostgreSQL takes more than one")
    options: dict[str, Any] = {"host": ",".join(hosts) or query.pop("host", "") or "localhost"}
    options |= {"port": ports[0] if len(ports) == 1 else ",".join(map(str, ports))} if any(ports) else {}
    options |= {"user": unquote(parts.username)} if parts.username else {}
    options |= {"password": unquote(parts.password)} if parts.password else {}
    typed = mysql_options(query) if dialect == "mysql" else postgresql_options(query)
    return DatabaseUrl(dialect, name, options | typed)


def _hosts(text: str) -> tuple[list[str], list[int | str]]:
    """Return the hosts of a URL, none where it names none, and the port of each, empty for the usual one.

    Raises ValueError.
    """
    hosts: list[str] = []
    ports: list[int | str] = []
    for one in text.split(",") if text else ():
        match = _HOST.fullmatch(one)
        if match is None or int(match[2] or 0) > 65535:
            raise ValueError("a host or a port cannot be read")
        hosts.append(unquote(match[1].strip("[]")))
        ports.append(int(match[2]) if match[2] else "")
    return hosts, ports


def _sqlite(text: str) -> DatabaseUrl:
    # Options but mode=ro are those of other drivers.
    path, _, query = text.partition("://")[2].partition("?")
    if not path.startswith("/") or len(path) < 2 or path == "/:memory:":
        raise ValueError("must name a file: sqlite:///relative.db or sqlite:////absolute.db")
    options = {"mode": "ro"} if dict(parse_qsl(query)).get("mode") == "ro" else {}
    return DatabaseUrl("sqlite", str(Path(unquote(path[1:])).expanduser()), options)
