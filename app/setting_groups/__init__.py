"""The settings by subject: each class declares some of them, and `app.settings` puts them together."""

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
from app.setting_groups.events import (
    AsynchronousSettings,
    ChangeLogSettings,
    EventSettings,
    WorkerSettings,
)
from app.setting_groups.server import AccessSettings, LogSettings, RequestSettings, WebServerSettings

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
