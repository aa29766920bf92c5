"""An address that leads to one server, then to another."""

import socket
from contextlib import suppress

from tests.cutting import CuttingProxy


class SwitchingProxy(CuttingProxy):
    """Carries bytes between clients and the server that the address leads to when they connect."""

    def __init__(self, port: int) -> None:
        self._open: list[socket.socket] = []
        super().__init__(port)

    def lead_to(self, port: int) -> None:
        """Lead new connections to `port`; those that are open stay where they are."""
        self._port = port

    def cut(self) -> None:
        """End the connections that are open."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        self._open += [client, server]
        super()._carry(client, server)
