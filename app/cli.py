"""The command `scim`."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import click
from gunicorn.app.base import BaseApplication

from app import configure_log, create_app, make_operations
from app.protocol.importing import ResourceImport
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
    with _problems_said():
        settings = Settings.from_env()
        # Once here, so that whatever is wrong is said once, before workers start.
        create_app(settings)
    _Server(settings).run()


@main.command("import")
@click.argument("file", type=click.File("rb"))
def import_resources(file: BinaryIO) -> None:
    """Create the resources in FILE, a JSON object a line; - is standard input.

    Resources whose id exists are left alone, so an import that was interrupted can be run again. The
    exit code is 1 when a line could not be imported; each is named on standard error.
    """

    def report(number: int, problem: str) -> None:
        click.echo(f"line {number}: {problem}", err=True)

    with _problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        operations, adapter = make_operations(settings)
        work = ResourceImport(operations.registry, adapter, operations, report)
        size = os.fstat(file.fileno()).st_size
        with click.progressbar(length=size, label="importing", file=sys.stderr) as bar:
            result = work.run(_followed(file, bar.update))
        adapter.close()
    click.echo(f"created {result.created}, already there {result.skipped}, failed {result.failed}")
    sys.exit(1 if result.failed else 0)


def _followed(file: BinaryIO, update: Callable[[int], None]) -> Iterator[bytes]:
    passed = 0
    for line in file:
        yield line
        passed += len(line)
        if passed > 1 << 20:
            update(passed)
            passed = 0
    update(passed)


@contextmanager
def _problems_said() -> Iterator[None]:
    """End the program with a line for each thing that is wrong, and no traceback."""
    try:
        yield
    except (SettingsError, DefinitionError, StorageError) as exc:
        sys.exit("\n".join(f"scim: {line}" for line in str(exc).splitlines()))


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
