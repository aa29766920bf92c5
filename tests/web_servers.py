"""The web servers that are shipped or documented, and connections that are no better than they must be."""

import re
import resource
import shlex
import socket
import sys
import time
from pathlib import Path

from tests.conftest import KEY, Server

ROOT = Path(__file__).parent.parent
_BIN = Path(sys.executable).parent


class UwsgiServer(Server):
    """uwsgi with the file that is shipped."""

    def __init__(self, **environ: str) -> None:
        super().__init__(**{"WORKERS": "2", "THREADS": "4", **environ})

    def command(self) -> list[str]:
        return [str(_BIN / "uwsgi"), "--ini", str(ROOT / "uwsgi.ini")]

    def start(self) -> None:
        super().start()
        # Its threads begin when a process has loaded the application; before, no signal reaches it.
        wait_for(self._have_threads, "its processes do not load the application")

    def _have_threads(self) -> bool:
        tasks = [list(Path(f"/proc/{process}/task").iterdir()) for process in workers(self)]
        return len(tasks) == int(self.environ["WORKERS"]) and all(len(task) >= 4 for task in tasks)


class GunicornServer(Server):
    """gunicorn with the command line that is documented."""

    def command(self) -> list[str]:
        page = (ROOT / "docs/how-to/gunicorn.md").read_text()
        documented = re.search(r"^    \.venv/bin/gunicorn (.*)$", page, re.MULTILINE)
        assert documented is not None
        words = shlex.split(documented[1])
        words[words.index("--bind") + 1] = f"127.0.0.1:{self.port}"
        return [str(_BIN / "gunicorn"), *words]


SERVERS: dict[str, type[Server]] = {"scim": Server, "uwsgi": UwsgiServer, "gunicorn": GunicornServer}


def workers(server: Server) -> set[int]:
    """Return the process ids of the processes that serve requests."""
    pid = server.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def head(method: str, path: str, *lines: str) -> bytes:
    """Return the head of a request with credentials."""
    fixed = ("Host: scim.example.com", f"Authorization: Bearer {KEY}", "Content-Type: application/scim+json")
    return "\r\n".join((f"{method} {path} HTTP/1.1", *fixed, *lines, "", "")).encode()


def connect(server: Server) -> socket.socket:
    """Return a connection to a server."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def many_connections(server: Server, count: int, beginning: bytes) -> list[socket.socket]:
    """Open connections and send `beginning` on each of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    opened = []
    for _ in range(count):
        opened.append(connect(server))
        opened[-1].sendall(beginning)
    return opened


def rest_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes the connection in good order."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def wait_for(condition: object, what: str) -> None:
    """Wait until a function returns true."""
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
