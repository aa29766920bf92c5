"""The adapter for another SCIM service provider: this server stands in front of it (RFC 7644)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice

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
from storage.errors import BadBackendAnswer, StorageUnavailable
from storage.forward.abilities import Known
from storage.forward.directory import Directory
from storage.forward.find import Search
from storage.forward.form import ResourceReader
from storage.forward.links import Links
from storage.forward.listing import Listing
from storage.forward.wire import KEY_REFUSED, read_request, scim_client
from storage.forward.write import Exchange, Remembered


class ForwardAdapter(StorageAdapter):
    """Keeps resources at an upstream service provider, under the ids that it gives them."""

    capabilities = Capabilities(
        native_uniqueness=True,
        members=True,
        assigns_ids=True,
        versions_members=True,
        takes_secrets=True,
        asked_at_start=False,
    )

    def __init__(self, url: str, key: str, timeout_s: float, pool_size: int) -> None:
        self._client = scim_client(url, key, timeout_s, pool_size)
        self._known = Known(self._client)
        self._remembered = Remembered()
        self._types: dict[str, ResourceType] = {}
        self._exchanges: dict[str, Exchange] = {}
        self._searches: dict[str, Search] = {}
        self._links: dict[str, Links] = {}
        self._directory = Directory(
            self._types, self._exchanges, self._searches, self._links, self._known, self._remembered
        )

    # -- the upstream as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        """Get ready for these types. The upstream is not asked: it may be down when this server starts."""
        for one in resource_types:
            client, known, remembered = self._client, self._known, self._remembered
            reader = ResourceReader(one, resource_types)
            exchange = Exchange(client, one, reader, known, remembered)
            search = Search(one, Listing(client, one, reader, known), known)
            self._types[one.name], self._exchanges[one.name] = one, exchange
            self._searches[one.name] = search
            if one.members is not None:
                self._links[one.name] = Links(
                    client, one, reader, exchange, search, known, remembered
                )

    def check(self) -> None:
        for resource_type in self._types.values():
            request = read_request(resource_type.endpoint, {"attributes": "id", "count": "1"})
            answer = self._client.send(request)
            if answer.status == 403:
                raise StorageUnavailable(f"{self._client.name} {KEY_REFUSED}")
            if answer.document is None or not {"totalResults", "Resources"} & answer.document.keys():
                raise BadBackendAnswer(f"{self._client.name} does not list {resource_type.endpoint}")

    def close(self) -> None:
        self._client.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which nothing is read twice; calls take effect one by one all the same."""
        return self._remembered.operation()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._exchanges[resource_type.name].current(resource_id).stored

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return self._exchanges[resource_type.name].create(resource).stored

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        return self._exchanges[resource_type.name].replace(resource, if_version).stored

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._exchanges[resource_type.name].delete(resource_id, if_version)

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._searches[resource_type.name].scan()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._searches[resource_type.name].candidates(selection)

    # -- members

    # What was read of a resource is remembered as long as an operation lasts.

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._links[resource_type.name].members(stored.id), limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        held = self._links[resource_type.name].held(stored.id, member_ids)
        if held is None:
            return super().among_members(resource_type, stored, member_ids)
        return self._directory.find(held)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        return self._links[resource_type.name].change(stored.id, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._directory.memberships(resource_type.name, stored)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._directory.find(resource_ids)
