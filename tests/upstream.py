"""A second instance of our own server, as the upstream of the one under test."""

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from app import create_app
from app.configuration.settings import Settings

UPSTREAM_KEY = "upstream-key"
_SIDE = ("scim_member", "scim_lacking", "scim_attribute", "scim_unique", "scim_resource")
_TABLES = (*_SIDE, '"Users"', '"Groups"')


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Upstream:
    """A service provider on a socket, with an SQLite file; it counts what it is asked.

    `around` makes another WSGI application of it, which behaves differently.
    """

    def __init__(
        self, file: Path, port: int = 0, around: Callable[[Any], Any] = lambda app: app, **environ: str
    ) -> None:
        self.file = file
        variables = {
            "API_KEY": UPSTREAM_KEY,
            "DATABASE_URL": f"sqlite:///{file}",
            "SQLITE_SYNCHRONOUS": "NORMAL",
            "LOGLEVEL": "ERROR",
            **environ,
        }
        self.app = create_app(Settings.from_env(variables))
        self._served = around(self.app)
        self.requests: list[str] = []
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", port, self._counted, threaded=True, request_handler=_Handler
        )
        self.port = self._server.port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _counted(self, environ: dict[str, Any], start_response: Any) -> Any:
        query = environ["QUERY_STRING"]
        path = environ["PATH_INFO"] + (f"?{query}" if query else "")
        self.requests.append(f"{environ['REQUEST_METHOD']} {path}")
        return self._served(environ, start_response)

    def empty(self) -> None:
        """Delete every resource."""
        with closing(sqlite3.connect(self.file, isolation_level=None, timeout=30)) as database:
            database.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                database.execute(f"DELETE FROM {table}")
            database.execute("UPDATE scim_count SET total = 0")
            database.execute("COMMIT")

    def stop(self) -> None:
        """End the server; what it holds stays in the file."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.app.extensions["scim.storage"].close()


_OWN_SCHEMAS = "an upstream has schemas of its own"
_OWN_PROFILE = "an upstream reads values under its own profile"


class UpstreamServer:
    """Upstreams for the tests: each database is a service provider of its own."""

    limits: Mapping[str, str] = {
        "test_a_file_makes_a_resource_type": "an upstream has the resource types it has",
        "test_immutable_attributes_stay": "an upstream has the resource types it has",
        "test_ids_can_be_made_of_an_attribute": "an upstream gives ids of its own",
        "test_resources_come_in_as_if_a_client_had_sent_them": "an upstream gives ids of its own",
        "test_members_may_come_before_or_after_and_missing_ones_are_named": (
            "an upstream gives ids of its own"
        ),
        "test_done_again_it_goes_on": "an upstream gives ids of its own",
        "test_an_attribute_that_becomes_unique_is_from_then_on": _OWN_SCHEMAS,
        "test_who_shares_a_value_that_becomes_unique_is_named": _OWN_SCHEMAS,
        "test_a_changed_definition_is_followed_at_the_next_start": _OWN_SCHEMAS,
        "test_an_extension_that_comes_later_is_found": _OWN_SCHEMAS,
        "test_by_the_letter_an_empty_value_is_a_value": _OWN_PROFILE,
        "test_roles_and_managers_of_other_products_are_not_read": _OWN_PROFILE,
    }

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scim"))
        self.running: dict[str, Upstream] = {}

    def new_database(self) -> str:
        """Start an empty service provider and return its URL."""
        upstream = Upstream(self.folder / f"{len(self.running) + 1}.db")
        self.running[upstream.url] = upstream
        return upstream.url

    def environ(self, database: str) -> dict[str, str]:
        """Return the variables that put a service in front of an upstream."""
        return {"FORWARD_SCIM_URL": database, "FORWARD_SCIM_KEY": UPSTREAM_KEY}

    def empty(self, database: str) -> None:
        """Delete every resource of an upstream."""
        self.running[database].empty()

    def remove(self) -> None:
        """End all upstreams and delete what they left."""
        # A server sees twice a second that it is to end.
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(Upstream.stop, self.running.values()))
        shutil.rmtree(self.folder, ignore_errors=True)
