"""The settings by subject: each class declares some of them, and `Settings` joins the classes."""

from app.configuration.groups.backends import (
    DatabaseSettings,
    FileSettings,
    ForwardSettings,
    IrodsSettings,
    JumpcloudSettings,
    LdapSettings,
    MongoSettings,
    RemoteSettings,
)
from app.configuration.groups.events import (
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    WorkerSettings,
)
from app.configuration.groups.server import AccessSettings, LogSettings, RequestSettings, WebServerSettings

__all__ = [
    "AccessSettings",
    "AsynchronousSettings",
    "ChangeLogSettings",
    "DatabaseSettings",
    "EventSettings",
    "FileSettings",
    "ForwardSettings",
    "IrodsSettings",
    "JumpcloudSettings",
    "LdapSettings",
    "LogSettings",
    "MongoSettings",
    "RemoteSettings",
    "RequestSettings",
    "WebServerSettings",
    "WorkerSettings",
]
