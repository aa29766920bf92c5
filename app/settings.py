"""The settings of a server: the environment is read here, once, and nowhere else."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from app.publishing import make_publishing
from app.variables import Unusable, doubtful, file_variable, read_variable, without_passwords
from set_delivery.streams import DEFAULT_FEED, Feed, Publishing, feeds_from, receivers_from
from set_delivery.tokens import ALGORITHMS
from storage.database_url import parse_database_url

_LOG = logging.getLogger(__name__)

LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
# Other names that Python has for them; what has no level logs all there is.
_LEVELS_ALSO = {"FATAL": "CRITICAL", "WARN": "WARNING", "NOTSET": "DEBUG"}
DEFAULT_API_KEY = "secret"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
BROKER_SCHEMES = ("redis", "rediss", "amqp", "amqps")
# Where resources are when nothing says where.
EMBEDDED_STORE = "sqlite:///data/scim.db"


class SettingsError(Exception):
    """The environment does not make a server; `problems` has a line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _text(value: str) -> str:
    return value


def _whole(value: str, least: int, most: int, meant: str) -> int:
    """Return a whole number of that range. Raises ValueError saying what is `meant`."""
    # Other numerals than these ten, and `_` between them, are more likely to be a mistake.
    if not re.fullmatch(r"\s*\+?[0-9]{1,18}\s*", value) or not least <= int(value) <= most:
        raise ValueError(f"must be {meant}")
    return int(value)


def _positive(value: str) -> int:
    return _whole(value, 1, 10**18 - 1, "a whole number, 1 or more")


def _depth(value: str) -> int:
    # JSON nested more than 254 levels deep cannot be written, and some levels are of the server's own.
    return _whole(value, 10, 200, "a whole number from 10 to 200")


def _port(value: str) -> int:
    return _whole(value, 0, 65535, "a port number")


def _host(value: str) -> str:
    # The brackets of a URL are no part of an IPv6 address.
    host = re.sub(r"^\[(.*:.*)\]$", r"\1", value.strip())
    try:
        usable = bool(ip_address(host)) if ":" in host else re.fullmatch(r"[\w.\-]+", host)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be a name or an address such as 127.0.0.1 or ::1, without a port")
    return host


def _log_level(value: str) -> str:
    level = value.strip().upper()
    level = _LEVELS_ALSO.get(level, level)
    if level not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return level


def _base_path(value: str) -> str:
    path = "/" + value.strip("/")
    if not re.fullmatch(r"/[\w\-./~]*", path, re.ASCII) or ".." in path:
        raise ValueError("must be a path such as /api/v2")
    return "" if path == "/" else path


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://scim.example.com")
    return value.rstrip("/")


def _api_keys(value: str) -> tuple[str, ...]:
    # A key of the product we replace may contain a comma, so the whole is a key as well.
    keys = [key.strip() for key in value.split(",")]
    return tuple(dict.fromkeys(key for key in [*keys, value.strip()] if key))


def _folder(value: str) -> Path:
    return Path(value).expanduser()


def _database_url(value: str) -> str:
    parse_database_url(value)
    return value


def _mongo_url(value: str) -> str:
    if not re.match(r"mongodb(\+srv)?://[^/]", value):
        raise ValueError("must be a URL such as mongodb://user:password@host/database")
    return value


def _ldap_url(value: str) -> str:
    url = value if "://" in value else f"ldap://{value}"
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("ldap", "ldaps", "ldapi") and bool(parts.netloc) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path not in ("", "/"):
        raise ValueError("must be a host, host:port, or a URL such as ldaps://ldap.example.org")
    return url.rstrip("/")


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\s*([0-9]{1,4}(\.[0-9]*)?|\.[0-9]+)\s*", value) or not 0 < float(value) <= 3600:
        raise ValueError("must be a number of seconds, above 0 and up to 3600")
    return float(value)


def _flag(value: str) -> bool:
    word = value.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError("must be true or false")
    return word in _TRUE


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be a URL such as https://receiver.example.com/events")
    return value


def _broker_url(value: str) -> str:
    # Of several, separated by ;, the next is tried when one does not answer.
    for url in value.split(";"):
        parts = urlsplit(url)
        try:
            usable = parts.scheme in BROKER_SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            # Without saying what it is: there may be a password in it.
            raise ValueError("must be a URL such as redis://host:6379/0 or amqps://user:password@host/vhost")
    return value


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError as exc:
        raise ValueError(f"is not JSON: {exc}") from None


