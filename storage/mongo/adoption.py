"""Adopting documents that other programs wrote, or that were indexed for other schemas.

HarryKodden/scim keeps a resource as a document with the id as `_id` and without `_scim.layout`. Such
documents get it one by one; each is whole before and after.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import orjson
from pymongo.errors import DuplicateKeyError

from schema.values import format_date_time
from storage.adapter import Adoptable, Key, StoredResource
from storage.errors import ValueRefused
from storage.foreign import ForeignReader, adopted
from storage.index_keys import number_at
from storage.mongo.form import NO_VALUE, PLACE, as_json, document_of, is_ours, stored
from storage.mongo.unique import taken
from storage.mongo.write import TypeDocuments
from storage.progress import Progress
from storage.survey import Survey

_LOG = logging.getLogger(__name__)

_BATCH: Final = 200
# How often a document is tried whose values others take and give up meanwhile.
_ATTEMPTS: Final = 5


class Adoption(TypeDocuments):
    """Adopts the documents of one resource type."""

    @cached_property
    def _reader(self) -> ForeignReader:
        return ForeignReader(self._layout.resource_type)

    def finish(self) -> None:
        """Adopt every document that is there, and say which cannot be."""
        self.adopt_others()
        with self._database.reading() as documents:
            strange = {"_scim.layout": None, "_id": {"$not": {"$type": "string"}}}
            left = documents[self._layout.collection].count_documents(strange)
        if left:
            name = self._layout.collection
            _LOG.warning("%d documents in %s are not adopted: their _id is not a string", left, name)

    def adopt_others(self) -> int:
        """Adopt every document whose index entries are not those of the present rules; return how many."""
        query = {"_id": {"$type": "string"}, "_scim.layout": {"$ne": self._layout.signature}}
        with self._database.reading() as documents:
            total = documents[self._layout.collection].count_documents(query)
        taken = self._all(query, Progress(f"adopting {self._layout.collection}", total))
        if taken:
            _LOG.info("adopted %d documents in %s", taken, self._layout.collection)
        return taken

    def ids(self) -> Iterator[str]:
        """Yield the id of each document that is a resource, or becomes one."""
        with self._database.reading() as documents:
            for row in documents[self._layout.collection].find({"_id": {"$type": "string"}}, {"_id": 1}):
                yield row["_id"]

    def judged(self, survey: Survey) -> Iterator[Adoptable]:
        """Yield each document of another program with what is wrong with it; nothing is written."""
        resource_type = self._layout.resource_type
        with self._database.reading() as documents:
            for row in documents[self._layout.collection].find().sort("_id", 1):
                if not isinstance(row["_id"], str):
                    problem = "its _id is not a string"
                    yield Adoptable(resource_type.name, str(row["_id"]), [problem], is_left=True)
                elif is_ours(row):
                    # Others may have its values.
                    survey.judge(resource_type, row["_id"], stored(row).document)
                else:
                    yield survey.judge(resource_type, row["_id"], self._plain(row))

    def _all(self, query: Mapping[str, Any], progress: Progress) -> int:
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
                    _LOG.warning("%s %s: %s", self._name, row["_id"], problem)
            progress.at(progress.done + len(rows))
            if len(rows) < _BATCH:
                return taken
            further = {"$and": [query, {"_id": {"$gt": rows[-1]["_id"]}}]}

    def adopt(self, document: Mapping[str, Any]) -> None:
        """Adopt one document, unless another process changes it at the same time."""
        if is_ours(document):
            resource = stored(document)
            version, place = int(resource.version), number_at(resource.place)
            known: dict[str, Any] = {"_scim.version": version, PLACE: place}
        else:
            resource = self._foreign(document, self._join)
            self._report_twin(resource.id)
            version, place = 1, self._places.next()
            known = {"_scim": document.get("_scim")}
        values = self._layout.unique_values(resource)
        with self._database.writing() as documents:
            collection = documents[self._layout.collection]
            for _ in range(_ATTEMPTS):
                new = document_of(self._layout, resource, version, place, values)
                with suppress(DuplicateKeyError):
                    collection.replace_one({"_id": resource.id, **known}, new)
                    return
                others = taken(collection, values, [resource.id])
                for value in sorted(others):
                    text = "%s %s: another resource has the same %s"
                    _LOG.warning(text, self._name, resource.id, value.path)
                values -= others.keys()

    def _report_twin(self, resource_id: str) -> None:
        if self._look_up.twins(self._name, [resource_id]):
            text = "%s %s: a resource of another type has the same id; both are stored"
            _LOG.warning(text, self._name, resource_id)

    def shown(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document that a foreign one would become; nothing is written."""
        resource = self._foreign(document, lambda resource_id, members: None)
        return document_of(self._layout, resource, 1, 0, [])

    def _foreign(
        self, document: Mapping[str, Any], join: Callable[[str, Mapping[Key, str | None]], None]
    ) -> StoredResource:
        resource_id = document["_id"]
        found = self._reader.read(self._plain(document))
        for problem in (*found.problems, *self._reader.missing(found)):
            _LOG.warning("%s %s: %s", self._name, resource_id, problem)
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
            text = "%s %s: %d members do not exist and are left out"
            _LOG.warning(text, self._name, resource_id, lost)

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
