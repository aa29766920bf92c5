"""The adapter of flat files: the files are the truth, and an index of them answers.

`documents` defines the content of a file, `writing` changes files, `mirror` and `loading` bring the index
up to them. The tables of the index are those of `storage.index`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from schema.resource_type import ResourceType
from storage.adapter import (
    Adoptable,
    Capabilities,
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import ResourceNotFound, StorageUnavailable, UniquenessConflict, VersionMismatch
from storage.files.folders import Folders, file_name
from storage.files.index import Index
from storage.files.loading import Loader
from storage.files.lock import FolderLock
from storage.files.mirror import Mirror
from storage.files.survey import survey_files
from storage.files.transaction import Transaction, Transactions
from storage.files.writing import Writer

# A writer waits so many seconds for the others.
_TIMEOUT_S: Final = 30.0


class FilesAdapter(StorageAdapter):
    """Keeps each resource in a file of its own."""

    capabilities = Capabilities(native_uniqueness=True, transactions=True, members=True, owners=True)

    def __init__(
        self, root: Path, names: Mapping[str, str], indexed: frozenset[str] | None, *, durable: bool
    ) -> None:
        self._names = names
        self._folders = Folders(root, ())
        self._indexed = indexed
        self._durable = durable
        self._lock = FolderLock(root, _TIMEOUT_S)
        self._follow((), ())

    def _follow(self, resource_types: Sequence[ResourceType], names: Sequence[str]) -> None:
        self._folders = Folders(self._folders.root, names)
        self._writer = Writer(self._folders, self._durable)
        self._mirror = Mirror(self._folders, self._lock, self._writer, self._indexed)
        self._transactions = Transactions(self._mirror, self._folders, self._writer)

    def _by_type(self, resource_types: Sequence[ResourceType]) -> dict[ResourceType, str]:
        """Return the folder of each type."""
        return {r: self._names.get(r.name, r.endpoint.strip("/")) for r in resource_types}

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        folders = self._by_type(resource_types)
        self.close()
        self._follow(resource_types, list(folders.values()))
        try:
            self._mirror.prepare(folders)
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()

    def to_adopt(self, resource_types: Sequence[ResourceType]) -> Iterator[Adoptable]:
        return survey_files(self._folders.root, self._by_type(resource_types))

    def check(self) -> None:
        def look(index: Index) -> None:
            for name in self._folders.names:
                if not (self._folders.root / name).is_dir():
                    raise StorageUnavailable(f"there is no folder {self._folders.root / name}")
            for pages in index.pages.values():
                pages.total(None)

        self._transactions.read(look)

    def check_writable(self) -> None:
        self._writer.check()

    def close(self) -> None:
        self._mirror.close()

    # -- transactions

    @property
    def in_transaction(self) -> bool:
        return self._transactions.current is not None

    def when_committed(self, callback: Callable[[], object]) -> None:
        self._transactions.when_committed(callback)

    def transaction(self) -> AbstractContextManager[None]:
        return self._transactions.transaction()

    def savepoint(self) -> AbstractContextManager[None]:
        return self._transactions.savepoint()

    @contextmanager
    def _writing(self, resource_type: ResourceType) -> Iterator[tuple[Transaction, Loader]]:
        with self.transaction():
            work = self._transactions.current
            assert work is not None
            yield work, work.index.loaders[resource_type.name]

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        work = self._transactions.current
        if work is not None:
            return self._get(work, work.index.loaders[resource_type.name], resource_id)

        def find(index: Index) -> StoredResource:
            loader = index.loaders[resource_type.name]
            found, changed = self._compare(index, loader, resource_id)
            if changed is not None:
                self._mirror.look_at(loader.folder, changed)
                found = loader.get(resource_id)
            if found is None:
                raise ResourceNotFound(resource_type.name, resource_id)
            return found

        return self._transactions.read(find)

    def _get(self, work: Transaction, loader: Loader, resource_id: str) -> StoredResource:
        """Return a resource within a transaction, whose lock keeps it unchanged."""
        key = (loader.layout.number, resource_id)
        known = work.index.database.remembered.get(key)
        if known is not None:
            return cast(StoredResource, known)
        name = loader.layout.resource_type.name
        if work.has_touched(name, resource_id):
            found: StoredResource | None = loader.get(resource_id)
        else:
            found, changed = self._compare(work.index, loader, resource_id)
            if changed is not None:
                work.index.load([(loader.folder, changed)])
                found = loader.get(resource_id)
        if found is None:
            raise ResourceNotFound(name, resource_id)
        work.index.database.remembered[key] = found
        return found

    def _compare(
        self, index: Index, loader: Loader, resource_id: str
    ) -> tuple[StoredResource | None, str | None]:
        """Return the resource in the index, and the name of its file if that has changed since."""
        if "\0" in resource_id or not _is_text(resource_id):
            return None, None
        found = loader.find(resource_id)
        resource, name, signature = found or (None, None, None)
        if name is None:
            name = file_name(resource_id)
        is_now = self._folders.signature(loader.folder, name)
        if is_now == signature:
            return resource, None
        if found is None:
            known = index.files.known(loader.layout.number, [name])
            if name in known and known[name].signature == is_now:
                return None, None
        return resource, name

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        with self._writing(resource_type) as (work, loader):
            self._refuse_taken(work, resource.id)
            created = work.index.rows.insert(loader.layout, resource, _next_version("0"))
            if work.index.join_waiting(resource_type.name, [resource.id]):
                created = replace(created, joined=True)
            work.touch(resource_type.name, resource.id)
            work.index.database.remembered[loader.layout.number, resource.id] = created
        return created

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        with self._writing(resource_type) as (work, loader):
            ids = [resource.id for resource in resources]
            for resource_id in ids:
                self._refuse_taken(work, resource_id)
            work.index.rows.insert_many(loader.layout, resources, _next_version("0"))
            work.index.join_waiting(resource_type.name, ids)
            for resource_id in ids:
                work.touch(resource_type.name, resource_id)

    def _refuse_taken(self, work: Transaction, resource_id: str) -> None:
        """Raise UniquenessConflict for an id whose file name is taken in any folder, even by another file."""
        name = file_name(resource_id)
        for other in work.index.loaders.values():
            removed_now = work.has_touched(other.layout.resource_type.name, resource_id)
            if not removed_now and self._folders.is_taken(other.folder, name):
                raise UniquenessConflict("id")

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        with self._writing(resource_type) as (work, loader):
            before = self._at(work, loader, resource.id, if_version)
            version = _next_version(before.version)
            after = work.index.rows.replace(loader.layout, before, resource, version)
            work.index.database.remembered[loader.layout.number, resource.id] = after
            work.touch(resource_type.name, resource.id)
        return after

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        with self._writing(resource_type) as (work, loader):
            before = self._at(work, loader, resource_id, if_version)
            index, number = work.index, loader.layout.number
            for group_number, group_id, _ in index.files.groups_of(before.source):
                work.touch(index.names[group_number], group_id)
            index.files.keep_absent(number, resource_id, {})
            index.rows.delete(loader.layout, before)
            index.database.remembered.pop((number, resource_id), None)
            work.touch(resource_type.name, resource_id)

    def _at(
        self, work: Transaction, loader: Loader, resource_id: str, if_version: str | None
    ) -> StoredResource:
        before = self._get(work, loader, resource_id)
        if if_version is not None and before.version != if_version:
            raise VersionMismatch(f"{loader.layout.resource_type.name} {resource_id} is at {before.version}")
        return before

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._transactions.read(lambda index: index.pages[resource_type.name].every())

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._transactions.read(lambda index: index.pages[resource_type.name].candidates(selection))

    # -- members

    # Outside a transaction, the file may have changed and the index may be a new one: the key of a row
    # that was read earlier is not valid.

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        rid = self.get(resource_type, stored.id).source
        return self._transactions.read(lambda index: index.members.of(rid, stored.id, limit))

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        rid = self.get(resource_type, stored.id).source
        return self._transactions.read(lambda index: index.members.among(rid, stored.id, member_ids))

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        with self._writing(resource_type) as (work, loader):
            group, leaving = self._get(work, loader, stored.id), list(remove)
            changed = work.index.members.change(group.source, add, leaving)
            keys = [member.key for member in leaving]
            dropped = work.index.files.drop_absent(loader.layout.number, stored.id, keys)
            if changed or dropped:
                work.touch(resource_type.name, stored.id)
        return changed

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        ids = [one.id for one in stored]

        def above(index: Index) -> Mapping[str, Sequence[Membership]]:
            return index.members.above(index.loaders[resource_type.name].layout, ids)

        return self._transactions.read(above)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._transactions.read(lambda index: index.members.find(resource_ids))


def _next_version(before: str) -> str:
    """Return a version that no earlier resource of this id had, even a removed one."""
    return str(max(int(before) + 1, time.time_ns() // 1000))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