def _receivers(value: str) -> list[Any]:
    receivers = [dict(one) for one in receivers_from(_json(value))]
    for position, one in enumerate(receivers):
        try:
            _http_url(one["url"])
        except ValueError as exc:
            raise ValueError(f"[{position}].url: {exc}") from None
    return receivers


def _feeds(value: str) -> tuple[Feed, ...]:
    if value.lstrip().startswith(("[", "{")):
        return feeds_from(_json(value))
    return feeds_from([part.strip() for part in value.split(",") if part.strip()])


def _files(value: str) -> tuple[Path, ...]:
    return tuple(_folder(part.strip()) for part in value.split(",") if part.strip())


def _names(value: str) -> frozenset[str]:
    return frozenset(part.strip() for part in value.split(",") if part.strip())


def _table(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w$ -]{0,47}", value, re.ASCII):
        raise ValueError("must be a name of letters, digits, _ $ - and spaces, of 48 characters at most")
    return value


def _paths(value: str) -> frozenset[str]:
    return frozenset(path.strip().lower() for path in value.split(",") if path.strip())


def _mapping(value: str) -> dict[str, str]:
    mapping = _json(value)
    if not isinstance(mapping, dict) or not all(isinstance(path, str) for path in mapping.values()):
        raise ValueError("must be a JSON object of attribute paths")
    return mapping


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        found = next((word for word in words if word.lower() == value.strip().lower()), None)
        if found is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return found

    return read


