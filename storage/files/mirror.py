"""The index of a folder in one process: opened, and brought up to the files."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from schema.resource_type import ResourceType
from storage.batches import batches
from storage.errors import StorageUnavailable
from storage.files.folders import Folders
from storage.files.index import Index, open_index, remove_index, remove_others
from storage.files.lock import FolderLock
from storage.files.watch import Name, Watch
from storage.files.writing import Writer
from storage.foreign import UNUSUAL
from storage.progress import Progress

_LOG = logging.getLogger(__name__)

# The number of files that one transaction reads.
_BATCH = 500
# The most removals of the index by other programs that one request survives.
_TRIES = 5


@dataclass(frozen=True)
class _Opened:
    """The index as one process opened it; `private` is the folder of an index that only it uses."""

    process: int
    index: Index
    watch: Watch
    looking: Lock
    private: Path | None


class Mirror:
    """Opens the index and keeps it up to date. `lock` and `writer` are for the files of `folders`."""

    def __init__(
        self, folders: Folders, lock: FolderLock, writer: Writer, indexed: frozenset[str] | None
    ) -> None:
        self._folders = folders
        self._lock = lock
        self._writer = writer
        self._indexed = indexed
        self._types: Mapping[ResourceType, str] = {}
        self._opened: _Opened | None = None
        # Connections of a parent process must not be closed, nor collected, by its children.
        self._inherited: list[_Opened] = []

    def prepare(self, resource_types: Mapping[ResourceType, str]) -> None:
        """Make the folders, given by resource type, and the index."""
        self._types = resource_types
        self._warn_of_others()
        self._folders.make()
        self.close()
        if self._folders.is_writable():
            with self._alone():
                self._writer.tidy()
                remove_others(self._folders.root, self._folders, self._types, self._indexed)
        self.noticed()

    def _warn_of_others(self) -> None:
        """Warn of documents that stand in the folder of the usual name, while another one is to be made."""
        root = self._folders.root
        for resource_type, name in self._types.items():
            usual = resource_type.endpoint.strip("/")
            if name == usual or (root / name).exists() or not (root / usual).is_dir():
                continue
            if self._folders.listing(usual):
                _LOG.warning(UNUSUAL, "folder", root / name, "folder", root / usual)

    def noticed(self) -> Index:
        """Return the index, up to date with all known changes of files."""
        for _ in range(_TRIES):
            opened = self._current()
            watch = opened.watch
            changed = watch.changed()
            if watch.is_due():
                self._look_at_all(opened)
            if changed:
                self._look_at(opened, changed)
                watch.settled(changed)
            if opened.index.is_there():
                return opened.index
        raise StorageUnavailable(f"another program removes the index in {self._folders.root} again and again")

    def look_at(self, folder: str, name: str) -> None:
        """Bring the index up to one file."""
        self._look_at(self._current(), [(folder, name)])

    @contextmanager
    def locked(self) -> Iterator[Index]:
        """Return the index with every earlier write, while no other thread or process writes."""
        # Reading many files takes long: others can write meanwhile.
        self.noticed()
        with self._alone():
            yield self.noticed()

    def discard(self) -> None:
        """Remove a damaged index; the next use makes a new one."""
        opened = self._opened
        with self._lock.held(), self._folders.writing():
            if opened is not None and opened.index.is_there():
                _LOG.warning("the index %s is damaged and is rebuilt", opened.index.path)
                remove_index(opened.index.path)

    def close(self) -> None:
        """Close the index of this process; other threads keep their connections until they end."""
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            return
        opened.watch.close()
        opened.index.close()
        if opened.private is not None:
            shutil.rmtree(opened.private, ignore_errors=True)

    # -- the index

    def _current(self) -> _Opened:
        opened = self._opened
        if opened is None or not self._is_current(opened):
            with self._alone():
                opened = self._opened
                assert opened is not None
        return opened

    def _is_current(self, opened: _Opened) -> bool:
        return (
            opened.process == os.getpid()
            and opened.index.is_there()
            and (opened.private is None) == self._folders.is_writable()
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock, with the index open and interrupted changes finished."""
        if self._lock.is_held:
            yield
            return
        with self._lock.held():
            opened = self._opened
            if opened is None or not self._is_current(opened):
                opened = self._open(opened)
            if self._writer.recover():
                opened.watch.begin()
                self._look_at_all(opened)
                self._writer.forget()
            yield

    def _open(self, before: _Opened | None) -> _Opened:
        if before is not None:
            if before.process == os.getpid():
                self.close()
            else:
                self._inherited.append(before)
        private = None
        if not self._folders.is_writable():
            # The folder can only be read, so the index needs another one.
            private = Path(tempfile.mkdtemp(prefix="scim-index-"))
        index = open_index(private or self._folders.root, self._folders, self._types, self._indexed)
        watch = Watch({name: self._folders.root / name for name in self._folders.names})
        self._opened = _Opened(os.getpid(), index, watch, Lock(), private)
        return self._opened

    # -- looking at files

    def _look_at(self, opened: _Opened, names: Iterable[Name]) -> None:
        by_folder: dict[str, list[str]] = {}
        for folder, name in names:
            by_folder.setdefault(folder, []).append(name)
        changed: list[Name] = []
        for folder, in_folder in by_folder.items():
            known = opened.index.files.known(opened.index.by_folder[folder].layout.number, in_folder)
            for name in in_folder:
                signature = known[name].signature if name in known else None
                if self._folders.signature(folder, name) != signature:
                    changed.append((folder, name))
        if changed:
            self._load(opened.index, changed)

    def _look_at_all(self, opened: _Opened) -> None:
        if self._lock.is_held:
            # The thread that holds `looking` may be waiting for this lock.
            self._look(opened)
        # A thread that finds another one at work waits for it only before the first look ends.
        elif opened.looking.acquire(blocking=not opened.watch.has_looked):
            try:
                self._look(opened)
            finally:
                opened.looking.release()

    def _look(self, opened: _Opened) -> None:
        watch = opened.watch
        if not watch.is_due():
            return
        if not watch.has_looked:
            watch.begin()
        started = time.monotonic()
        changed = [name for folder in self._folders.names for name in self._changed_in(opened, folder)]
        duration_s = time.monotonic() - started
        self._load(opened.index, changed)
        watch.completed(duration_s)

    def _changed_in(self, opened: _Opened, folder: str) -> Sequence[Name]:
        loader = opened.index.by_folder[folder]
        there = self._folders.listing(folder)
        known = opened.index.files.signatures(loader.layout.number)
        changed = [name for name, signature in there.items() if known.get(name) != signature]
        if not known:
            changed = loader.in_order(changed)
        gone = [name for name in known if name not in there]
        return [(folder, name) for name in (*gone, *changed)]

    def _load(self, index: Index, names: Sequence[Name]) -> None:
        progress = Progress("reading files", len(names))
        for batch in batches(names, _BATCH):
            with self._alone():
                if not index.is_there():
                    return
                index.load(batch)
            progress.at(progress.done + len(batch))
