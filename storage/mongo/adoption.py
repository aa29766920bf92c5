"""Adopting documents that other programs wrote, or that were indexed for other schemas.

HarryKodden/scim keeps a resource as a document with the id as `_id` and without `_scim.layout`. Such
documents get it one by one; each is whole before and after.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schema.values import format_date_time
from storage.adapter import Key, StoredResource
from storage.claims import Claim, Claims, UniqueValue
from storage.errors import UniquenessConflict, ValueRefused, VersionMismatch
from storage.foreign import ForeignReader, adopted
from storage.index_keys import number_at
from storage.mongo.find import LookUp
from storage.mongo.form import NO_VALUE, PLACE, Places, as_json, claims_of, document_of, is_ours, stored
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.wire import Database
from storage.mongo.write import claims_in

_LOG = logging.getLogger(__name__)

_BATCH: Final = 200


class Adoption:
    """Adopts the documents of one resource type."""

    def __init__(
        self, database: Database, layout: Layout, look_up: LookUp, links: Links, places: Places
    ) -> None:
        self._database = database
        self._layout = layout
        self._look_up = look_up
        self._links = links
        self._places = places
        self._reader = ForeignReader(layout.resource_type)

    def finish(self) -> None:
        """Adopt every document whose index entries are not those of the present schemas."""
        query = {"_id": {"$type": "string"}, "_scim.layout": {"$ne": self._layout.signature}}
        taken = self._all(query)
        if taken:
            _LOG.info("adopted %d documents in %s", taken, self._layout.collection)
        with self._database.reading() as documents:
            strange = {"_scim.layout": None, "_id": {"$not": {"$type": "string"}}}
            left = documents[self._layout.collection].count_documents(strange)
        if left:
            name = self._layout.collection
            _LOG.warning("%d documents in %s are not adopted: their _id is not a string", left, name)

    def find_new(self) -> None:
        """Adopt documents that other programs have written since."""
        self._all({"_id": {"$type": "string"}, "_scim.layout": None})

    def _all(self, query: Mapping[str, Any]) -> int:
        taken, further = 0, dict(query)
        while True:
            with self._database.reading() as documents:
                found = documents[self._layout.collection].find(further)
                rows = list(found.sort("_id", 1).limit(_BATCH))
            for row in rows:
                try:
                    self.adopt(row)
                    taken += 1
                except ValueRefused as problem:
                    _LOG.warning("%s %s: %s", self._layout.resource_type.name, row["_id"], problem)
            if len(rows) < _BATCH:
                return taken
            further = {"$and": [query, {"_id": {"$gt": rows[-1]["_id"]}}]}

    def adopt(self, document: Mapping[str, Any]) -> None:
        """Adopt one document, unless another process changes it at the same time."""
        if is_ours(document):
            resource, claims = stored(document), claims_of(document)
            version, place = int(resource.version), number_at(resource.place)
            known: dict[str, Any] = {"_scim.version": version, PLACE: place}
        else:
            resource, claims = self._foreign(document, self._join), {}
            self._report_twin(resource.id)
            version, place = 1, self._places.next()
            known = {"_scim": document.get("_scim")}
        with self._database.writing() as documents:
            making = claims_in(documents, self._layout, self._places)
            kept = [*claims.values(), *self._made(making, resource, claims)]
            new = document_of(self._layout, resource, version, place, kept)
            written = documents[self._layout.collection].replace_one({"_id": resource.id, **known}, new)
            if written.matched_count == 0 or making.lost(kept):
                making.release(claim for claim in kept if claim.value not in claims)

    def _report_twin(self, resource_id: str) -> None:
        name = self._layout.resource_type.name
        if self._look_up.twins(name, [resource_id]):
            _LOG.warning(
                "%s %s: a resource of another type has the same id; both are stored", name, resource_id
            )

    def _made(
        self, making: Claims, resource: StoredResource, known: Mapping[UniqueValue, Claim]
    ) -> list[Claim]:
        made: list[Claim] = []
        for value in sorted(self._layout.unique_values(resource.document) - known.keys()):
            try:
                made += making.claim(resource.id, [value])
            except UniquenessConflict as conflict:
                name = self._layout.resource_type.name
                _LOG.warning("%s %s: another resource has the same %s", name, resource.id, conflict.attribute)
            except VersionMismatch:
                # Another process adopts the same document.
                continue
        return made

    def shown(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document that a foreign one would become; nothing is written."""
        resource = self._foreign(document, lambda resource_id, members: None)
        return document_of(self._layout, resource, 1, 0, [])

    def _foreign(
        self, document: Mapping[str, Any], join: Callable[[str, Mapping[Key, str | None]], None]
    ) -> StoredResource:
        resource_id, name = document["_id"], self._layout.resource_type.name
        found = self._reader.read(self._plain(document))
        for problem in found.problems:
            _LOG.warning("%s %s: %s", name, resource_id, problem)
        join(resource_id, found.members)
        now = format_date_time(datetime.now(UTC))
        whole = {"schemas": found.resource["schemas"], "id": resource_id, **found.resource}
        created = found.created or found.last_modified or now
        modified = found.last_modified or created
        return StoredResource(
            resource_id, orjson.dumps(whole).decode(), created=created, last_modified=modified
        )

    def _join(self, resource_id: str, members: Mapping[Key, str | None]) -> None:
        joining = adopted(members, self._look_up.find([member_id for _, member_id in members]))
        if joining:
            self._links.change(self._layout.resource_type, resource_id, joining, ())
        lost = len(members) - len(joining)
        if lost:
            name = self._layout.resource_type.name
            _LOG.warning("%s %s: %d members do not exist and are left out", name, resource_id, lost)

    def _plain(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of a foreign document as JSON has them, extensions under their URNs."""
        attributes = dict(document)
        for extension in self._layout.resource_type.extensions:
            # `$set` with a URN as name makes an object within an object at each of its dots.
            outer, *inner = extension.schema.id.split(".")
            value = attributes.get(outer) if inner else None
            for name in inner:
                value = value.get(name) if isinstance(value, Mapping) else None
            if isinstance(value, Mapping):
                attributes[extension.schema.id] = value
                del attributes[outer]
        plain = {}
        for name, value in attributes.items():
            # Names with `_` in front are no attributes, but belong to the other program: _id, _cls, __v.
            single = NO_VALUE if name.startswith("_") else as_json(value)
            if single is not NO_VALUE:
                plain[name] = single
        return plain
