"""The command `scim`."""

import logging
import sys
from typing import Any

import click
from gunicorn.app.base import BaseApplication

from app import create_app
from app.settings import Settings, SettingsError
from schema.errors import DefinitionError
from storage.errors import StorageError

_LOG = logging.getLogger(__name__)


@click.group()
def main() -> None:
    """SCIM 2.0 service provider."""


@main.command()
def serve() -> None:
    """Serve HTTP on HOST:PORT until SIGTERM or SIGINT."""
    try:
        settings = Settings.from_env()
        # Once here, so that whatever is wrong is said once, before workers start.
        create_app(settings)
    except (SettingsError, DefinitionError, StorageError) as exc:
        sys.exit("\n".join(f"scim: {line}" for line in str(exc).splitlines()))
    _Server(settings).run()


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with the settings of this server in place of its command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "workers": self._settings.workers,
            # Threads: a client that keeps its connection open and silent must not block a worker.
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "loglevel": self._settings.loglevel.lower(),
            "graceful_timeout": 20,
            "keepalive": 75,
            # It would be a second way in, at a path that several servers of one user share.
            "control_socket_disable": True,
            # Values of filters are longer than the default allows.
            "limit_request_line": 8190,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(self._settings)
