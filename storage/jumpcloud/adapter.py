"""The JumpCloud adapter: the users and user groups of an organisation as Users and Groups.

Modules, from the wire up: `wire`, `form`, `find`, `write`, `links`. JumpCloud has no transactions and no
conditional writes: the adapter reads a version, compares it, and writes the new state.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from schema import urns
from schema.resource_type import ResourceType
from storage.adapter import (
    Capabilities,
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import ResourceNotFound, UnsupportedByBackend, VersionMismatch
from storage.foreign_entries import ForeignEntries
from storage.forks import in_child
from storage.jumpcloud.client import Client
from storage.jumpcloud.find import GroupFinder, UserFinder
from storage.jumpcloud.form import GroupForm, ReadGroup, UserForm
from storage.jumpcloud.links import Links
from storage.jumpcloud.wire import Directory, Json, Missing
from storage.jumpcloud.write import GroupWriter, Turns, UserWriter, Writer


class JumpcloudAdapter(StorageAdapter):
    """Stores users and groups in JumpCloud."""

    capabilities = Capabilities(
        native_uniqueness=True,
        members=True,
        assigns_ids=True,
        takes_secrets=True,
        asked_at_start=False,
    )

    def __init__(self, client: Client, foreign_entries: ForeignEntries) -> None:
        self._client = client
        self._foreign_entries = foreign_entries
        self._directory = Directory(client)
        self._turns = Turns()
        self._writers: dict[str, Writer] = {}
        in_child(self._after_fork)

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        """Learn the two resource types. Raises UnsupportedByBackend for other ones."""
        by_schema = {resource_type.schema.id: resource_type for resource_type in resource_types}
        others = [r.name for urn, r in by_schema.items() if urn not in (urns.USER, urns.GROUP)]
        if others or len(by_schema) != 2:
            raise UnsupportedByBackend(
                "JumpCloud needs exactly the resource types User and Group, "
                f"not {', '.join(others) or 'only one of them'}"
            )
        directory = self._directory
        users = UserForm(by_schema[urns.USER], self._foreign_entries)
        groups = GroupForm(by_schema[urns.GROUP], self._foreign_entries)
        self._links = Links(directory, users, groups)
        self._writers = {
            users.resource_type.name: UserWriter(directory, users, UserFinder(directory, users, groups)),
            groups.resource_type.name: GroupWriter(directory, groups, GroupFinder(directory, groups, users)),
        }

    def check(self) -> None:
        self._directory.users(0, 1)
        self._directory.groups(0, 1)

    def count_hidden(self, resource_type: ResourceType) -> int | None:
        return None if self._foreign_entries.are_hidden else 0

    def close(self) -> None:
        self._client.close()

    def _after_fork(self) -> None:
        """Replace the locks: a thread of the parent process may hold some for ever."""
        self._turns = Turns()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        writer = self._writers[resource_type.name]
        with _existing(resource_type, resource_id):
            live = writer.live(resource_id)
        return next(writer.form.shown([live]))

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        writer = self._writers[resource_type.name]
        with self._turns.of(writer.names(resource)), _existing(resource_type, resource.id):
            return writer.create(resource)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        writer = self._writers[resource_type.name]
        names = [resource.id, *writer.names(resource)]
        with self._turns.of(names), _existing(resource_type, resource.id):
            return writer.replace(resource, _at(writer, resource.id, if_version))

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        writer = self._writers[resource_type.name]
        with self._turns.of([resource_id]), _existing(resource_type, resource_id):
            if if_version is not None or self._foreign_entries.are_hidden:
                _at(writer, resource_id, if_version)
            writer.delete(resource_id)

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._writers[resource_type.name].finder.scan()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._writers[resource_type.name].finder.candidates(selection)

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._links.members(self._read(resource_type, stored).live, limit), limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._links.among(stored.id, member_ids, stored.source)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        with self._turns.of([stored.id]), _existing(resource_type, stored.id):
            return self._links.change(self._read(resource_type, stored), add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        # A group is never a member of a group.
        ids = [one.id for one in stored] if resource_type.memberships is not None else []
        return self._links.memberships(ids)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._links.find(resource_ids)

    def _read(self, resource_type: ResourceType, stored: StoredResource) -> ReadGroup:
        if stored.source is not None:
            source: ReadGroup = stored.source
            return source
        with _existing(resource_type, stored.id):
            return ReadGroup(self._writers[resource_type.name].live(stored.id))


@contextmanager
def _existing(resource_type: ResourceType, resource_id: str) -> Iterator[None]:
    """Raise ResourceNotFound where JumpCloud has no such resource."""
    try:
        yield
    except Missing as exc:
        raise ResourceNotFound(resource_type.name, resource_id) from exc


def _at(writer: Writer, resource_id: str, if_version: str | None) -> Json:
    """Return a user or group as JumpCloud shows it. Raises VersionMismatch unless it is at the version."""
    live = writer.live(resource_id)
    version = writer.form.read(live).version
    if if_version is not None and version != if_version:
        raise VersionMismatch(f"{writer.form.resource_type.name} {resource_id} is at {version}")
    return live
