"""The JumpCloud adapter: users and user groups of an organisation as Users and Groups of SCIM.

The calls are in `storage.jumpcloud.directory`, what a resource is made of in `forms`, the rest of it
in `kept`, filters in `filter`, members in `memberships`. JumpCloud has no transactions and no
conditional writes: a version is read, compared, and the new state is written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from storage.errors import UnsupportedByBackend, VersionMismatch
from storage.forks import in_child
from storage.jumpcloud.client import Client
from storage.jumpcloud.directory import Directory
from storage.jumpcloud.forms import GroupForm, UserForm
from storage.jumpcloud.groups import Groups
from storage.jumpcloud.memberships import Memberships
from storage.jumpcloud.turns import Turns
from storage.jumpcloud.users import Users


class JumpcloudAdapter(StorageAdapter):
    """Keeps users and groups in JumpCloud."""

    capabilities = Capabilities(
        native_uniqueness=True,
        members=True,
        assigns_ids=True,
        takes_secrets=True,
        asked_at_start=False,
    )

    def __init__(self, client: Client) -> None:
        self._client = client
        self._directory = Directory(client)
        self._turns = Turns()
        self._parts: dict[str, Users | Groups] = {}
        in_child(self._after_fork)

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        """Find out which type is which. Raises UnsupportedByBackend for one that JumpCloud has not."""
        by_schema = {resource_type.schema.id: resource_type for resource_type in resource_types}
        others = [r.name for urn, r in by_schema.items() if urn not in (urns.USER, urns.GROUP)]
        if others or len(by_schema) != 2:
            raise UnsupportedByBackend(
                "JumpCloud needs exactly the resource types User and Group, "
                f"not {', '.join(others) or 'only one of them'}"
            )
        users, groups = UserForm(by_schema[urns.USER]), GroupForm(by_schema[urns.GROUP])
        self._members = Memberships(self._directory, users, groups)
        self._users = Users(self._directory, users, self._members)
        self._groups = Groups(self._directory, groups, self._members)
        self._parts = {by_schema[urns.USER].name: self._users, by_schema[urns.GROUP].name: self._groups}

    def check(self) -> None:
        self._directory.users(0, 1)
        self._directory.groups(0, 1)

    def close(self) -> None:
        self._client.close()

    def _after_fork(self) -> None:
        self._turns = Turns()
        if self._parts:
            self._members.links.recent.after_fork()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        part = self._parts[resource_type.name]
        return part.form.read(part.live(resource_id))

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        part = self._parts[resource_type.name]
        with self._turns.of(part.names(resource)):
            return part.create(resource)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        part = self._parts[resource_type.name]
        with self._turns.of([resource.id, *part.names(resource)]):
            live = self._at(part, resource.id, if_version)
            return part.replace(resource, live)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        part = self._parts[resource_type.name]
        with self._turns.of([resource_id]):
            if if_version is not None:
                self._at(part, resource_id, if_version)
            part.delete(resource_id)
            self._members.links.recent.forget(resource_id)

    def _at(self, part: Users | Groups, resource_id: str, if_version: str | None) -> dict[str, object]:
        live = part.live(resource_id)
        version = part.form.read(live).version
        if if_version is not None and version != if_version:
            raise VersionMismatch(f"{part.form.resource_type.name} {resource_id} is at {version}")
        return live

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._parts[resource_type.name].scan()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._parts[resource_type.name].candidates(selection)

    # -- members

    def _live(self, stored: StoredResource) -> dict[str, object]:
        return self._groups.live(stored.id) if stored.source is None else stored.source

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._members.members(self._live(stored), limit), limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._members.among(stored.id, member_ids)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        with self._turns.of([stored.id]):
            return self._members.change(self._live(stored), add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        # A group is never in a group.
        return self._members.of([one.id for one in stored]) if resource_type.memberships is not None else {}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._members.find(resource_ids)
