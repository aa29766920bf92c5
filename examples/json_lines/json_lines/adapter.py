"""The adapter: five methods and a lock. The server does everything else.

A write appends a line: the resource as it is now, or its removal. No byte of the file ever changes, so that
readers need no lock. A line takes effect with its last byte. The file grows with each write.
"""

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
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

_KEPT = ("id", "text", "created", "last_modified", "place", "secrets")


class JsonLinesAdapter(StorageAdapter):
    """Stores resources in the file `path`, and holds in memory what the process has read of it."""

    capabilities = Capabilities(exclusive=True)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._resources: dict[Key, StoredResource] = {}
        self._lines = self._end = 0

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
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
        return self._write(resource_type, replace(resource, place=f"{self._lines:016d}"))

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        before = self._at_version(resource_type, resource.id, if_version)
        return self._write(resource_type, replace(resource, place=before.place))

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._at_version(resource_type, resource_id, if_version)
        self._append({"type": resource_type.name, "id": resource_id})

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        # A list is made at once; other threads may read more lines afterwards.
        found = [one for (name, _), one in list(self._read().items()) if name == resource_type.name]
        return iter(sorted(found, key=lambda one: one.place))

    def _at_version(
        self, resource_type: ResourceType, resource_id: str, version: str | None
    ) -> StoredResource:
        """Return the resource. Raises VersionMismatch where it is at another version than the one given."""
        stored = self.get(resource_type, resource_id)
        if version not in (None, stored.version):
            raise VersionMismatch(f"{resource_id} is at {stored.version}")
        return stored

    def _write(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        self._append({"type": resource_type.name, **{name: getattr(resource, name) for name in _KEPT}})
        return self.get(resource_type, resource.id)

    def _append(self, record: dict[str, Any]) -> None:
        """Append a line, durably. A failure before its last byte leaves no effect."""
        with self._failures(), self._path.open("ab", buffering=0) as file:
            # A writer that failed or died left a line without its end: it becomes one that is no JSON.
            unended = os.fstat(file.fileno()).st_size > self._end
            left = (b"!\n" if unended else b"") + orjson.dumps(record, default=dict) + b"\n"
            while left:
                left = left[file.write(left) :]
            try:
                os.fsync(file)
            except OSError as exc:
                raise OutcomeUnknown(f"{self._path}: the disk did not confirm a write") from exc

    def _read(self) -> dict[Key, StoredResource]:
        """Return all resources. Reads the whole lines that the file got since the last call."""
        with self._reading, self._failures(), self._path.open("rb") as file:
            file.seek(self._end)
            added = file.read()
            for line in added[: added.rfind(b"\n") + 1].splitlines(keepends=True):
                self._lines += 1
                self._end += len(line)
                if not line.endswith(b"!\n"):
                    self._apply(orjson.loads(line))
            return self._resources

    def _apply(self, record: dict[str, Any]) -> None:
        key = record.pop("type"), record["id"]
        if "text" in record:
            # No two lines have one number, so no two states of a resource have one version.
            self._resources[key] = StoredResource(**record, version=str(self._lines))
        else:
            self._resources.pop(key, None)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageUnavailable(f"{self._path} cannot be used: {exc.strerror}") from exc
