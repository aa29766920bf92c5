"""A server that speaks the iRODS protocol, for tests: iRODS itself cannot be had as a package.

It reproduces what was seen of release 5.0.2. Where IRODS_TEST_HOST is set, a real zone is used instead.
"""

import socket
import socketserver
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress

from tests.fake_irods.agent import Agent
from tests.fake_irods.catalog import Catalog
from tests.fake_irods.limits import LIMITS
from tests.fake_irods.mischief import Mischief
from tests.fake_irods.real import RealZone, real_zone

ZONE, ADMIN, PASSWORD = "testZone", "rods", "r0ds-S3cret"


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def serve(self) -> None:
        """Serve until the socket is shut down."""
        while True:
            try:
                connection, address = self.get_request()
            except OSError:
                return
            self.process_request(connection, address)


class FakeZone:
    """One zone on a port of its own; its catalogue survives a restart."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.catalog = Catalog(ZONE, ADMIN, PASSWORD)
        self.mischief = Mischief()
        self.port = 0
        self._tls = tls
        self._connections: set[socket.socket] = set()
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        zone = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                zone._connections.add(self.request)
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    Agent(self.request, zone.catalog, zone.mischief, zone._tls).serve()
                finally:
                    zone._connections.discard(self.request)

        self._listener = _Listener(("127.0.0.1", self.port), Handler)
        self.port = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        with suppress(OSError):
            self._listener.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "IRODS_HOST": "127.0.0.1",
            "IRODS_PORT": str(self.port),
            "IRODS_ZONE": ZONE,
            "IRODS_ADMIN_USERNAME": ADMIN,
            "IRODS_ADMIN_PASSWORD": PASSWORD,
        }

    def empty(self) -> None:
        self.catalog.empty()


class FakeIrodsServer:
    """Any number of zones; a store is one of them, called by its port."""

    limits: Mapping[str, str] = LIMITS

    def __init__(self) -> None:
        self._zones: dict[str, FakeZone | RealZone] = {}

    def new_database(self) -> str:
        """Make an empty zone and return what it is called by."""
        zone: FakeZone | RealZone = real_zone() or FakeZone()
        self._zones[str(zone.port)] = zone
        zone.empty()
        return str(zone.port)

    def environ(self, database: str) -> dict[str, str]:
        """Return the variables that make a service use a zone."""
        return self._zones[database].environ

    def zone(self, database: str) -> "FakeZone | RealZone":
        return self._zones[database]

    def empty(self, database: str) -> None:
        """Remove every account that a service may have made."""
        self._zones[database].empty()

    def remove(self) -> None:
        """End all zones."""
        for zone in self._zones.values():
            zone.stop()
