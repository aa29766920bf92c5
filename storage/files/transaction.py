"""Transactions: changes of the index that become changes of files when they end."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

from storage.errors import Contention, StorageError, StorageUnavailable
from storage.files.documents import instant_ns
from storage.files.folders import Folders, file_name
from storage.files.index import Index, is_broken
from storage.files.loading import Loader
from storage.files.mirror import Mirror
from storage.files.writing import Change, Writer

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Transaction:
    """Collects the resources whose files must be written; the caller calls `committed` afterwards.

    `is_done` says whether the files are written, even if the commit of the index fails.
    """

    def __init__(self, index: Index, folders: Folders, writer: Writer) -> None:
        self.index = index
        # Each callback once, in order.
        self.committed: dict[Callable[[], object], None] = {}
        self.is_done = False
        self._folders = folders
        self._writer = writer
        self._touched: dict[tuple[str, str], None] = {}
        self._begun = False

    def touch(self, type_name: str, resource_id: str) -> None:
        """Record that the file of a resource must be written, or removed."""
        self._touched[type_name, resource_id] = None

    def has_touched(self, type_name: str, resource_id: str) -> bool:
        """Return whether the index is ahead of the file of a resource."""
        return (type_name, resource_id) in self._touched

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part that can be undone alone."""
        touched, committed = dict(self._touched), dict(self.committed)
        try:
            with self.index.database.savepoint():
                yield
        except BaseException:
            self._touched, self.committed = touched, committed
            raise

    def write(self) -> None:
        """Write the files as the index has the resources, and record their signatures."""
        changes = [change for key in self._touched for change in self._changes(*key)]
        if not changes:
            return
        steps = self._writer.begin(changes)
        self._begun = True
        self._writer.finish(steps)
        self.is_done = True
        for type_name, resource_id in self._touched:
            loader, name = self._file(type_name, resource_id)
            name = name or file_name(resource_id)
            signature = self._folders.signature(loader.folder, name)
            if signature is None:
                self.index.files.forget(loader.layout.number, name)
            else:
                self.index.files.note(loader.layout.number, name, resource_id, signature)

    def finish(self) -> None:
        """Cross the journal out: the index is committed."""
        if self._begun:
            # A journal that stays costs the next writer a look at the files.
            with suppress(StorageError):
                self._writer.forget()

    def put_back(self) -> None:
        """Write the files again as the index has the resources, after a failure among several."""
        if not self._begun or len(self._touched) < 2:
            return
        for key in self._touched:
            for change in self._changes(*key):
                # A file that cannot be written now could not be written before either.
                with suppress(StorageError):
                    self._writer.apply([change])
                    self._writer.forget()

    def _changes(self, type_name: str, resource_id: str) -> Iterator[Change]:
        """Yield the change of the file of a resource; none if there never was a file."""
        loader, name = self._file(type_name, resource_id)
        found = loader.find(resource_id)
        if found is not None:
            resource = found[0]
            content = loader.content(resource)
            modified_ns = instant_ns(resource.last_modified)
            yield Change(loader.folder, name or file_name(resource_id), content, modified_ns)
        elif name is not None or self._begun:
            yield Change(loader.folder, name or file_name(resource_id), None)

    def _file(self, type_name: str, resource_id: str) -> tuple[Loader, str | None]:
        loader = self.index.loaders[type_name]
        return loader, self.index.files.name_of(loader.layout.number, resource_id)


class Transactions:
    """The transactions of all threads, and reading within and without them."""

    def __init__(self, mirror: Mirror, folders: Folders, writer: Writer) -> None:
        self._mirror = mirror
        self._folders = folders
        self._writer = writer
        self._local = threading.local()

    @property
    def current(self) -> Transaction | None:
        """The transaction of this thread, None outside of one."""
        return getattr(self._local, "transaction", None)

    def when_committed(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the transaction of this thread is committed; at once outside of one."""
        if self.current is None:
            callback()
        else:
            self.current.committed[callback] = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock of the folder, and write the files at the end; an inner transaction joins."""
        if self.current is not None:
            yield
            return
        try:
            with self._mirror.locked() as index:
                transaction = Transaction(index, self._folders, self._writer)
                yield from self._within(transaction)
        except StorageUnavailable as exc:
            if not is_broken(exc):
                raise
            self._mirror.discard()
            raise Contention("the index is damaged and must be rebuilt") from exc
        for callback in transaction.committed:
            callback()

    def _within(self, transaction: Transaction) -> Iterator[None]:
        self._local.transaction = transaction
        try:
            with transaction.index.database.transaction():
                yield
                transaction.write()
        except StorageError:
            if not transaction.is_done:
                transaction.put_back()
                raise
            # The files are as acknowledged; the next request finds the journal and reads them.
            _LOG.warning("the index is behind the files; the next request brings it up to date")
        else:
            transaction.finish()
        finally:
            self._local.transaction = None

    def savepoint(self) -> AbstractContextManager[None]:
        """Return a context whose calls can be undone alone."""
        return self.transaction() if self.current is None else self.current.part()

    def read(self, read: Callable[[Index], _Result]) -> _Result:
        """Read from the index, and once more from a new one if it turns out to be damaged."""
        if self.current is not None:
            return read(self.current.index)
        try:
            return read(self._mirror.noticed())
        except StorageUnavailable as exc:
            if not is_broken(exc):
                raise
        self._mirror.discard()
        return read(self._mirror.noticed())
