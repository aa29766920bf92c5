"""The MongoDB adapter: a document per resource in a collection per resource type.

Modules, from the wire up: `wire`, `form`, `find`, `write`, `links`.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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
from storage.attempts import Changed, repeated
from storage.errors import (
    OutcomeUnknown,
    ResourceNotFound,
    StorageReadOnly,
    StorageUnavailable,
    ValueRefused,
    VersionMismatch,
    without_effect,
)
from storage.mongo.adoption import Adoption
from storage.mongo.filter import MongoFilterCompiler
from storage.mongo.find import LookUp, Pages
from storage.mongo.form import LISTED, PLACE, WITHOUT_INDEX, Places, is_ours, stored
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.wire import MEMBERS, Database
from storage.mongo.write import Writer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Parts:
    """The parts of the adapter for one resource type."""

    layout: Layout
    pages: Pages
    adoption: Adoption
    writer: Writer


class MongoAdapter(StorageAdapter):
    """Keeps resources in MongoDB.

    `collections` maps names of resource types to names of collections; the default is that of the endpoint.
    `indexed` holds the paths to index, None is for all of them. `pool_size` is the most connections of a
    process.
    """

    capabilities = Capabilities(native_uniqueness=True, members=True)

    def __init__(
        self, url: str, collections: Mapping[str, str], indexed: frozenset[str] | None, pool_size: int
    ) -> None:
        self._database = Database(url, pool_size)
        self._collections = collections
        self._indexed = indexed
        self._places = Places()
        self._layouts: dict[str, Layout] = {}
        self._look_up = LookUp(self._database, self._layouts)
        self._links = Links(self._database, self._look_up, self._places)
        self._types: dict[str, _Parts] = {}

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        for resource_type in resource_types:
            name = self._collections.get(resource_type.name, resource_type.endpoint.strip("/"))
            layout = Layout(resource_type, name, self._indexed)
            self._layouts[resource_type.name] = layout
            self._types[resource_type.name] = _Parts(
                layout,
                Pages(self._database, layout, MongoFilterCompiler(layout, self._look_up)),
                Adoption(self._database, layout, self._look_up, self._links, self._places),
                Writer(self._database, layout, self._look_up, self._links, self._places),
            )
        try:
            self._make_indexes()
            for parts in self._types.values():
                parts.adoption.finish()
            self._links.finish_deletions()
        except StorageReadOnly as exc:
            _LOG.warning("%s; searches do not find documents that are not indexed", exc)
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()

    def _make_indexes(self) -> None:
        with self._database.writing() as documents:
            for layout in self._layouts.values():
                collection = documents[layout.collection]
                collection.create_index([("_scim.keys", 1), (PLACE, 1)])
                collection.create_index([(PLACE, 1)])
                collection.create_index([("_scim.layout", 1)])
                collection.create_index([(LISTED, 1)])
                for sorted_field in layout.sorted_fields():
                    collection.create_index([(sorted_field, 1), (PLACE, 1)])
            documents[MEMBERS].create_index([("groupType", 1), ("group", 1), ("place", 1)])
            documents[MEMBERS].create_index([("memberType", 1), ("member", 1), ("group", 1)])

    def check(self) -> None:
        with self._database.reading() as documents:
            documents.command("ping")
        for parts in self._types.values():
            with suppress(StorageReadOnly):
                parts.adoption.find_new()

    def check_writable(self) -> None:
        # No document has this key: the server accepts the change, and has nothing to do.
        with without_effect(), self._database.writing() as documents:
            documents[MEMBERS].update_one({"_id": ""}, {"$set": {"place": 0}})

    def close(self) -> None:
        self._database.close()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return stored(self._document(resource_type, resource_id, WITHOUT_INDEX))

    def _document(
        self, resource_type: ResourceType, resource_id: str, projection: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the document of a resource, adopted if that is possible."""
        parts = self._types[resource_type.name]
        for _ in range(2):
            with self._database.reading() as documents:
                collection = documents[parts.layout.collection]
                found = collection.find_one({"_id": _text(resource_type, resource_id)}, projection)
            if found is None:
                break
            if is_ours(found):
                return found
            try:
                parts.adoption.adopt(found)
            except (StorageReadOnly, ValueRefused):
                return parts.adoption.shown(found)
            except OutcomeUnknown as exc:
                # If the document was not adopted, the next request adopts it.
                raise StorageUnavailable(str(exc)) from exc
        raise ResourceNotFound(resource_type.name, resource_id)

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return self._types[resource_type.name].writer.create(resource)

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        self._types[resource_type.name].writer.create_many(resources)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        def attempt() -> StoredResource:
            before = self._at(resource_type, resource.id, if_version)
            return self._types[resource_type.name].writer.replace(before, resource)

        return repeated(attempt, Changed) if if_version is None else attempt()

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        def attempt() -> None:
            before = self._at(resource_type, resource_id, if_version)
            self._types[resource_type.name].writer.delete(before)

        repeated(attempt, Changed) if if_version is None else attempt()

    def _at(self, resource_type: ResourceType, resource_id: str, if_version: str | None) -> dict[str, Any]:
        """Return a document as it is now. Raises VersionMismatch unless it is at the version."""
        document = self._document(resource_type, resource_id)
        version = str(document["_scim"]["version"])
        if if_version is not None and version != if_version:
            raise VersionMismatch(f"{resource_type.name} {resource_id} is at {version}")
        return document

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._types[resource_type.name].pages.every()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._types[resource_type.name].pages.candidates(selection)

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return self._links.of(resource_type, stored.id, limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._links.among(resource_type, stored.id, member_ids)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        return self._links.change(resource_type, stored.id, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._links.above(resource_type.name, [one.id for one in stored])

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._look_up.find(resource_ids)


def _text(resource_type: ResourceType, resource_id: str) -> str:
    """Return the id. Raises ResourceNotFound if it is no text, such as half of a surrogate pair."""
    try:
        resource_id.encode()
    except UnicodeEncodeError as exc:
        raise ResourceNotFound(resource_type.name, "with such an id") from exc
    return resource_id
