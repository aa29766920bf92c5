"""Ports for the servers that tests start."""

import random
import socket
from typing import Final

# Below those that the system gives to outgoing connections: none of these may take a port away while
# a server is being prepared, or is down.
_FIRST: Final = 10_000
_END: Final = 32_000


def free_port() -> int:
    """Return a port nobody listens on."""
    while True:
        port = random.randrange(_FIRST, _END)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
