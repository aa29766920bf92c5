"""The web server of `scim serve`: processes of gunicorn, connections of waitress."""

import logging
import os
import resource
import signal
import sys
import time
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from app import create_app
from app.configuration.settings import BaseSettings, Settings, SettingsError
from app.edge.deferral import LONGEST_WAIT_S
from app.server.connections import Bounds, Connections
from app.wiring.base import load_types, open_adapter
from app.wiring.log_lines import JsonLines
from schema.errors import DefinitionError
from storage.complete import is_for_one_process
from storage.errors import StorageError
from telemetry.metrics import forget_process
from telemetry.tracing import flush
from telemetry.writing import write

_LOG = logging.getLogger(__name__)

# File descriptors of a process beside those of connections: storage, log, receivers.
_OTHER_FILES: Final = 256
# Seconds before a process that found no storage, or a broken file, is replaced.
_RETRY_S: Final = 1.0


class _Lines(Logger):  # type: ignore[misc]
    """The log of gunicorn: as JSON where ours is."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for ours in logging.getLogger().handlers:
            if isinstance(ours.formatter, JsonLines):
                for handler in self.error_log.handlers:
                    handler.setFormatter(ours.formatter)


class WebServer(BaseApplication):  # type: ignore[misc]
    """gunicorn with the settings of this server in place of its command line."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def run(self) -> None:
        """Serve until a signal ends it."""
        FirstProcess(self).run()

    def load_config(self) -> None:
        host = self.settings.host
        for name, value in {
            "bind": f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}",
            "workers": self.settings.workers,
            "worker_class": WebProcess,
            "logger_class": _Lines,
            # Its lines on how it starts would repeat ours.
            "loglevel": "debug" if self.settings.loglevel == "DEBUG" else "warning",
            # Whoever waits for a request that is carried out has his answer by then.
            "graceful_timeout": LONGEST_WAIT_S + 5,
            "when_ready": _announce,
            "worker_exit": _end_work,
            "child_exit": _forget,
            # It would be a second way in, at a path that several servers of one user share.
            "control_socket_disable": True,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        try:
            app = create_app(self.settings)
        except (StorageError, SettingsError, DefinitionError) as exc:
            # All was well when the server started: this process is replaced until it is again.
            _LOG.error("%s", exc)
            time.sleep(_RETRY_S)
            sys.exit(1)
        # Work that was left before a restart does not wait for the first request.
        app.extensions["scim.driver"].start()
        return app


class FirstProcess(Arbiter):  # type: ignore[misc]
    """Starts the other processes, and replaces them at SIGHUP."""

    def handle_hup(self) -> None:
        """Replace the processes, unless the files that the new ones read cannot be used."""
        settings: Settings = self.app.settings
        problems = settings.contradictions()
        try:
            adapter = open_adapter(settings, load_types(settings))
            if is_for_one_process(adapter):
                # The new process would begin before the old one has ended.
                _LOG.error("SIGHUP has no effect: the storage is for one process: restart the server")
                return
        except (DefinitionError, SettingsError) as exc:
            problems += exc.problems
        if not problems:
            super().handle_hup()
            return
        for line in problems:
            _LOG.error("%s", line)
        _LOG.error("SIGHUP has no effect: correct the file, then send the signal again")


class WebProcess(Worker):  # type: ignore[misc]
    """A process that serves requests."""

    def init_signals(self) -> None:
        super().init_signals()
        # A terminal sends it to all processes; the first one asks the others to end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> None:
        settings: Settings = self.app.settings
        bounds = Bounds(
            settings.request_timeout,
            settings.keepalive_timeout,
            _connections(settings.max_connections),
            max(settings.max_body_size, settings.bulk_max_payload_size),
        )
        connections = Connections(self.wsgi, self.sockets, bounds, settings.threads)
        self.wsgi.extensions["scim.delivery"].wakeups.listener = connections.parking.woken
        connections.serve(self._is_wanted, self.notify, self.PIPE[0])

    def _is_wanted(self) -> bool:
        return bool(self.alive) and self.ppid == os.getppid()


def storage_shown(settings: BaseSettings) -> str:
    """Return the name and the address of the storage, without credentials."""
    name, options = settings.backend
    scheme, separator, rest = options.location.rpartition("://")
    # A password may hold any character: what precedes the last @ is not shown.
    return f"{name}: {scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def _connections(wanted: int) -> int:
    """Return how many connections this process can have, after asking the system for `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        files = min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        except OSError as exc:
            # A sandbox, such as systemd's, may forbid it.
            _LOG.warning("only %d open files are allowed, not %d (%s): fewer connections", soft, files, exc)
            files = soft
    return max(1, min(wanted, files - _OTHER_FILES))


def _announce(server: Any) -> None:
    """Say where requests are served, and let an interrupt end the server as SIGTERM does."""
    settings: Settings = server.app.settings
    _LOG.info(
        "serving on %s%s, %d processes of %d threads; resources are stored in %s",
        ", ".join(str(listener) for listener in server.LISTENERS),
        settings.base_path,
        settings.workers,
        settings.threads,
        storage_shown(settings),
    )
    hurry = signal.getsignal(signal.SIGINT)

    def end(*_: Any) -> None:
        signal.signal(signal.SIGINT, hurry)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, end)


def _forget(server: Any, process: Any) -> None:
    """Remove a process that has ended from the figures of live processes."""
    forget_process(process.pid)


def _end_work(server: Any, process: Any) -> None:
    """End the work of a web process beside requests, so that no process waits for its leases."""
    application = process.app.callable
    if application is not None:
        application.extensions["scim.driver"].stop()
        failed_logins = application.extensions["scim.delivery"].audit.failed_logins
        if failed_logins is not None:
            failed_logins.write()
    flush()
    write()
