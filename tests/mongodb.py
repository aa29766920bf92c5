"""MongoDB for the tests: the server of MONGO_TEST_URL, else `mongod`, else one that Maven fetches."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from storage.adapter import StorageAdapter
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.servers import ServerProcess, program

_SOURCES = Path(__file__).parent / "mongo_server"
_COLLECTIONS = ("Users", "Groups", "scim_members", "scim_unique", "scim_deleted")


class MongodbServer:
    """A server of MongoDB with as many databases as are asked for."""

    limits: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._process: ServerProcess | None = None
        self.url = os.environ.get("MONGO_TEST_URL", "")
        if not self.url:
            self._process = _MongodProcess() if shutil.which("mongod") else _JavaProcess()
            self.url = f"mongodb://127.0.0.1:{self._process.port}"
        self.client: MongoClient[dict[str, Any]] = MongoClient(self.url)
        self._databases: list[str] = []

    @property
    def compares_utf_16(self) -> bool:
        """Whether text compares by UTF-16, as in Java; by code point in MongoDB itself."""
        return isinstance(self._process, _JavaProcess)

    @property
    def is_ours(self) -> bool:
        """Whether the server may be stopped."""
        return self._process is not None

    def new_database(self) -> str:
        """Return the URL of a database that does not exist yet."""
        self._databases.append(f"scim_test_{uuid.uuid4().hex[:12]}")
        base, question, options = self.url.partition("?")
        scheme, _, rest = base.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}/{self._databases[-1]}{question}{options}"

    def documents(self, database: str) -> Any:
        """Return the database with that URL, as the driver has it."""
        return self.client[database.partition("?")[0].rpartition("/")[2]]

    def environ(self, database: str) -> dict[str, str]:
        """Return the variables that make a service use a database."""
        return {"MONGO_DB": database}

    def empty(self, database: str) -> None:
        """Delete every resource in a database; its indexes stay."""
        for name in _COLLECTIONS:
            self.documents(database)[name].delete_many({})

    def stop(self) -> None:
        """End the server, which keeps what it has."""
        assert self._process is not None
        self._process.stop(signal.SIGTERM)

    def restart(self) -> None:
        """Start the server again."""
        assert self._process is not None
        self._process.restart()

    def remove(self) -> None:
        """Delete what the tests left."""
        if self._process is None:
            for name in self._databases:
                self.client.drop_database(name)
        self.client.close()
        if self._process is not None:
            self._process.remove()


class MongoStore:
    """An adapter on a database of its own, and the documents of that database as the driver has them."""

    def __init__(self, server: MongodbServer, **options: Any) -> None:
        self.server = server
        self.url = server.new_database()
        self.documents = server.documents(self.url)
        self.adapter = self.open(**options)

    def open(self, **options: Any) -> StorageAdapter:
        """Return a new adapter on the database, prepared."""
        adapter = open_backend("mongo", mongo_db=self.url, **options)
        adapter.prepare(REGISTRY.resource_types)
        return adapter

    def emptied(self) -> "MongoStore":
        """Return the store, with no resource in it."""
        self.server.empty(self.url)
        return self


class _Process(ServerProcess):
    def __init__(self) -> None:
        super().__init__("root")

    def _ask(self) -> None:
        with MongoClient[dict[str, Any]](port=self.port, serverSelectionTimeoutMS=500) as client:
            client.admin.command("ping")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)


class _MongodProcess(_Process):
    def __init__(self) -> None:
        super().__init__()
        (self.folder / "data").mkdir()
        place = ["--dbpath", str(self.folder / "data"), "--port", str(self.port)]
        self.start([program("mongod"), *place, "--bind_ip", "127.0.0.1", "--nounixsocket"], self._ask)


class _JavaProcess(_Process):
    def __init__(self) -> None:
        super().__init__()
        folder = fetched_server()
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        classes = ["-cp", f"{folder}:{folder}/*", "Server"]
        self.start([program("java"), *quick, *classes, str(self.folder / "data"), str(self.port)], self._ask)


def fetched_server() -> Path:
    """Return the folder with the server of `mongo_server`, fetched and compiled once per environment."""
    sources = [_SOURCES / "pom.xml", _SOURCES / "Server.java"]
    folder = Path(sys.prefix) / "mongo-server"
    with open(folder.with_suffix(".lock"), "w") as lock:
        # Tests that run side by side fetch it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(_is_copy(folder / source.name, source) for source in sources):
            _fetch(sources, folder)
    return folder


def _fetch(sources: Sequence[Path], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mongo-server", dir=sys.prefix) as temporary:
        fresh = Path(temporary) / "fresh"
        fresh.mkdir()
        copying = ("dependency:copy-dependencies", f"-DoutputDirectory={fresh}")
        _run("mvn", "-q", "-B", "-f", sources[0], *copying)
        jars = ":".join(map(str, fresh.glob("*.jar")))
        compiler = ("-cp", jars, "org.eclipse.jdt.internal.compiler.batch.Main", "-17", "-proc:none")
        _run("java", *compiler, "-cp", jars, "-d", fresh, sources[1])
        for source in sources:
            shutil.copy(source, fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def _run(name: str, *arguments: str | Path) -> None:
    done = subprocess.run([program(name), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")


def _is_copy(copy: Path, source: Path) -> bool:
    return copy.exists() and copy.read_bytes() == source.read_bytes()
