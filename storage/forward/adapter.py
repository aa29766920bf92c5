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
from storage.forward.directory import Directory, TypeParts
from storage.forward.find import Search
from storage.forward.form import ResourceReader
from storage.forward.links import Links
from storage.forward.listing import Listing
from storage.forward.wire import KEY_REFUSED, read_request, scim_client
from storage.forward.write import Exchange, Remembered, Session


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
        client = scim_client(url, key, timeout_s, pool_size)
        self._session = Session(client, Known(client), Remembered())
        self._types: dict[str, TypeParts] = {}
        self._directory = Directory(self._session, self._types)

    # -- the upstream as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        """Get ready for these types. The upstream is not asked: it may be down when this server starts."""
        for one in resource_types:
            client, known = self._session.client, self._session.known
            reader = ResourceReader(one, resource_types)
            exchange = Exchange(self._session, one, reader)
            search = Search(one, Listing(client, one, reader, known), known)
            links = Links(exchange, search) if one.members is not None else None
            self._types[one.name] = TypeParts(exchange, search, links)

    def check(self) -> None:
        client = self._session.client
        for parts in self._types.values():
            endpoint = parts.resource_type.endpoint
            answer = client.send(read_request(endpoint, {"attributes": "id", "count": "1"}))
            if answer.status == 403:
                raise StorageUnavailable(f"{client.name} {KEY_REFUSED}")
            if answer.document is None or not {"totalResults", "Resources"} & answer.document.keys():
                raise BadBackendAnswer(f"{client.name} does not list {endpoint}")

    def close(self) -> None:
        self._session.client.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which nothing is read twice; calls take effect one by one all the same."""
        return self._session.remembered.operation()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._types[resource_type.name].exchange.current(resource_id).stored

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return self._types[resource_type.name].exchange.create(resource).stored

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        return self._types[resource_type.name].exchange.replace(resource, if_version).stored

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        self._types[resource_type.name].exchange.delete(resource_id, if_version)

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._types[resource_type.name].search.scan()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._types[resource_type.name].search.candidates(selection)

    # -- members

    # What was read of a resource is remembered as long as an operation lasts.

    def _links(self, resource_type: ResourceType) -> Links:
        links = self._types[resource_type.name].links
        assert links is not None
        return links

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return islice(self._links(resource_type).members(stored.id), limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        held = self._links(resource_type).held(stored.id, member_ids)
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
        return self._links(resource_type).change(stored.id, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._directory.memberships(resource_type.name, stored)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._directory.find(resource_ids)
