"""Creating, replacing and deleting resources.

No transactions are used, because a single server has none: each resource is one document, written as a
whole, and what a deletion leaves is removed by a later call.
"""

from collections.abc import Sequence
from dataclasses import replace

from pymongo.errors import DuplicateKeyError

from storage.adapter import StoredResource
from storage.attempts import Changed
from storage.batches import batches
from storage.claims import UniqueValue
from storage.errors import UniquenessConflict, after_write
from storage.index_keys import place_of
from storage.mongo.find import LookUp
from storage.mongo.form import PLACE, Places, document_of, listed_in, stored
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.unique import conflict, taken
from storage.mongo.wire import Collection, Database, Query, insert_new
from storage.uniqueness import Twin, create_alone


class TypeDocuments:
    """The documents of one resource type, and the parts of the adapter that a change of one needs."""

    def __init__(
        self, database: Database, layout: Layout, look_up: LookUp, links: Links, places: Places
    ) -> None:
        self._database = database
        self._layout = layout
        self._look_up = look_up
        self._links = links
        self._places = places
        self._name = layout.resource_type.name


class Writer(TypeDocuments):
    """Writes the resources of one type."""

    def create(self, resource: StoredResource) -> StoredResource:
        """Insert a new resource. Raises UniquenessConflict."""
        return create_alone(
            lambda: self._created(resource), lambda: bool(self._look_up.twins(self._name, [resource.id]))
        )

    def _created(self, resource: StoredResource) -> StoredResource:
        written: list[str] = []
        with after_write(written), self._database.writing() as documents:
            collection = documents[self._layout.collection]
            values = self._layout.unique_values(resource)
            place = self._places.next()
            new = document_of(self._layout, resource, 1, place, values)
            if insert_new(collection, [new]):
                raise conflict(collection, resource.id, values)
            written.append(resource.id)
            has_twin, has_links = self._look_up.beside(documents, self._name, resource.id)
            if has_twin:
                collection.delete_one({"_id": resource.id, PLACE: place})
                raise Twin
            if has_links:
                # An earlier resource with this id has left memberships: its deletion was interrupted.
                self._links.forget(self._name, resource.id, before=place)
        return replace(resource, version="1", place=place_of(place), joined=False)

    def create_many(self, resources: Sequence[StoredResource]) -> None:
        """Insert new resources; a conflict undoes the batch at hand. Raises UniquenessConflict."""
        written: list[str] = []
        for batch in batches(resources):
            self._create_batch(batch, written)

    def _create_batch(self, resources: Sequence[StoredResource], written: list[str]) -> None:
        """Insert new resources; on a conflict, none of them. `written` grows by their ids."""
        layout = self._layout
        with after_write(written), self._database.writing() as documents:
            collection = documents[layout.collection]
            values = [layout.unique_values(resource) for resource in resources]
            new = [
                document_of(layout, resource, 1, self._places.next(), own)
                for resource, own in zip(resources, values, strict=True)
            ]
            refused = insert_new(collection, new)
            written += [resource.id for resource in resources]
            if refused or self._look_up.twins(self._name, [resource.id for resource in resources]):
                first = refused[0] if refused else 0
                problem = conflict(collection, resources[first].id, values[first] if refused else ())
                ids, places = [one["_id"] for one in new], [one["_scim"]["place"] for one in new]
                collection.delete_many({"_id": {"$in": ids}, PLACE: {"$in": places}})
                raise problem

    def replace(self, resource: StoredResource, version: int, place: int) -> StoredResource:
        """Replace a document that is still at a version. Raises Changed, UniquenessConflict."""
        known = {"_id": resource.id, "_scim.version": version, PLACE: place}
        values = self._layout.unique_values(resource)

        def attempt(listed: set[UniqueValue]) -> bool:
            after = document_of(self._layout, resource, version + 1, place, listed)
            return collection.replace_one(known, after).matched_count == 1

        with self._database.writing() as documents:
            collection = documents[self._layout.collection]
            try:
                is_done = attempt(values)
            except DuplicateKeyError:
                is_done = attempt(values - self._shared(collection, known, values))
        if not is_done:
            raise Changed
        return replace(resource, version=str(version + 1), place=place_of(place))

    def _shared(self, collection: Collection, known: Query, values: set[UniqueValue]) -> set[UniqueValue]:
        """Return those of the new values of a document that it shares with another resource already.

        Other programs may have given one value to two resources. Both keep it, and one lists it. Raises
        UniquenessConflict for another value that is taken, and Changed.
        """
        before = collection.find_one(known)
        if before is None:
            raise Changed
        others = taken(collection, values, [before["_id"]]).keys()
        refused = others - (self._layout.unique_values(stored(before)) - listed_in(before))
        if refused:
            raise UniquenessConflict(min(refused).path)
        return set(others)

    def delete(self, resource_id: str, version: int | None) -> bool:
        """Delete a document, if it is at the version unless that is None; return whether it was."""
        known = {"_id": resource_id, **({} if version is None else {"_scim.version": version})}
        announced = self._links.announce(self._name, resource_id)
        with self._database.writing() as documents:
            deleted = documents[self._layout.collection].delete_one(known).deleted_count == 1
        with after_write([resource_id] * deleted):
            if deleted:
                # Memberships may be newer than the announcement, even one that was found unnecessary.
                self._links.forget(self._name, resource_id)
            if announced:
                self._links.conclude(self._name, resource_id)
        return deleted
