"""A folder of files, the adapter on it, and ways to make a folder refuse."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from scim_filter import parse_filter, resolve
from storage.adapter import Selection, StorageAdapter
from storage.search import search
from storage.testing import REGISTRY, USER, represent
from tests.backends import open_backend

Open = Callable[[Path], StorageAdapter]


def open_files(path: Path) -> StorageAdapter:
    """Return an adapter on the folder, prepared."""
    adapter = open_backend("files", data_path=path)
    adapter.prepare(REGISTRY.resource_types)
    return adapter


def written(path: Path) -> Any:
    """Return the JSON in a file."""
    return orjson.loads(path.read_bytes())


def write(path: Path, **document: Any) -> None:
    """Write a document as an editor or another program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(document))


def is_pending(folder: Path) -> bool:
    """Return whether the journal has something that is still to be done."""
    journal = folder / ".journal"
    return journal.exists() and journal.read_bytes().startswith(b"[")


def ids(adapter: StorageAdapter, text: str) -> list[str]:
    """Return the ids of the users that match a filter, in order of creation."""
    node = resolve(parse_filter(text), USER)
    return [r.id for r in search(adapter, USER, Selection(node), represent).resources]


def in_child(work: Callable[[], object]) -> int:
    """Do `work` in a child of a fork and return its process id; an exception is an exit with 1."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def opened() -> Iterator[Open]:
    """Return a function that opens an adapter on a folder; all are closed at the end."""
    adapters: list[StorageAdapter] = []

    def make(path: Path) -> StorageAdapter:
        adapters.append(open_files(path))
        return adapters[-1]

    yield make
    for adapter in adapters:
        adapter.close()


@pytest.fixture
def adapter(folder: Path, opened: Open) -> StorageAdapter:
    return opened(folder)


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """Return a context in which a folder cannot be written, not even by root."""

    @contextmanager
    def refused(path: Path) -> Iterator[None]:
        if os.geteuid():
            path.chmod(0o500)
            yield
            path.chmod(0o700)
            return
        subprocess.run(["mount", "--bind", path, path], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", path], check=True)
            yield
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)

    return refused


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder on a disk of four megabytes."""
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]).returncode:
        pytest.skip("only root can make a disk that is full")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
