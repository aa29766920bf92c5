"""Changing files durably: one alone by renaming it into place, several together by a journal."""

import errno
import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import orjson

from storage.files.folders import Folders

_LOG = logging.getLogger(__name__)

_TEMPORARY: Final = ".tmp-"
_LEFT: Final = re.compile(re.escape(_TEMPORARY) + "[0-9a-f]{32}")
_JOURNAL: Final = ".journal"
_CROSSED_OUT: Final = b"-"


@dataclass(frozen=True)
class Change:
    """A change of one file: its new content and the time of its change, or its removal.

    `content` is None for a removal; `modified_ns` is in nanoseconds since 1970.
    """

    folder: str
    name: str
    content: bytes | None
    modified_ns: int = 0


@dataclass(frozen=True)
class Step:
    """A step of the journal: rename `temporary` to `name`, or remove a file that still has `signature`."""

    folder: str
    name: str
    temporary: str | None
    signature: str | None


class Writer:
    """Writes files; the caller holds the lock of the folder.

    `durable`: changes survive a power failure after `finish`. In any case a file, and a group of changes,
    is there as a whole or not at all.
    """

    def __init__(self, folders: Folders, durable: bool) -> None:
        self._folders = folders
        self._durable = durable
        self._journal = folders.root / _JOURNAL

    def apply(self, changes: Sequence[Change]) -> None:
        """Carry out changes: `begin` and `finish` in one."""
        self.finish(self.begin(changes))

    def begin(self, changes: Sequence[Change]) -> list[Step]:
        """Write the changes into the journal; a failure changes no file.

        Raises StorageReadOnly and StorageUnavailable, as `finish` does.
        """
        several = len(changes) > 1
        steps: list[Step] = []
        with self._folders.writing(), self._discarding(steps):
            for change in changes:
                steps.append(self._prepared(change))
            if several:
                self._sync_folders(steps)
            self._write_journal(steps, several)
        return steps

    def finish(self, steps: Sequence[Step]) -> None:
        """Carry out the steps of the journal, which stays until `forget`.

        After a crash in the middle, `recover` ends the work. An error leaves a single file as it was; of
        several files, some may have been changed.
        """
        with self._folders.writing(), self._discarding(steps):
            for step in steps:
                self._carry_out(step)
            if len(steps) > 1 or self._durable:
                self._sync_folders(steps)

    def forget(self) -> None:
        """Cross the journal out: the index has its changes."""
        with self._folders.writing(), suppress(FileNotFoundError):
            # Making and removing a file for each write would take as long as the write itself.
            self._overwrite(os.O_WRONLY, _CROSSED_OUT)

    def recover(self) -> bool:
        """Finish an interrupted change and return whether there was one; `forget` comes next."""
        if not self._is_pending() or not self._folders.is_writable():
            return False
        with self._folders.writing():
            steps = self._read_journal()
            for step in steps:
                try:
                    self._carry_out(step)
                except OSError as exc:
                    _LOG.error("the file %s cannot be changed: %s", step.name, exc.strerror)
            self._sync_folders(steps)
            self.tidy()
        return True

    def check(self) -> None:
        """Write a file in each folder and remove it. Raises StorageReadOnly and StorageUnavailable."""
        with self._folders.writing():
            for folder in map(self._folders.root.joinpath, ("", *self._folders.names)):
                temporary = folder / f"{_TEMPORARY}{uuid4().hex}"
                _write(temporary, b"-", 0o600)
                temporary.unlink()

    def tidy(self) -> None:
        """Remove the temporary files of processes that died."""
        with self._folders.writing():
            for path in (self._folders.root, *map(self._folders.root.joinpath, self._folders.names)):
                with os.scandir(path) as entries:
                    # Other programs may have names that begin so.
                    left = [e.path for e in entries if _LEFT.fullmatch(e.name) and e.is_file()]
                for temporary in left:
                    os.unlink(temporary)

    @contextmanager
    def _discarding(self, steps: Sequence[Step]) -> Iterator[None]:
        """Leave nothing behind when the work fails."""
        try:
            yield
        except OSError:
            for step in steps:
                if step.temporary is not None:
                    with suppress(OSError):
                        os.unlink(self._folders.path(step.folder, step.temporary))
            with suppress(OSError):
                self._overwrite(os.O_WRONLY, _CROSSED_OUT)
            raise

    def _prepared(self, change: Change) -> Step:
        path = self._folders.path(change.folder, change.name)
        if change.content is None:
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return Step(
                change.folder, change.name, None, self._folders.signature(change.folder, change.name)
            )
        temporary = f"{_TEMPORARY}{uuid4().hex}"
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError:
            # The file may have hashes of passwords.
            mode = 0o600
        _write(path.with_name(temporary), change.content, mode, change.modified_ns)
        return Step(change.folder, change.name, temporary, None)

    def _carry_out(self, step: Step) -> None:
        """Rename or remove, unless that was done already."""
        path = self._folders.path(step.folder, step.name)
        with suppress(FileNotFoundError):
            if step.temporary is not None:
                os.rename(path.with_name(step.temporary), path)
            elif step.signature == self._folders.signature(step.folder, step.name):
                os.unlink(path)

    def _write_journal(self, steps: Sequence[Step], durably: bool) -> None:
        content = orjson.dumps([vars(step) for step in steps], option=orjson.OPT_APPEND_NEWLINE)
        if not durably:
            # This journal serves after the death of a process; after a power failure every file is read.
            self._overwrite(os.O_WRONLY | os.O_CREAT, content)
            return
        temporary = self._journal.with_name(f"{_TEMPORARY}{uuid4().hex}")
        _write(temporary, content, 0o600)
        os.rename(temporary, self._journal)
        _sync(self._folders.root)

    def _overwrite(self, flags: int, content: bytes) -> None:
        """Write the beginning of the journal; only its first line counts."""
        descriptor = os.open(self._journal, flags, 0o600)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)

    def _is_pending(self) -> bool:
        with self._folders.reading():
            try:
                descriptor = os.open(self._journal, os.O_RDONLY)
            except FileNotFoundError:
                return False
            try:
                return os.read(descriptor, 1) == b"["
            finally:
                os.close(descriptor)

    def _read_journal(self) -> list[Step]:
        line = self._journal.read_bytes().split(b"\n", 1)[0]
        try:
            steps = [Step(**entry) for entry in orjson.loads(line)]
        except (orjson.JSONDecodeError, TypeError):
            # Only the journal of a single change can be torn, and a single change does not need it.
            return []
        if not all(map(_is_ours, steps)):
            _LOG.error("this server did not write the journal %s and ignores it", self._journal)
            return []
        return steps

    def _sync_folders(self, steps: Sequence[Step]) -> None:
        for folder in {step.folder for step in steps}:
            _sync(self._folders.root / folder)


def _is_ours(step: Step) -> bool:
    """Return whether a step stays within its folder."""
    names = (step.folder, step.name, step.name if step.temporary is None else step.temporary)
    are_names = all(isinstance(n, str) and n not in ("", ".", "..") and not {"/", "\0"} & {*n} for n in names)
    return are_names and (step.temporary is None or step.temporary.startswith(_TEMPORARY))


def _write(path: Path, content: bytes, mode: int, modified_ns: int = 0) -> None:
    """Write a new file, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if mode != 0o600:
                os.fchmod(descriptor, mode)
            if modified_ns:
                os.utime(descriptor, ns=(modified_ns, modified_ns))
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
