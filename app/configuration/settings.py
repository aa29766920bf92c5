"""The settings of a server: the environment is read here, once, and nowhere else."""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field
from typing import Any, Final

from app.configuration import declared
from app.configuration.groups import (
    AccessSettings,
    AccessTokenSettings,
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    LogSettings,
    MetricsSettings,
    PasswordSettings,
    RemoteSettings,
    RequestSettings,
    SlowSearchSettings,
    StateSettings,
    StorageSettings,
    WebServerSettings,
    WorkerSettings,
)
from app.configuration.publishing import make_publishing
from app.configuration.variables import doubtful
from app.protocol.profiles import Locations, profile_of
from set_delivery.streams import Publishing
from storage.options import StorageOptions
from storage.registry import NotInstalled, options_of, own_backends

_LOG = logging.getLogger(__name__)

# The backend when nothing chooses one.
_DEFAULT_BACKEND: Final = "sql"


class SettingsError(Exception):
    """The environment does not make a server; `problems` has a line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Declared:
    """Settings that are declared field by field. A field that is a secret is never shown."""

    @classmethod
    def declarations(cls) -> Mapping[str, Field[Any]]:
        """Return the declaration of every setting, by the name of its field."""
        return declared.declarations(cls)

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """Return the name of every environment variable that is read, other spellings included."""
        return declared.variables(cls.declarations().values())

    @classmethod
    def file_variables(cls) -> tuple[str, ...]:
        """Return the name of every variable that names a file with a secret."""
        return declared.file_variables(cls.declarations().values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown()})"

    def shown(self) -> str:
        """Return the settings as JSON for the log: without secrets, nor passwords in URLs."""
        return declared.shown(self)


def _own_defaults() -> dict[str, StorageOptions]:
    return {name: kind() for name, kind in own_backends().items()}


@dataclass(frozen=True, repr=False)
class ServerSettings(WorkerSettings, WebServerSettings, LogSettings, MetricsSettings, _Declared):
    """The settings of a process, however many bases it serves."""


@dataclass(frozen=True, repr=False)
class BaseSettings(
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    StateSettings,
    RemoteSettings,
    StorageSettings,
    SlowSearchSettings,
    RequestSettings,
    PasswordSettings,
    AccessTokenSettings,
    AccessSettings,
    _Declared,
):
    """The settings of one base. `open_base` and everything that it calls know no other settings.

    `backends` has the settings of each backend that comes with the server, and of the one that is chosen.
    """

    backends: Mapping[str, StorageOptions] = field(default_factory=_own_defaults)

    @classmethod
    def declarations(cls) -> Mapping[str, Field[Any]]:
        return declared.declarations(cls, *own_backends().values())

    def shown(self) -> str:
        return declared.shown(self, *self.backends.values())

    def contradictions(self) -> list[str]:
        """Return what is wrong with the settings taken together, a line each."""
        problems = [line for options in self.backends.values() for line in options.problems()]
        _, chosen = self.backend
        if self.location_style == "absolute" and not self.base_url:
            problems.append("LOCATION_STYLE: absolute locations need BASE_URL")
        if not self.base_url and profile_of(self.profile).location_style == "absolute":
            problems.append("PROFILE: absolute locations need BASE_URL")
        if self.state_database_url and chosen.shares_state:
            shared = chosen.address.upper()
            problems.append(f"STATE_DATABASE_URL: must be unset: {shared} is the state database too")
        if self.user_model_name.lower() == self.group_model_name.lower():
            problems.append("USER_MODEL_NAME, GROUP_MODEL_NAME: must differ")
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            # Without an audience, a token for any other server would do (RFC 9068 section 4).
            problems.append("OIDC_ISSUER, OIDC_AUDIENCE: one of them needs the other")
        try:
            make_publishing(self)
        except ValueError as exc:
            problems += str(exc).splitlines()
        return problems

    @property
    def backend(self) -> tuple[str, StorageOptions]:
        """The name and the settings of the backend to use: that of STORAGE, or the first with an address."""
        with_address = (n for n, options in self.backends.items() if getattr(options, options.address))
        name = self.storage or next(with_address, _DEFAULT_BACKEND)
        return name, self.backends[name]

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
        return self.state_database_url or self.backend[1].state_url or "sqlite:///data/state.db"

    @property
    def locations(self) -> Locations:
        """What precedes the endpoint in locations."""
        return Locations(self.base_path, self.base_url, self.location_style)

    @property
    def mappings(self) -> dict[str, dict[str, str]]:
        """Attributes that take their value from another one, by resource type."""
        return {"User": self.user_mapping or {}, "Group": self.group_mapping or {}}


@dataclass(frozen=True, repr=False)
class Settings(BaseSettings, ServerSettings):
    """Everything an operator may choose; docs/reference/settings.md is made from the declarations.

    The name of a field in capitals is the name of its variable. A secret may come from a file that the
    variable with `_FILE` behind its name names.
    """

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from an environment. Raises SettingsError naming every problem."""
        problems: list[str] = []
        values = declared.read(cls, environ, problems)
        kinds = _kinds(values, problems)
        backends = {name: kind(**declared.read(kind, environ, problems)) for name, kind in kinds.items()}
        settings = cls(**values, backends=backends)
        problems += [*settings.contradictions(), *_missing_address(settings, problems)]
        if settings.loglevel not in ("CRITICAL", "ERROR"):
            # Before problems end the start: a misspelt variable may be the reason of one.
            known = declared.declarations(cls, *kinds.values()).values()
            for line in doubtful(environ, (*declared.variables(known), *declared.file_variables(known))):
                _LOG.warning("%s", line)
        if problems:
            # Two backends may read the same variable.
            raise SettingsError(list(dict.fromkeys(problems)))
        return settings


def _kinds(values: dict[str, Any], problems: list[str]) -> dict[str, type[StorageOptions]]:
    """Return the declarations of our backends, and of the chosen one. A choice that fails is left out."""
    try:
        kinds = dict(own_backends())
    except NotInstalled as exc:
        raise SettingsError([str(exc)]) from exc
    chosen = values.get("storage", _DEFAULT_BACKEND)
    if chosen not in kinds:
        try:
            kinds[chosen] = options_of(chosen)
        except ValueError as exc:
            problems.append(f"STORAGE: {exc}")
            del values["storage"]
    return kinds


def _missing_address(settings: BaseSettings, problems: list[str]) -> Iterator[str]:
    """Yield a line if the backend of STORAGE has no address, unless the variable has a problem already."""
    name, options = settings.backend
    variable = options.address.upper()
    is_set = bool(getattr(options, options.address)) or any(one.startswith(variable) for one in problems)
    if settings.storage and name != _DEFAULT_BACKEND and not is_set:
        yield f"{variable}: is required with STORAGE={name}"
