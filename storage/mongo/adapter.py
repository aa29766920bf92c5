"""The MongoDB adapter: a document per resource in a collection per resource type.

Documents are described in `storage.mongo.documents`, what they are found by in `storage.mongo.layout`,
unique values in `storage.mongo.claims`, memberships in `storage.mongo.members`. No transactions are
used, which a single server does not have: every step leaves a state that a later call completes.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from storage.batches import batches
from storage.errors import (
    OutcomeUnknown,
    ResourceNotFound,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    ValueRefused,
    VersionMismatch,
    after_write,
    without_effect,
)
from storage.index_keys import place_of
from storage.mongo.adoption import Adoption
from storage.mongo.claims import LISTED, claims_in
from storage.mongo.database import Database, Documents, insert_new
from storage.mongo.departures import Departures
from storage.mongo.documents import WITHOUT_INDEX, Places, claims_of, document_of, is_ours, stored
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.look_up import LookUp
from storage.mongo.members import MEMBERS, Members
from storage.mongo.pages import PLACE, Pages
from storage.uniqueness import Twin, create_alone

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MongoOptions:
    """How the adapter uses its database.

    `collections` maps names of resource types to names of collections; others are called as the
    endpoint. `indexed` holds the paths to index, None is for all of them. `pool_size` is the most
    connections of a process.
    """

    collections: Mapping[str, str] = field(default_factory=dict)
    indexed: frozenset[str] | None = None
    pool_size: int = 10


@dataclass(frozen=True)
class _Kept:
    """What is known of one resource type."""

    layout: Layout
    pages: Pages
    adoption: Adoption


class MongoAdapter(StorageAdapter):
    """Keeps resources in MongoDB."""

    capabilities = Capabilities(native_uniqueness=True, members=True)

    def __init__(self, url: str, options: MongoOptions) -> None:
        self._database = Database(url, options.pool_size)
        self._options = options
        self._places = Places()
        self._layouts: dict[str, Layout] = {}
        look_up = LookUp(self._layouts)
        self._members = Members(self._database, look_up, self._places)
        self._links = Links(self._database, look_up)
        self._departures = Departures(self._database, look_up)
        self._types: dict[str, _Kept] = {}

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        for resource_type in resource_types:
            name = self._options.collections.get(resource_type.name, resource_type.endpoint.strip("/"))
            layout = Layout(resource_type, name, self._options.indexed)
            self._layouts[resource_type.name] = layout
            self._types[resource_type.name] = _Kept(
                layout,
                Pages(self._database, layout, self._links),
                Adoption(self._database, layout, self._members, self._places),
            )
        try:
            self._make_indexes()
            for kept in self._types.values():
                kept.adoption.finish()
            self._departures.finish_deletions()
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
        for kept in self._types.values():
            with suppress(StorageReadOnly):
                kept.adoption.find_new()

    def check_writable(self) -> None:
        # No document has this key: the server takes the change, and has nothing to do.
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
        kept = self._types[resource_type.name]
        for _ in range(2):
            with self._database.reading() as documents:
                collection = documents[kept.layout.collection]
                found = collection.find_one({"_id": _text(resource_type, resource_id)}, projection)
            if found is None:
                break
            if is_ours(found):
                return found
            try:
                kept.adoption.adopt(found)
            except (StorageReadOnly, ValueRefused):
                return kept.adoption.shown(found)
            except OutcomeUnknown as exc:
                # Whoever reads it next adopts it, if this did not.
                raise StorageUnavailable(str(exc)) from exc
        raise ResourceNotFound(resource_type.name, resource_id)

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return create_alone(
            lambda: self._created(resource_type, resource), lambda: self._has_twin(resource_type, resource.id)
        )

    def _created(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        layout = self._layouts[resource_type.name]
        written: list[str] = []
        with after_write(written), self._database.writing() as documents:
            making = claims_in(documents, layout, self._places)
            try:
                claims = making.claim(resource.id, layout.unique_values(resource.document))
            except VersionMismatch as exc:
                raise UniquenessConflict("id") from exc
            place = self._places.next()
            new = document_of(layout, resource, 1, place, claims)
            if insert_new(documents[layout.collection], [new]):
                making.release(claims)
                raise UniquenessConflict("id")
            written.append(resource.id)
            has_twin = bool(self._twins(documents, resource_type, [resource.id]))
            lost = [] if has_twin else making.lost(claims)
            if has_twin or lost:
                documents[layout.collection].delete_one({"_id": resource.id, PLACE: place})
                making.release(claims)
                raise Twin if has_twin else UniquenessConflict(lost[0].value.path)
        with after_write():
            # Of one that had the same id, whose deletion was not completed.
            self._departures.forget(resource_type.name, resource.id, before=place)
        return replace(resource, version="1", place=place_of(place), joined=False)

    def _has_twin(self, resource_type: ResourceType, resource_id: str) -> bool:
        with self._database.reading() as documents:
            return bool(self._twins(documents, resource_type, [resource_id]))

    def _twins(self, documents: Documents, resource_type: ResourceType, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that resources of other types have: each collection has its own."""
        return [
            row["_id"]
            for name, layout in self._layouts.items()
            if name != resource_type.name
            for row in documents[layout.collection].find({"_id": {"$in": list(ids)}}, {"_id": 1})
        ]

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        written: list[str] = []
        for batch in batches(resources):
            self._create_batch(self._layouts[resource_type.name], batch, written)

    def _create_batch(
        self, layout: Layout, resources: Sequence[StoredResource], written: list[str]
    ) -> None:
        """Keep new resources; on a conflict, none of them. `written` grows by their ids."""
        with after_write(written), self._database.writing() as documents:
            making = claims_in(documents, layout, self._places)
            collection = documents[layout.collection]
            try:
                claims = making.claim_many((r.id, layout.unique_values(r.document)) for r in resources)
            except VersionMismatch as exc:
                raise UniquenessConflict("id") from exc
            new = [
                document_of(layout, resource, 1, self._places.next(), made)
                for resource, made in zip(resources, claims, strict=True)
            ]
            taken = insert_new(collection, new)
            written += [resource.id for resource in resources]
            every = [claim for made in claims for claim in made]
            is_taken = bool(taken or self._twins(documents, layout.resource_type, [r.id for r in resources]))
            lost = [] if is_taken else making.lost(every)
            if is_taken or lost:
                ids, places = [one["_id"] for one in new], [one["_scim"]["place"] for one in new]
                collection.delete_many({"_id": {"$in": ids}, PLACE: {"$in": places}})
                making.release(every)
                raise UniquenessConflict("id" if is_taken else lost[0].value.path)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        def attempt() -> StoredResource:
            before = self._document(resource_type, resource.id)
            _require(resource_type, before, if_version)
            return self._replaced(self._layouts[resource_type.name], before, resource)

        return repeated(attempt, Changed) if if_version is None else attempt()

    def _replaced(self, layout: Layout, before: dict[str, Any], resource: StoredResource) -> StoredResource:
        """Put `resource` in place of `before` and return it. Raises Changed."""
        had, wanted = claims_of(before), layout.unique_values(resource.document)
        version, place = before["_scim"]["version"] + 1, before["_scim"]["place"]
        written: list[str] = []
        with after_write(written), self._database.writing() as documents:
            collection = documents[layout.collection]
            making = claims_in(documents, layout, self._places)
            # What it has without a claim is another one's, too: others wrote both, and both stay.
            shared = layout.unique_values(stored(before).document) - had.keys()
            try:
                made = making.claim(resource.id, wanted - had.keys() - shared)
            except VersionMismatch as exc:
                raise Changed from exc
            made += making.claim_free(resource.id, wanted & shared)
            kept = [claim for claim in had.values() if claim.value in wanted]
            after = document_of(layout, resource, version, place, [*kept, *made])
            if collection.replace_one(_at(before), after).matched_count == 0:
                making.release(made)
                raise Changed
            written.append(resource.id)
            if lost := making.lost(made):
                before["_scim"]["version"] = version + 1
                collection.replace_one(_at(after), before)
                making.release(made)
                raise UniquenessConflict(lost[0].value.path)
            making.release(claim for claim in had.values() if claim.value not in wanted)
        return replace(resource, version=str(version), place=place_of(place))

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        def attempt() -> None:
            before = self._document(resource_type, resource_id)
            _require(resource_type, before, if_version)
            self._deleted(self._layouts[resource_type.name], before)

        repeated(attempt, Changed) if if_version is None else attempt()

    def _deleted(self, layout: Layout, before: dict[str, Any]) -> None:
        """Delete a document that is still as it was read. Raises Changed."""
        name, resource_id = layout.resource_type.name, before["_id"]
        announced = self._departures.announce(name, resource_id)
        with self._database.writing() as documents:
            deleted = documents[layout.collection].delete_one(_at(before)).deleted_count == 1
        with after_write([resource_id] * deleted):
            if deleted:
                # Also what joined since the announcement was found not to be needed.
                self._departures.forget(name, resource_id)
                with self._database.writing() as documents:
                    claims_in(documents, layout, self._places).release(claims_of(before).values())
            if announced:
                self._departures.conclude(name, resource_id)
        if not deleted:
            raise Changed

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._types[resource_type.name].pages.every()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._types[resource_type.name].pages.candidates(selection)

    # -- members

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return self._members.of(resource_type, stored.id, limit)

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._members.among(resource_type, stored.id, member_ids)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        return self._members.change(resource_type, stored.id, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._members.above(resource_type.name, [one.id for one in stored])

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._members.find(resource_ids)


def _at(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query for a document as it was read."""
    kept = document["_scim"]
    return {"_id": document["_id"], "_scim.version": kept["version"], PLACE: kept["place"]}


def _require(resource_type: ResourceType, document: Mapping[str, Any], version: str | None) -> None:
    now = str(document["_scim"]["version"])
    if version is not None and now != version:
        raise VersionMismatch(f"{resource_type.name} {document['_id']} is at {now}")


def _text(resource_type: ResourceType, resource_id: str) -> str:
    """Return the id, if it can be one: half of a surrogate pair is no text."""
    try:
        resource_id.encode()
    except UnicodeEncodeError as exc:
        raise ResourceNotFound(resource_type.name, "with such an id") from exc
    return resource_id
