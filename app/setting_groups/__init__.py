"""The settings by subject: each class declares some of them, and `app.settings.Settings` has all."""

from app.setting_groups.backends import (
    DatabaseSettings,
    FileSettings,
    ForwardSettings,
    IrodsSettings,
    JumpcloudSettings,
    LdapSettings,
    MongoSettings,
    RemoteSettings,
)
from app.setting_groups.events import AsynchronousSettings, EventSettings, WorkerSettings
from app.setting_groups.server import RequestSettings, ServerSettings, WebServerSettings

__all__ = [
    "AsynchronousSettings",
    "DatabaseSettings",
    "EventSettings",
    "FileSettings",
    "ForwardSettings",
    "IrodsSettings",
    "JumpcloudSettings",
    "LdapSettings",
    "MongoSettings",
    "RemoteSettings",
    "RequestSettings",
    "ServerSettings",
    "WebServerSettings",
    "WorkerSettings",
]
