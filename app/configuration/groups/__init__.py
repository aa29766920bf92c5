"""The settings by subject: each class declares some of them, and `Settings` joins the classes."""

from app.configuration.groups.events import (
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    WorkerSettings,
)
from app.configuration.groups.server import AccessSettings, LogSettings, RequestSettings, WebServerSettings
from app.configuration.groups.storage import RemoteSettings, StateSettings, StorageSettings

__all__ = [
    "AccessSettings",
    "AsynchronousSettings",
    "ChangeLogSettings",
    "EventSettings",
    "LogSettings",
    "RemoteSettings",
    "RequestSettings",
    "StateSettings",
    "StorageSettings",
    "WebServerSettings",
    "WorkerSettings",
]
