"""Creating, replacing and deleting resources, and the claims on their unique values.

No transactions are used, because a single server has none: every step leaves a state that a later call
completes. A claim (`storage.claims`) is a document whose `_id` is the value. Documents of resources list
their values, each with the token of its claim.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from storage.adapter import StoredResource
from storage.attempts import Changed
from storage.batches import BATCH, batches
from storage.claims import Claim, Claims, UniqueValue
from storage.errors import UniquenessConflict, VersionMismatch, after_write
from storage.index_keys import place_of
from storage.mongo.find import LookUp
from storage.mongo.form import LISTED, PLACE, Places, claim_id, claims_of, document_of, stored
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.wire import CLAIMS, LEASE_S, Database, Documents, Query, insert_new
from storage.uniqueness import Twin, create_alone


class Writer:
    """Writes the resources of one type."""

    def __init__(
        self, database: Database, layout: Layout, look_up: LookUp, links: Links, places: Places
    ) -> None:
        self._database = database
        self._layout = layout
        self._look_up = look_up
        self._links = links
        self._places = places

    @property
    def _name(self) -> str:
        return self._layout.resource_type.name

    def create(self, resource: StoredResource) -> StoredResource:
        """Insert a new resource. Raises UniquenessConflict."""
        return create_alone(
            lambda: self._created(resource), lambda: bool(self._look_up.twins(self._name, [resource.id]))
        )

    def _created(self, resource: StoredResource) -> StoredResource:
        written: list[str] = []
        with after_write(written), self._database.writing() as documents:
            making = claims_in(documents, self._layout, self._places)
            try:
                claims = making.claim(resource.id, self._layout.unique_values(resource.document))
            except VersionMismatch as exc:
                raise UniquenessConflict("id") from exc
            place = self._places.next()
            new = document_of(self._layout, resource, 1, place, claims)
            if insert_new(documents[self._layout.collection], [new]):
                making.release(claims)
                raise UniquenessConflict("id")
            written.append(resource.id)
            has_twin = bool(self._look_up.twins(self._name, [resource.id]))
            lost = [] if has_twin else making.lost(claims)
            if has_twin or lost:
                documents[self._layout.collection].delete_one({"_id": resource.id, PLACE: place})
                making.release(claims)
                raise Twin if has_twin else UniquenessConflict(lost[0].value.path)
        with after_write():
            # An earlier resource with this id may have left memberships, if its deletion was interrupted.
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
            is_taken = bool(taken or self._look_up.twins(self._name, [r.id for r in resources]))
            lost = [] if is_taken else making.lost(every)
            if is_taken or lost:
                ids, places = [one["_id"] for one in new], [one["_scim"]["place"] for one in new]
                collection.delete_many({"_id": {"$in": ids}, PLACE: {"$in": places}})
                making.release(every)
                raise UniquenessConflict("id" if is_taken else lost[0].value.path)

    def replace(self, before: dict[str, Any], resource: StoredResource) -> StoredResource:
        """Replace a document that is still as it was read. Raises Changed, UniquenessConflict."""
        had, wanted = claims_of(before), self._layout.unique_values(resource.document)
        version, place = before["_scim"]["version"] + 1, before["_scim"]["place"]
        written: list[str] = []
        with after_write(written), self._database.writing() as documents:
            collection = documents[self._layout.collection]
            making = claims_in(documents, self._layout, self._places)
            # Other programs may have given one value to two resources. Both keep it, one without a claim.
            shared = self._layout.unique_values(stored(before).document) - had.keys()
            try:
                made = making.claim(resource.id, wanted - had.keys() - shared)
            except VersionMismatch as exc:
                raise Changed from exc
            made += making.claim_free(resource.id, wanted & shared)
            kept = [claim for claim in had.values() if claim.value in wanted]
            after = document_of(self._layout, resource, version, place, [*kept, *made])
            if collection.replace_one(_as_read(before), after).matched_count == 0:
                making.release(made)
                raise Changed
            written.append(resource.id)
            if lost := making.lost(made):
                before["_scim"]["version"] = version + 1
                collection.replace_one(_as_read(after), before)
                making.release(made)
                raise UniquenessConflict(lost[0].value.path)
            making.release(claim for claim in had.values() if claim.value not in wanted)
        return replace(resource, version=str(version), place=place_of(place))

    def delete(self, before: Mapping[str, Any]) -> None:
        """Delete a document that is still as it was read. Raises Changed."""
        resource_id = before["_id"]
        announced = self._links.announce(self._name, resource_id)
        with self._database.writing() as documents:
            deleted = documents[self._layout.collection].delete_one(_as_read(before)).deleted_count == 1
        with after_write([resource_id] * deleted):
            if deleted:
                # Memberships may be newer than the announcement, even one that was found unnecessary.
                self._links.forget(self._name, resource_id)
                with self._database.writing() as documents:
                    claims_in(documents, self._layout, self._places).release(claims_of(before).values())
            if announced:
                self._links.conclude(self._name, resource_id)
        if not deleted:
            raise Changed


def _as_read(document: Mapping[str, Any]) -> Query:
    """Return the query for a document as it was read."""
    kept = document["_scim"]
    return {"_id": document["_id"], "_scim.version": kept["version"], PLACE: kept["place"]}


class MongoClaims:
    """The claims on values of one resource type: a `storage.claims.ClaimStore`."""

    lease_s = LEASE_S
    admits_several = False

    def __init__(self, documents: Documents, layout: Layout) -> None:
        self._claims = documents[CLAIMS]
        self._resources = documents[layout.collection]

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        for start, batch in zip(count(0, BATCH), batches(claims)):
            refused = insert_new(self._claims, list(map(_document, batch)), ordered=True)
            if refused:
                return claims[start + refused[0] :]
        return ()

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        found = []
        for batch in batches(values):
            wanted = {claim_id(value): value for value in batch}
            for row in self._claims.find({"_id": {"$in": list(wanted)}}):
                found.append(Claim(wanted[row["_id"]], row["owner"], row["token"], row["at"]))
        return found

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        known = {"_id": claim_id(seen.value), "token": seen.token}
        return self._claims.replace_one(known, _document(new)).matched_count == 1

    def remove_if(self, claims: Sequence[Claim]) -> None:
        for batch in batches(claims):
            tokens = [claim.token for claim in batch]
            ids = [claim_id(claim.value) for claim in batch]
            # No two claims have one token, so the two lists name no other claims.
            self._claims.delete_many({"_id": {"$in": ids}, "token": {"$in": tokens}})

    def holds(
        self, values: Sequence[UniqueValue], owners: Collection[str] = ()
    ) -> Collection[tuple[str, UniqueValue]]:
        found = set()
        for batch in batches(values):
            query = {LISTED: {"$in": list(map(claim_id, batch))}}
            for document in self._resources.find(query, {"_scim.claims": 1}):
                found |= {(document["_id"], value) for value in claims_of(document).keys() & set(batch)}
        return found


def claims_in(
    documents: Documents, layout: Layout, places: Places, clock: Callable[[], float] = time.time
) -> Claims:
    """Return the claims that one call makes for resources of one type."""
    return Claims(MongoClaims(documents, layout), places.next, clock)


def _document(claim: Claim) -> dict[str, Any]:
    return {"_id": claim_id(claim.value), "owner": claim.owner, "token": claim.token, "at": claim.at}