def _setting(
    default: Any, read: Callable[[str], Any] = _text, *, also: tuple[str, ...] = (), secret: bool = False
) -> Any:
    return field(default=default, metadata={"read": read, "also": also, "secret": secret})


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything an operator may choose; README.md describes each by its environment variable.

    The name of a field in capitals is the name of its variable. What is marked as a secret is not
    shown, and may come from a file that the variable with `_FILE` behind its name names.
    """

    loglevel: str = _setting("INFO", _log_level)
    api_key: tuple[str, ...] = _setting((DEFAULT_API_KEY,), _api_keys, secret=True)
    page_size: int = _setting(100, _positive)
    base_path: str = _setting("", _base_path)
    base_url: str = _setting("", _base_url)
    location_style: str = _setting("relative", _one_of("relative", "absolute"))
    schema_path: Path | None = _setting(None, _folder)
    data_path: Path | None = _setting(None, _folder)
    database_url: str = _setting("", _database_url, secret=True)
    database_pool_size: int = _setting(10, _positive)
    indexed_attributes: frozenset[str] | None = _setting(None, _paths)
    mongo_db: str = _setting("", _mongo_url, secret=True)
    mongo_pool_size: int = _setting(10, _positive)
    ldap_hostname: str = _setting("", _ldap_url)
    ldap_basename: str = _setting("dc=example,dc=org")
    ldap_username: str = _setting("")
    ldap_password: str = _setting("", secret=True)
    ldap_start_tls: bool = _setting(False, _flag)
    ldap_ca_file: Path | None = _setting(None, _folder)
    ldap_pool_size: int = _setting(10, _positive)
    jumpcloud_url: str = _setting("", _base_url)
    jumpcloud_key: str = _setting("", secret=True)
    jumpcloud_org_id: str = _setting("")
    forward_scim_url: str = _setting("", _base_url, also=("SCIM_FORWARD_URL",))
    forward_scim_key: str = _setting("", also=("SCIM_FORWARD_KEY",), secret=True)
    irods_host: str = _setting("")
    irods_port: int = _setting(1247, _port)
    irods_zone: str = _setting("tempZone")
    irods_admin_username: str = _setting("rods")
    irods_admin_password: str = _setting("", secret=True)
    irods_authentication: str = _setting("native", _one_of("native", "pam"))
    irods_tls: bool = _setting(False, _flag)
    irods_ca_file: Path | None = _setting(None, _folder)
    state_database_url: str = _setting("", _database_url, secret=True)
    set_issuer: str = _setting("scim")
    set_audience: str = _setting("")
    # It may hold a password.
    set_push_url: str = _setting("", _http_url, secret=True)
    set_push_token: str = _setting("", secret=True)
    set_receivers: list[Any] | None = _setting(None, _receivers, secret=True)
    event_mode: str = _setting("notice", _one_of("notice", "full"))
    event_ignored_attributes: frozenset[str] = _setting(
        frozenset({"urn:mace:surf.nl:sram:scim:extension:User:sramInactiveDays"}), _names
    )
    set_signing_secret: str = _setting("", secret=True)
    set_signing_algorithm: str = _setting("HS256", _one_of(*ALGORITHMS))
    set_signing_key_files: tuple[Path, ...] = _setting((), _files)
    set_push_require_tls: bool = _setting(False, _flag)
    set_push_timeout: float = _setting(10.0, _seconds)
    set_feeds: tuple[Feed, ...] = _setting((Feed(DEFAULT_FEED, "Default"),), _feeds)
    set_feeds_enabled: bool = _setting(True, _flag)
    set_group_as_feed: bool = _setting(True, _flag)
    set_poll_enabled: bool = _setting(False, _flag)
    set_poll_max_events: int = _setting(10_000, _positive)
    set_poll_wait: float = _setting(5.0, _seconds)
    set_retention: int = _setting(30 * 86400, _positive)
    set_refused_after: int = _setting(86400, _positive)
    async_request: str = _setting("none", _one_of("none", "request", "long"))
    async_result_ttl: int = _setting(86400, _positive)
    celery_broker_url: str = _setting("", _broker_url, secret=True)
    embedded_worker: bool = _setting(True, _flag)
    remote_timeout: float = _setting(10.0, _seconds)
    remote_pool_size: int = _setting(10, _positive)
    user_model_name: str = _setting("Users", _table, also=("USER_model_name",))
    group_model_name: str = _setting("Groups", _table, also=("GROUP_model_name",))
    user_mapping: dict[str, str] | None = _setting(None, _mapping)
    group_mapping: dict[str, str] | None = _setting(None, _mapping)
    sqlite_synchronous: str = _setting("FULL", _one_of("FULL", "NORMAL"))
    unique_external_id: bool = _setting(True, _flag)
    profile: str = _setting("default", _one_of("default", "strict"))
    max_body_size: int = _setting(1024 * 1024, _positive)
    max_body_depth: int = _setting(100, _depth)
    bulk_max_operations: int = _setting(1000, _positive)
    bulk_max_payload_size: int = _setting(1024 * 1024, _positive)
    cursor_timeout: int = _setting(3600, _positive)
    max_filter_length: int = _setting(8192, _positive)
    host: str = _setting("0.0.0.0", _host)
    port: int = _setting(8000, _port)
    workers: int = _setting(2, _positive)
    threads: int = _setting(4, _positive)
    request_timeout: float = _setting(30.0, _seconds)
    keepalive_timeout: float = _setting(75.0, _seconds)
    max_connections: int = _setting(2000, _positive)

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """Return the name of every environment variable that is read, other spellings included."""
        names: list[str] = []
        for entry in cls.__dataclass_fields__.values():
            names += [entry.name.upper(), *entry.metadata["also"]]
        return tuple(names)

    @classmethod
    def file_variables(cls) -> tuple[str, ...]:
        """Return the name of every variable that names a file with a secret."""
        names: list[str] = []
        for entry in cls.__dataclass_fields__.values():
            if entry.metadata["secret"]:
                names += [file_variable(name) for name in (entry.name.upper(), *entry.metadata["also"])]
        return tuple(names)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from an environment. Raises SettingsError naming every problem.

        An empty variable counts as not set, but for API_KEY: an empty key must not open the door
        with the default one.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for entry in cls.__dataclass_fields__.values():
            name = entry.name.upper()
            try:
                name, raw = read_variable(
                    environ, (name, *entry.metadata["also"]), entry.metadata["secret"]
                )
                if raw is None or (raw == "" and name != "API_KEY"):
                    continue
                values[entry.name] = entry.metadata["read"](raw)
            except Unusable as exc:
                problems.append(str(exc))
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
        settings = cls(**values)
        problems += settings.contradictions()
        if settings.loglevel not in ("CRITICAL", "ERROR"):
            # Before problems end the start: a misspelt variable may be the reason of one.
            for line in doubtful(environ, (*cls.variables(), *cls.file_variables())):
                _LOG.warning("%s", line)
        if problems:
            raise SettingsError(problems)
        return settings

    def contradictions(self) -> list[str]:
        """Return what is wrong with the settings taken together, a line each."""
        problems = []
        if self.location_style == "absolute" and not self.base_url:
            problems.append("LOCATION_STYLE: absolute locations need BASE_URL")
        if self.jumpcloud_url and not self.jumpcloud_key:
            problems.append("JUMPCLOUD_KEY: is required with JUMPCLOUD_URL")
        if self.irods_host and self.irods_authentication == "pam" and not self.irods_tls:
            problems.append("IRODS_AUTHENTICATION: pam needs IRODS_TLS")
        if self.state_database_url and self.storage[0] == "sql":
            problems.append("STATE_DATABASE_URL: with DATABASE_URL, what is kept is kept there")
        if self.user_model_name.lower() == self.group_model_name.lower():
            problems.append("USER_MODEL_NAME, GROUP_MODEL_NAME: must differ")
        try:
            make_publishing(self)
        except ValueError as exc:
            problems += str(exc).splitlines()
        return problems

    @property
    def publishing(self) -> Publishing:
        """How events leave."""
        return make_publishing(self)

    @property
    def state_url(self) -> str:
        """The database for what must survive, where resources are not in a database themselves."""
        if self.state_database_url:
            return self.state_database_url
        folder = self.data_path if self.storage[0] == "files" else None
        return f"sqlite:///{quote(str(folder / '.state.db'))}" if folder else "sqlite:///data/state.db"

    @property
    def location_prefix(self) -> str:
        """What precedes the endpoint in every location: a path, or a URL when they are absolute."""
        return (self.base_url if self.location_style == "absolute" else "") + self.base_path

    @property
    def table_names(self) -> dict[str, str]:
        """The names of the tables that are not called as their endpoint, by resource type."""
        return {"User": self.user_model_name, "Group": self.group_model_name}

    @property
    def mappings(self) -> dict[str, dict[str, str]]:
        """Attributes that take their value from another one, by resource type."""
        return {"User": self.user_mapping or {}, "Group": self.group_mapping or {}}

    @property
    def storage(self) -> tuple[str, dict[str, Any]]:
        """The backend to use and its options (`storage.registry`): the first that has a setting."""
        if self.ldap_hostname:
            return "ldap", {
                "url": self.ldap_hostname,
                "base": self.ldap_basename,
                "username": self.ldap_username or f"cn=admin,{self.ldap_basename}",
                "password": self.ldap_password,
                "start_tls": self.ldap_start_tls,
                "ca_file": self.ldap_ca_file,
                "pool_size": self.ldap_pool_size,
                "units": self.table_names,
            }
        if self.mongo_db:
            return "mongo", {
                "url": self.mongo_db,
                "collections": self.table_names,
                "pool_size": self.mongo_pool_size,
                "indexed": self.indexed_attributes,
            }
        if self.database_url:
            return self._sql(self.database_url)
        return self._remote_storage or self._local_storage

    @property
    def _remote_storage(self) -> tuple[str, dict[str, Any]] | None:
        remote = {"timeout_s": self.remote_timeout, "pool_size": self.remote_pool_size}
        if self.jumpcloud_url:
            return "jumpcloud", {
                **remote,
                "url": self.jumpcloud_url,
                "key": self.jumpcloud_key,
                "organisation": self.jumpcloud_org_id,
            }
        if self.forward_scim_url:
            key = self.forward_scim_key or next(iter(self.api_key), "")
            return "forward", {**remote, "url": self.forward_scim_url, "key": key}
        if self.irods_host:
            return "irods", {
                **remote,
                "host": self.irods_host,
                "port": self.irods_port,
                "zone": self.irods_zone,
                "username": self.irods_admin_username,
                "password": self.irods_admin_password,
                "authentication": self.irods_authentication,
                "tls": self.irods_tls,
                "ca_file": self.irods_ca_file,
            }
        return None

    @property
    def _local_storage(self) -> tuple[str, dict[str, Any]]:
        if self.data_path:
            return "files", {
                "path": self.data_path,
                "folders": self.table_names,
                "indexed": self.indexed_attributes,
                "synchronous": self.sqlite_synchronous,
            }
        return self._sql(EMBEDDED_STORE)

    def _sql(self, url: str) -> tuple[str, dict[str, Any]]:
        return "sql", {
            "url": url,
            "tables": self.table_names,
            "synchronous": self.sqlite_synchronous,
            "pool_size": self.database_pool_size,
            "indexed": self.indexed_attributes,
        }

    def __repr__(self) -> str:
        return f"Settings({self.shown()})"

    def shown(self) -> str:
        """Return the settings as JSON for the log: without secrets, nor passwords in URLs."""
        return json.dumps(
            {
                name: without_passwords(str(value))
                for name, value in vars(self).items()
                if not self.__dataclass_fields__[name].metadata["secret"] and value not in ("", None)
            }
        )
