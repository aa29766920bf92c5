"""The index beside the files: an SQLite database of their content, replaced by a new one if damaged."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import peewee

from schema.resource_type import ResourceType
from storage.adapter import Member
from storage.database_url import DatabaseUrl
from storage.errors import ResourceNotFound, StorageError
from storage.files.folders import Folders
from storage.files.loading import Loader
from storage.files.side_tables import FileRows
from storage.index.building import build
from storage.index.database import Database
from storage.index.layout import TypeLayout
from storage.index.members import MemberRows
from storage.index.pages import Pages
from storage.index.rows import ResourceRows
from storage.index.sqlite import PatientDatabase, Sqlite
from storage.index.tables import VERSION, prepare_tables
from storage.index_paths import numbered_paths, rules_digest, rules_of

_LOG = logging.getLogger(__name__)
# Every index has a name of its own: SQLite removes the log of a database by name, and would mistake the log
# of a new index for that of a deleted one. Processes with other definitions or indexed paths have an index of
# their own, of which the name begins differently. Releases up to 0.2.0 take any name that ends with `.db`.
_PREFIX: Final = ".index-"
_SUFFIX: Final = ".sqlite"
_TIMEOUT_S: Final = 30.0
# The codes of SQLite for a damaged file, and for a file that is no database.
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _IndexDialect(Sqlite):
    """Consistent at any time, but not durable: lost rows are read from the files again."""

    def queue(self, url: DatabaseUrl, timeout_s: float) -> None:
        """None: a writer holds the lock of the folder already."""

    def connect(self, url: DatabaseUrl, pool_size: int, timeout_s: float) -> peewee.Database:
        return PatientDatabase(
            url.name,
            # Not mapped into memory: a truncated file would end the process.
            pragmas={
                "journal_mode": "wal",
                "synchronous": "NORMAL",
                "wal_autocheckpoint": 4000,
                "cache_size": -32_000,
                "temp_store": "memory",
            },
            timeout=timeout_s,
        )


class Index:
    """One file of an index, open, with the readers and writers of its tables."""

    def __init__(
        self,
        path: Path,
        folders: Folders,
        resource_types: Mapping[ResourceType, str],
        indexed: frozenset[str] | None,
    ) -> None:
        self.path = path
        self.database = Database(_IndexDialect(), DatabaseUrl("sqlite", str(path)), 1, _TIMEOUT_S)
        self.names: dict[int, str] = {}
        self.files = FileRows(self.database)
        self.rows = ResourceRows(self.database)
        self.members = MemberRows(self.database, self.names)
        self.pages: dict[str, Pages] = {}
        self.loaders: dict[str, Loader] = {}
        for layout in self._prepared(list(resource_types), indexed):
            resource_type = layout.resource_type
            self.names[layout.number] = resource_type.name
            self.pages[resource_type.name] = Pages(self.database, layout)
            self.loaders[resource_type.name] = Loader(
                self.database, folders, resource_types[resource_type], layout, self.names
            )
        self.by_folder = {loader.folder: loader for loader in self.loaders.values()}
        self._identity = _identity(path)

    def _prepared(
        self, resource_types: Sequence[ResourceType], indexed: frozenset[str] | None
    ) -> list[TypeLayout]:
        layouts = prepare_tables(self.database, resource_types, {}, indexed)
        build(self.database, layouts)
        with self.database.transaction():
            self.files.prepare()
        return layouts

    def is_there(self) -> bool:
        """Return whether the file that is open is still the one that others open."""
        return self._identity is not None and _identity(self.path) == self._identity

    def load(self, names: Iterable[tuple[str, str]]) -> None:
        """Read these files, given by folder and name, into the index."""
        by_folder: dict[str, list[str]] = {}
        for folder, name in names:
            by_folder.setdefault(folder, []).append(name)
        with self.database.transaction():
            fresh = {
                loader.layout.resource_type.name: loader.load(by_folder[folder])
                for folder, loader in self.by_folder.items()
                if folder in by_folder
            }
            for type_name, resource_ids in fresh.items():
                self.join_waiting(type_name, resource_ids)

    def join_waiting(self, type_name: str, resource_ids: Sequence[str]) -> bool:
        """Let new resources of a type join the groups whose files name them; return whether any did."""
        waiting = self.files.awaited(type_name, resource_ids)
        for number, group_id, member_id, display in waiting:
            with suppress(ResourceNotFound):
                group = self.loaders[self.names[number]].get(group_id)
                self.members.change(group.source, [Member(member_id, type_name, display)], ())
        return bool(waiting)

    def close(self) -> None:
        """Close the connection of this thread."""
        self.database.close()


def open_index(
    folder: Path,
    folders: Folders,
    resource_types: Mapping[ResourceType, str],
    indexed: frozenset[str] | None,
) -> Index:
    """Return the index in `folder`, a new one if there is none that can be used.

    The caller holds the lock of the folder.
    """
    with folders.writing():
        prefix = _prefix(resource_types, indexed)
        there = sorted(path for path in folder.glob(f"{prefix}*{_SUFFIX}"))
        for path in there[:-1]:
            remove_index(path)
    for path in there[-1:]:
        try:
            return Index(path, folders, resource_types, indexed)
        except StorageError as exc:
            # An error without a code comes from tables of another release.
            if any(_reasons(exc)) and not is_broken(exc):
                raise
            _LOG.warning("the index %s is rebuilt: %s", path, exc)
            with folders.writing():
                remove_index(path)
    fresh = folder / f"{prefix}{time.time_ns()}{_SUFFIX}"
    with folders.writing():
        # The index has hashes of passwords; SQLite gives the files beside it the same rights.
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return Index(fresh, folders, resource_types, indexed)


def _prefix(resource_types: Iterable[ResourceType], indexed: frozenset[str] | None) -> str:
    rules = (rules_of(one, numbered_paths(one, indexed)) for one in resource_types)
    return f"{_PREFIX}{rules_digest(*rules, version=VERSION)}-"


def remove_others(
    folder: Path, folders: Folders, resource_types: Iterable[ResourceType], indexed: frozenset[str] | None
) -> None:
    """Remove the indexes of other settings and releases; a process that uses one makes it again.

    The caller holds the lock of the folder.
    """
    prefix = _prefix(resource_types, indexed)
    with folders.writing():
        for suffix in (_SUFFIX, ".db"):
            for path in folder.glob(f"{_PREFIX}*{suffix}"):
                if not path.name.startswith(prefix):
                    remove_index(path)


def remove_index(path: Path) -> None:
    """Remove the file of an index and the files of SQLite beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def is_broken(exc: BaseException) -> bool:
    """Return whether an error means that the index itself is damaged.

    A change may also fail in another database, such as that of the events.
    """
    if not Path(getattr(exc, "database", "")).name.startswith(_PREFIX):
        return False
    for reason in _reasons(exc):
        if reason in _BROKEN or (reason == sqlite3.SQLITE_ERROR and "no such table" in str(exc)):
            return True
    return False


def _reasons(exc: BaseException) -> Iterator[int]:
    """Yield the codes of SQLite that led to an error."""
    cause: BaseException | None = exc
    while cause is not None:
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(code, int):
            yield code & 0xFF
        cause = cause.__cause__ or cause.__context__


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
