"""Servers to compare, each as processes whose CPU time is read from /proc."""

import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import Client
from tests.ports import free_port
from tests.servers import PostgresqlServer

TOKEN: Final = "compared"
PEER: Final = "scim2-server==0.8.3"
_START_S: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LISTENING: Final = "0A"


@dataclass(frozen=True)
class Peer:
    """A server at `url` that accepts `token`; `roots` are the processes whose descendants it consists of.

    Without roots, the CPU of the server is unknown.
    """

    name: str
    url: str
    token: str
    roots: Sequence[int]
    is_ours: bool = False

    def client(self) -> Client:
        """Return a client with a connection of its own."""
        return Client(self.url, self.token)

    def cpu_s(self) -> float:
        """Return the seconds of CPU that the processes of the server have taken, ended children included."""
        parents, taken = {}, {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := _stat(entry)):
                parents[int(entry.name)] = int(fields[1])
                # Of the process in user and kernel mode, then of its children that have ended.
                taken[int(entry.name)] = sum(map(int, fields[11:15]))
        return sum(taken[pid] for pid in taken if _descends(pid, set(self.roots), parents)) / _TICKS


def _stat(entry: Path) -> list[str]:
    """Return the fields of /proc/<pid>/stat behind the name; none if the process has ended."""
    try:
        return (entry / "stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _descends(pid: int, roots: set[int], parents: Mapping[int, int]) -> bool:
    while pid and pid not in roots:
        pid = parents.get(pid, 0)
    return pid in roots


def listeners(port: int) -> list[int]:
    """Return the processes of this machine that listen on a TCP port, as far as /proc shows them."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    return [int(entry.name) for entry in Path("/proc").iterdir() if _holds(entry, inodes)]


def _holds(entry: Path, inodes: set[str]) -> bool:
    try:
        return entry.name.isdigit() and any(os.readlink(fd) in inodes for fd in (entry / "fd").iterdir())
    except OSError:
        return False


@contextmanager
def this_server(name: str, database: str, roots: Sequence[int] = ()) -> Iterator[Peer]:
    """Yield this server on a database, with its defaults; `roots` are the processes of the database."""
    port = free_port()
    scim = str(Path(sys.executable).parent / "scim")
    environ = {"API_KEY": TOKEN, "HOST": "127.0.0.1", "PORT": str(port), "DATABASE_URL": database}
    with _running([scim, "serve"], environ) as pid:
        yield _answering(Peer(name, f"http://127.0.0.1:{port}", TOKEN, [pid, *roots], is_ours=True))


@contextmanager
def on_sqlite() -> Iterator[Peer]:
    """Yield this server with an SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        with this_server("SQLite", f"sqlite:///{folder}/scim.db") as peer:
            yield peer


@contextmanager
def on_postgresql() -> Iterator[Peer]:
    """Yield this server with a PostgreSQL server of its own, durable as it comes."""
    durable = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on")
    server = PostgresqlServer(shared_buffers="256MB", **durable)
    assert server.process is not None
    try:
        with this_server("PostgreSQL", server.new_database(), [server.process.pid]) as peer:
            yield peer
    finally:
        server.remove()


@contextmanager
def scim2_server() -> Iterator[Peer]:
    """Yield scim2-server, which keeps everything in memory, installed for this alone."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        subprocess.run([f"{folder}/bin/pip", "install", "--quiet", PEER], check=True)
        port = free_port()
        command = [f"{folder}/bin/scim2-server", "--port", str(port), "--bearer-token", TOKEN]
        with _running(command, {}) as pid:
            yield _answering(Peer(PEER.replace("==", " "), f"http://127.0.0.1:{port}/v2", TOKEN, [pid]))


SERVERS: Final[Mapping[str, Callable[[], AbstractContextManager[Peer]]]] = {
    "sqlite": on_sqlite,
    "postgresql": on_postgresql,
    "scim2-server": scim2_server,
}


def other(name: str, url: str, token: str) -> Peer:
    """Return a server that runs already; its CPU is known if its processes are seen from here."""
    split = urlsplit(url)
    port = split.port or (443 if split.scheme == "https" else 80)
    is_local = split.hostname in ("127.0.0.1", "localhost", "::1")
    return _answering(Peer(name, url.rstrip("/"), token, listeners(port) if is_local else []))


@contextmanager
def _running(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        env={"PATH": os.environ["PATH"], **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _answering(peer: Peer) -> Peer:
    """Return a server once it answers. Raises TimeoutError."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            if peer.client()("GET", "/ServiceProviderConfig").status == 200:
                return peer
        except (OSError, HTTPException):
            time.sleep(0.05)
    raise TimeoutError(f"{peer.name} does not answer at {peer.url}")
