"""Bringing the index up to the files that other programs have written, changed or removed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from storage.adapter import Key, Member, StoredResource
from storage.errors import ResourceNotFound, UniquenessConflict
from storage.files.documents import FileContent, FileReader, UnreadableFile, created_in, encode
from storage.files.folders import Folders
from storage.files.side_tables import FileRows, KnownFile
from storage.foreign import existing
from storage.index.columns import resource_columns, stored
from storage.index.database import Database
from storage.index.layout import TypeLayout
from storage.index.members import MemberRows
from storage.index.rows import ResourceRows

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    """A file that was read: its content, and its signature at that time."""

    name: str
    content: bytes
    found: FileContent
    signature: str

    @property
    def resource(self) -> StoredResource:
        return self.found.resource


class Loader:
    """Reads the files of one resource type into the index; `names` are those of types by number."""

    def __init__(
        self, database: Database, folders: Folders, folder: str, layout: TypeLayout, names: Mapping[int, str]
    ) -> None:
        self.layout = layout
        self.folder = folder
        self._database = database
        self._folders = folders
        self._type_names = names
        self._reader = FileReader(layout.resource_type)
        self._rows = ResourceRows(database)
        self._members = MemberRows(database, names)
        self._files = FileRows(database)
        self._select = (
            f"{resource_columns(database.dialect)}, f.name, f.signature "
            f"FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
            "LEFT JOIN scim_file f ON f.type = r.type AND f.id = r.id WHERE r.id = ? AND r.type = ?"
        )

    # -- resources in the index

    def find(self, resource_id: str) -> tuple[StoredResource, str | None, str | None] | None:
        """Return a resource of the index, and the name and recorded signature of its file."""
        row = self._database.row(self._select, (resource_id, self.layout.number))
        return None if row is None else (stored(row), row[9], row[10])

    def get(self, resource_id: str) -> StoredResource:
        """Return a resource of the index. Raises ResourceNotFound."""
        found = self.find(resource_id)
        if found is None:
            raise ResourceNotFound(self.layout.resource_type.name, resource_id)
        return found[0]

    def content(self, resource: StoredResource) -> bytes:
        """Return the content that the file of a resource of the index should have."""
        members: list[dict[str, str]] = []
        if self.layout.resource_type.members is not None:
            names = self._type_names
            for member_id, number, display in self._files.own_members(resource.source):
                element = {"value": member_id, "type": names[number]}
                members.append({**element, "display": display} if display else element)
            absent = self._files.absent(self.layout.number, resource.id)
            for (type_name, member_id), display in absent.items():
                element = {"value": member_id, "type": type_name} if type_name else {"value": member_id}
                members.append({**element, "display": display} if display else element)
        return encode(self.layout.resource_type, resource, members)

    def _own(self, rid: int) -> dict[Key, str | None]:
        """Return the members of a group that exist, with their display if it is not their own."""
        own = self._files.own_members(rid)
        return {(self._type_names[number], member_id): display for member_id, number, display in own}

    # -- from files into the index

    def in_order(self, names: Sequence[str]) -> list[str]:
        """Return these names in the order in which the resources were made."""
        made: list[tuple[str, str]] = []
        for name in names:
            try:
                found = self._folders.read(self.folder, name)
            except OSError:
                found = None
            made.append((created_in(found[0]) if found else "", name))
        return [name for _, name in sorted(made)]

    def load(self, names: Sequence[str]) -> list[str]:
        """Read those of the files that have changed; return the ids of new resources.

        Within a transaction.
        """
        known = self._files.known(self.layout.number, names)
        fresh: dict[str, _Read] = {}
        for name in names:
            one = self._read(name, known.get(name))
            if one is None:
                continue
            twin = fresh.get(one.resource.id)
            if twin is not None:
                self._skip(one, f"holds the same resource as {twin.name}")
            elif self._is_fresh(one, known.get(name)):
                fresh[one.resource.id] = one
        if fresh:
            self._insert(list(fresh.values()))
        return list(fresh)

    def _read(self, name: str, known: KnownFile | None) -> _Read | None:
        """Return a file that has changed, or None; a file that is gone or unreadable is recorded."""
        signature = self._folders.signature(self.folder, name)
        if signature is None:
            if known is not None:
                self._forget(name, known)
            return None
        if known is not None and known.signature == signature:
            return None
        try:
            found = self._folders.read(self.folder, name)
            if found is None:
                # The file was removed a moment ago; the next look finds that.
                return None
            content, signature, modified_ns = found
            return _Read(name, content, self._reader.decode(name, content, modified_ns), signature)
        except UnreadableFile as exc:
            problem = str(exc)
        except OSError as exc:
            problem = f"cannot be read: {exc.strerror}"
        # A resource that was there before stays as it was last read.
        self._report(name, problem)
        self._files.note(self.layout.number, name, known.id if known else None, signature)
        return None

    def _is_fresh(self, one: _Read, known: KnownFile | None) -> bool:
        """Update the resource of a file in the index; return True if the index has none."""
        number, resource = self.layout.number, one.resource
        name = self._files.name_of(number, resource.id)
        if name not in (None, one.name):
            if self._folders.signature(self.folder, str(name)) is not None:
                self._skip(one, f"holds the same resource as {name}")
                return False
            # The file was renamed.
            self._files.forget(number, str(name))
        if known is not None and known.id not in (None, resource.id):
            self._forget(one.name, known)
        found = self.find(resource.id)
        if found is None:
            return True
        if self.content(found[0]) != one.content and not self._is_same(one, found[0]):
            self._replace(one, found[0])
        self._files.note(number, one.name, resource.id, one.signature)
        return False

    def _is_same(self, one: _Read, before: StoredResource) -> bool:
        """Return whether a file and the index have the same resource, apart from its version."""
        same = replace(one.resource, version=before.version, place=before.place, joined=before.joined)
        if same != before or self.layout.resource_type.members is None:
            return same == before
        named, own = one.found.members, self._own(before.source)
        # A file may leave out the type of a member.
        members = {key if key in named else ("", key[1]): display for key, display in own.items()}
        absent = self._files.absent(self.layout.number, before.id)
        return len(members) == len(own) and named == members | absent

    def _replace(self, one: _Read, before: StoredResource) -> None:
        after, version = one.resource, int(one.resource.version)
        if version == int(before.version):
            # Another program changed the file and kept its version.
            version += 1
        try:
            with self._database.savepoint():
                self._rows.replace(self.layout, before, after, str(version))
        except UniquenessConflict as exc:
            self._report(one.name, f"{exc}; both are stored, the first owns the value")
            self._rows.replace(self.layout, before, after, str(version), strict=False)
        self._set_members(one, before.source)

    def _insert(self, fresh: Sequence[_Read]) -> None:
        """Write new resources: all at once, or one by one when some contradict each other."""
        try:
            with self._database.savepoint():
                rids = self._rows.insert_many(self.layout, [one.resource for one in fresh])
        except UniquenessConflict:
            rids = {one.resource.id: self._inserted(one).source for one in fresh}
        for one in fresh:
            self._files.note(self.layout.number, one.name, one.resource.id, one.signature)
            self._set_members(one, rids[one.resource.id])

    def _inserted(self, one: _Read) -> StoredResource:
        version = one.resource.version
        try:
            with self._database.savepoint():
                return self._rows.insert(self.layout, one.resource, version)
        except UniquenessConflict as exc:
            self._report(one.name, f"{exc}; both are stored, the first owns the value")
            return self._rows.insert(self.layout, one.resource, version, strict=False)

    def _set_members(self, one: _Read, rid: int) -> None:
        """Make the members of a group those of its file."""
        if self.layout.resource_type.members is None:
            return
        named, own = one.found.members, self._own(rid)
        known = existing(named, self._members.find([member_id for _, member_id in named]))
        wanted = {member.key: named[key] for key, member in known.items()}
        absent = {key: display for key, display in named.items() if key not in known}
        add = [
            Member(member_id, type_name, display)
            for (type_name, member_id), display in wanted.items()
            if own.get((type_name, member_id), ...) != display
        ]
        leaving = [Member(member_id, type_name) for type_name, member_id in own.keys() - wanted.keys()]
        self._members.change(rid, add, [*leaving, *add])
        self._files.keep_absent(self.layout.number, one.resource.id, absent)

    def _forget(self, name: str, known: KnownFile) -> None:
        """Remove the resource of a file; its groups record it as absent, so that it can join again."""
        self._files.forget(self.layout.number, name)
        before = self.find(known.id) if known.id is not None else None
        if before is None:
            return
        resource = before[0]
        for number, group_id, display in self._files.groups_of(resource.source):
            self._files.add_absent(number, group_id, (self.layout.resource_type.name, resource.id), display)
        self._files.keep_absent(self.layout.number, resource.id, {})
        self._rows.delete(self.layout, resource)

    def _skip(self, one: _Read, problem: str) -> None:
        self._report(one.name, problem)
        self._files.note(self.layout.number, one.name, None, one.signature)

    def _report(self, name: str, problem: str) -> None:
        _LOG.warning("the file %s: %s", self._folders.path(self.folder, name), problem)
