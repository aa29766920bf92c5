"""The settings by subject: each class declares some of them, and `Settings` joins the classes."""

from app.configuration.groups.access_tokens import AccessTokenSettings
from app.configuration.groups.events import (
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    WorkerSettings,
)
from app.configuration.groups.server import (
    AccessSettings,
    PasswordSettings,
    RequestSettings,
    WebServerSettings,
)
from app.configuration.groups.storage import RemoteSettings, StateSettings, StorageSettings
from app.configuration.groups.watching import LogSettings, MetricsSettings, SlowSearchSettings

__all__ = [
    "AccessSettings",
    "AccessTokenSettings",
    "AsynchronousSettings",
    "ChangeLogSettings",
    "EventSettings",
    "LogSettings",
    "MetricsSettings",
    "PasswordSettings",
    "RemoteSettings",
    "RequestSettings",
    "SlowSearchSettings",
    "StateSettings",
    "StorageSettings",
    "WebServerSettings",
    "WorkerSettings",
]
