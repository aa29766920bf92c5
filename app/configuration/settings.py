"""The settings of a server: the environment is read here, once, and nowhere else."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from app.configuration.groups import (
    AccessSettings,
    AsynchronousSettings,
    ChangeLogSettings,
    DatabaseSettings,
    EventSettings,
    FileSettings,
    ForwardSettings,
    IrodsSettings,
    JumpcloudSettings,
    LdapSettings,
    LogSettings,
    MongoSettings,
    RemoteSettings,
    RequestSettings,
    WebServerSettings,
    WorkerSettings,
)
from app.configuration.publishing import make_publishing
from app.configuration.types import as_text
from app.configuration.variables import Unusable, doubtful, file_variable, read_variable, without_passwords
from set_delivery.streams import Publishing

_LOG = logging.getLogger(__name__)

# Where resources are when nothing says where.
EMBEDDED_STORE = "sqlite:///data/scim.db"


class SettingsError(Exception):
    """The environment does not make a server; `problems` has a line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Declared:
    """What is declared field by field, and how it is shown. A field that is a secret is never shown."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown()})"

    def shown(self) -> str:
        """Return the settings as JSON for the log: without secrets, nor passwords in URLs."""
        return json.dumps(
            {
                name: without_passwords(as_text(value))
                for name, value in vars(self).items()
                if not self.__dataclass_fields__[name].metadata["secret"] and value not in ("", None, ())
            }
        )


@dataclass(frozen=True, repr=False)
class ServerSettings(WorkerSettings, WebServerSettings, LogSettings, _Declared):
    """The settings of a process, however many bases it serves."""


@dataclass(frozen=True, repr=False)
class BaseSettings(
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    RemoteSettings,
    FileSettings,
    IrodsSettings,
    ForwardSettings,
    JumpcloudSettings,
    DatabaseSettings,
    MongoSettings,
    LdapSettings,
    RequestSettings,
    AccessSettings,
    _Declared,
):
    """The settings of one base. `open_base` and everything that it calls know no other settings."""

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
            problems.append("STATE_DATABASE_URL: must be unset: DATABASE_URL is the state database too")
        if self.user_model_name.lower() == self.group_model_name.lower():
            problems.append("USER_MODEL_NAME, GROUP_MODEL_NAME: must differ")
        try:
            make_publishing(self)
        except ValueError as exc:
            problems += str(exc).splitlines()
        return problems

    @property
    def publishing(self) -> Publishing:
        """How events leave. Raises SettingsError: a file with a key may have changed since the start."""
        try:
            return make_publishing(self)
        except ValueError as exc:
            raise SettingsError(str(exc).splitlines()) from exc

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


@dataclass(frozen=True, repr=False)
class Settings(BaseSettings, ServerSettings):
    """Everything an operator may choose; docs/reference/settings.md is made from the declarations.

    The name of a field in capitals is the name of its variable. A secret may come from a file that the
    variable with `_FILE` behind its name names.
    """

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
