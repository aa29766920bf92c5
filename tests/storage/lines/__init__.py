"""The smallest backend that several processes share: five methods and a lock, over one file of JSON lines.

A write appends a line: the resource as it is now, or that it is gone. Nothing is ever changed or cut
off, so readers need no lock. A process that dies may leave a line without its end: the next writer ends
it, and readers skip it. The file grows with each write.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from schema.resource_type import ResourceType
from storage.adapter import Capabilities, Key, StorageAdapter, StoredResource
from storage.errors import (
    OutcomeUnknown,
    ResourceNotFound,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    VersionMismatch,
)
from storage.index_keys import place_of

_LOG = logging.getLogger(__name__)


class LinesAdapter(StorageAdapter):
    """Keeps resources in the file `path`, and in memory what has been read of it."""

    capabilities = Capabilities(exclusive=True)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._forget()

    def prepare(self, resource_types: Any) -> None:
        with self._failures():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()

    def check(self) -> None:
        self._read()

    def check_writable(self) -> None:
        self._read()
        if not os.access(self._path, os.W_OK):
            raise StorageReadOnly(f"{self._path} cannot be written")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._failures():
            file = self._path.open("rb")
        with file:
            with self._failures():
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # A child that was forked meanwhile has the file open too: closing is not enough.
                fcntl.flock(file, fcntl.LOCK_UN)

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        try:
            return self._read()[resource_type.name, resource_id]
        except KeyError:
            raise ResourceNotFound(resource_type.name, resource_id) from None

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        if (resource_type.name, resource.id) in self._read():
            raise UniquenessConflict("id")
        return self._written(resource_type, replace(resource, place=place_of(self._lines)))

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        before = self._at(resource_type, resource.id, if_version)
        return self._written(resource_type, replace(resource, place=before.place))

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._at(resource_type, resource_id, if_version)
        self._append({"type": resource_type.name, "id": resource_id})

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        found = [one for (name, _), one in list(self._read().items()) if name == resource_type.name]
        return iter(sorted(found, key=lambda one: one.place))

    def _at(self, resource_type: ResourceType, resource_id: str, if_version: str | None) -> StoredResource:
        before = self.get(resource_type, resource_id)
        if if_version not in (None, before.version):
            raise VersionMismatch(f"{resource_id} is at {before.version}")
        return before

    # -- the file

    def _forget(self) -> None:
        self._resources: dict[Key, StoredResource] = {}
        self._lines = self._end = 0

    def _read(self) -> dict[Key, StoredResource]:
        """Return all resources, with the lines that were appended since the last look."""
        with self._reading, self._failures():
            size = self._path.stat().st_size
            if size < self._end:
                # Another file was put in its place, such as a backup.
                self._forget()
            if size > self._end:
                with self._path.open("rb") as file:
                    file.seek(self._end)
                    for line in file:
                        if line.endswith(b"\n"):
                            self._follow(line)
            return self._resources

    def _follow(self, line: bytes) -> None:
        self._lines += 1
        self._end += len(line)
        try:
            kept = orjson.loads(line)
        except ValueError:
            _LOG.warning("%s: line %d is not complete; it has no effect", self._path, self._lines)
            return
        key = kept.pop("type"), kept["id"]
        if "text" in kept:
            # No two lines have one number, so no two states of a resource have one version.
            self._resources[key] = StoredResource(**kept, version=str(self._lines))
        else:
            self._resources.pop(key, None)

    def _written(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        names = ("id", "text", "place", "created", "last_modified", "secrets")
        self._append({"type": resource_type.name, **{name: getattr(resource, name) for name in names}})
        return self.get(resource_type, resource.id)

    def _append(self, line: dict[str, Any]) -> None:
        """Append a line, durably. It has no effect before its last byte, which ends it."""
        with self._failures(), self._path.open("ab", buffering=0) as file:
            is_open = os.fstat(file.fileno()).st_size > self._end
            rest = (b"\n" if is_open else b"") + orjson.dumps(line) + b"\n"
            while rest:
                rest = rest[file.write(rest) :]
            try:
                os.fsync(file)
            except OSError as exc:
                raise OutcomeUnknown(f"{self._path}: the disk did not confirm a write") from exc

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageUnavailable(f"{self._path} cannot be used: {exc.strerror}") from exc


def open_adapter(path: str) -> LinesAdapter:
    """Return an adapter on a file, without touching it."""
    return LinesAdapter(Path(path))
