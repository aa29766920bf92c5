"""The settings of a server: the environment is read here, once, and nowhere else."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from storage.database_url import parse_database_url

LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
DEFAULT_API_KEY = "secret"

# What the product we replace also reads, for parts that this version does not have. Starting
# without them would look like success: events or data would go nowhere.
NOT_YET = {
    "LDAP_HOSTNAME": "the LDAP backend",
    "MONGO_DB": "the MongoDB backend",
    "JUMPCLOUD_URL": "the JumpCloud backend",
    "FORWARD_SCIM_URL": "the upstream SCIM backend",
    "SCIM_FORWARD_URL": "the upstream SCIM backend",
    "IRODS_HOST": "the iRODS backend",
    "SET_PUSH_URL": "event delivery",
    "SET_RECEIVERS": "event delivery",
}


class SettingsError(Exception):
    """The environment does not make a server; `problems` has a line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _text(value: str) -> str:
    return value


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def _port(value: str) -> int:
    number = int(value)
    if not 0 <= number <= 65535:
        raise ValueError("must be a port number")
    return number


def _log_level(value: str) -> str:
    if value.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return value.upper()


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


def _table(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w$ -]{0,47}", value, re.ASCII):
        raise ValueError("must be a name of letters, digits, _ $ - and spaces, of 48 characters at most")
    return value


def _paths(value: str) -> frozenset[str]:
    return frozenset(path.strip().lower() for path in value.split(",") if path.strip())


def _mapping(value: str) -> dict[str, str]:
    mapping = json.loads(value)
    if not isinstance(mapping, dict) or not all(isinstance(path, str) for path in mapping.values()):
        raise ValueError("must be a JSON object of attribute paths")
    return mapping


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        found = next((word for word in words if word.lower() == value.lower()), None)
        if found is None:
            raise ValueError(f"must be one of {', '.join(words)}")
        return found

    return read


def _setting(
    default: Any, read: Callable[[str], Any] = _text, *, name: str = "", also: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"read": read, "name": name, "also": also})


@dataclass(frozen=True)
class Settings:
    """Everything an operator may choose; README.md describes each by its environment variable.

    The name of a field in capitals is the name of its variable.
    """

    loglevel: str = _setting("INFO", _log_level)
    api_key: tuple[str, ...] = _setting((DEFAULT_API_KEY,), _api_keys)
    page_size: int = _setting(100, _positive)
    base_path: str = _setting("", _base_path)
    base_url: str = _setting("", _base_url)
    location_style: str = _setting("relative", _one_of("relative", "absolute"))
    schema_path: Path | None = _setting(None, _folder)
    data_path: Path = _setting(Path("data"), _folder)
    database_url: str = _setting("", _database_url)
    database_pool_size: int = _setting(10, _positive)
    indexed_attributes: frozenset[str] | None = _setting(None, _paths)
    user_model_name: str = _setting("Users", _table, also=("USER_model_name",))
    group_model_name: str = _setting("Groups", _table, also=("GROUP_model_name",))
    user_mapping: dict[str, str] | None = _setting(None, _mapping)
    group_mapping: dict[str, str] | None = _setting(None, _mapping)
    sqlite_synchronous: str = _setting("FULL", _one_of("FULL", "NORMAL"))
    profile: str = _setting("default", _one_of("default", "strict"))
    max_body_size: int = _setting(1024 * 1024, _positive)
    bulk_max_operations: int = _setting(1000, _positive)
    bulk_max_payload_size: int = _setting(1024 * 1024, _positive)
    cursor_timeout: int = _setting(3600, _positive)
    max_filter_length: int = _setting(8192, _positive)
    host: str = _setting("0.0.0.0")
    port: int = _setting(8000, _port)
    workers: int = _setting(2, _positive)
    threads: int = _setting(4, _positive)

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """Return the name of every environment variable that is read, other spellings included."""
        names: list[str] = []
        for entry in cls.__dataclass_fields__.values():
            names += [entry.name.upper(), *entry.metadata["also"]]
        return tuple(names)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from an environment. Raises SettingsError naming every problem.

        An empty variable counts as not set, but for API_KEY: an empty key must not open the door
        with the default one.
        """
        problems = [
            f"{name}: {part} is not part of this version"
            for name, part in NOT_YET.items()
            if environ.get(name)
        ]
        for name, off in (("ASYNC_REQUEST", "none"), ("SET_POLL_ENABLED", "false")):
            if environ.get(name, off).lower() != off:
                problems.append(f"{name}: only {off!r} is supported by this version")
        values: dict[str, Any] = {}
        for entry in cls.__dataclass_fields__.values():
            name, raw = _variable(environ, entry.name.upper(), entry.metadata["also"])
            if raw is None or (raw == "" and name != "API_KEY"):
                continue
            try:
                values[entry.name] = entry.metadata["read"](raw)
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
        settings = cls(**values)
        problems += settings.contradictions()
        if problems:
            raise SettingsError(problems)
        return settings

    def contradictions(self) -> list[str]:
        """Return what is wrong with the settings taken together, a line each."""
        problems = []
        if self.location_style == "absolute" and not self.base_url:
            problems.append("LOCATION_STYLE: absolute locations need BASE_URL")
        if self.user_model_name.lower() == self.group_model_name.lower():
            problems.append("USER_MODEL_NAME, GROUP_MODEL_NAME: must differ")
        return problems

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
        """The backend to use and its options (`storage.registry`)."""
        return "sql", {
            "url": self.database_url or f"sqlite:///{quote(str(self.data_path / 'scim.db'))}",
            "tables": self.table_names,
            "synchronous": self.sqlite_synchronous,
            "pool_size": self.database_pool_size,
            "indexed": self.indexed_attributes,
        }

    def shown(self) -> str:
        """Return the settings as JSON for the log, secrets left out."""
        return json.dumps(
            {
                name: str(value)
                for name, value in vars(self).items()
                if name not in ("api_key", "database_url") and value not in ("", None)
            }
        )


def _variable(environ: Mapping[str, str], name: str, also: tuple[str, ...]) -> tuple[str, str | None]:
    for spelling in (name, *also):
        if spelling in environ:
            return spelling, environ[spelling]
    return name, None
