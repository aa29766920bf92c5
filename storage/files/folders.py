"""Folders and files: names, whole reads, and signatures that change with a file."""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import quote

from storage.errors import StorageReadOnly, StorageUnavailable
from storage.ownership import advice

_SAFE: Final = "@+=,~ "
_LONGEST: Final = 200
# With less room on the disk than this, in bytes, the index is in another folder.
_ROOM: Final = 512 * 1024
# A file that changed so short a time ago may change again without another time stamp.
_UNSETTLED_NS: Final = 50_000_000


def file_name(resource_id: str) -> str:
    """Return the name of the file of a resource: safe in any folder, and different for each id.

    Ids of letters, digits, blanks and `-._~@+=,` keep their looks; a name never begins with a dot.
    """
    name = quote(resource_id, safe=_SAFE, errors="surrogatepass")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _LONGEST:
        digest = blake2b(resource_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        # No quoted name holds "%~".
        name = f"{name[: _LONGEST - 40]}%~{digest}"
    return name or "%"


def is_listed(name: str) -> bool:
    """Return whether a file of that name may hold a resource."""
    # Names that are no UTF-8 have lone surrogates, which no JSON and no database can hold.
    return not name.startswith(".") and (name.isascii() or not re.search("[\ud800-\udfff]", name))


class Folders:
    """The folders of the resource types under one root."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of the operating system into those of the storage."""
        try:
            yield
        except OSError as exc:
            raise StorageUnavailable(f"{self.root} cannot be read: {exc.strerror}") from exc

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As `reading`, for a write, which a read-only folder refuses."""
        try:
            yield
        except OSError as exc:
            hint = advice(self.root, *(self.root / name for name in self.names))
            said = f"{self.root} cannot be written: {exc.strerror}{hint}"
            # Our own folder may be locked on purpose; a folder of another user is a mistake.
            if exc.errno == errno.EROFS or (exc.errno in (errno.EACCES, errno.EPERM) and not hint):
                raise StorageReadOnly(said) from exc
            raise StorageUnavailable(said) from exc

    def make(self) -> None:
        """Make the folders that are missing, for this user alone."""
        with self.writing():
            for path in (self.root, *(self.root / name for name in self.names)):
                if not path.is_dir():
                    path.mkdir(mode=0o700, parents=True)

    def is_writable(self) -> bool:
        """Return whether the root can be written, and has room for an index to follow."""
        if not os.access(self.root, os.W_OK | os.X_OK):
            return False
        with self.reading():
            room = os.statvfs(self.root)
        return room.f_bavail * room.f_frsize >= _ROOM

    def path(self, folder: str, name: str) -> Path:
        """Return the path of a file."""
        return self.root / folder / name

    def listing(self, folder: str) -> dict[str, str]:
        """Return the signature of each file that may hold a resource, by name."""
        found = {}
        with self.reading(), os.scandir(self.root / folder) as entries:
            for entry in entries:
                if not is_listed(entry.name):
                    continue
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = _signature(status)
        return found

    def signature(self, folder: str, name: str) -> str | None:
        """Return a text that changes when a file changes, None without a file."""
        with self.reading():
            try:
                status = os.stat(f"{self.root}/{folder}/{name}")
            except FileNotFoundError:
                # Without the folder, perhaps on a disk that is not mounted, the file may still exist.
                os.stat(self.root / folder)
                return None
        return _signature(status) if stat.S_ISREG(status.st_mode) else None

    def is_taken(self, folder: str, name: str) -> bool:
        """Return whether the name is taken, by a file or anything else."""
        return os.path.lexists(f"{self.root}/{folder}/{name}")

    def read(self, folder: str, name: str) -> tuple[bytes, str, int] | None:
        """Return the content of a file, its signature and the time of its last change, or None.

        The time is in nanoseconds since 1970. While a file may still be changing, the signature is
        one that it never has. Raises PermissionError for a file that may not be read.
        """
        try:
            # Opening a named pipe must not wait for its writer.
            descriptor = os.open(self.root / folder / name, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            unsettled = abs(time.time_ns() - status.st_ctime_ns) < _UNSETTLED_NS
            return file.read(), _signature(status) + " ?" * unsettled, status.st_mtime_ns


def _signature(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_size} {status.st_ino}"
