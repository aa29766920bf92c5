"""The MongoDB adapter: a document per resource in a collection per resource type.

Modules, from the wire up: `wire`, `form`, `find`, `pages`, `write`, `links`.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from schema.resource_type import ResourceType
from storage.adapter import (
    Adoptable,
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
from storage.index_keys import number_at
from storage.mongo.adoption import Adoption
from storage.mongo.filter import MongoFilterCompiler
from storage.mongo.find import LookUp
from storage.mongo.form import WITHOUT_INDEX, Places, is_ours
from storage.mongo.generation import Generation
from storage.mongo.indexes import make_indexes
from storage.mongo.layout import Layout
from storage.mongo.links import Links
from storage.mongo.pages import Pages
from storage.mongo.probe import check_queries
from storage.mongo.wire import MEMBERS, Database, Query
from storage.mongo.write import Writer
from storage.survey import Survey

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

    capabilities = Capabilities(native_uniqueness=True, members=True, mends=True, owners=True)

    def __init__(
        self, url: str, collections: Mapping[str, str], indexed: frozenset[str] | None, pool_size: int
    ) -> None:
        self._database = Database(url, pool_size)
        self._collections = collections
        self._indexed = indexed
        self._places = Places()
        self._layouts: dict[str, Layout] = {}
        self._generation = Generation(self._database)
        self._look_up = LookUp(self._database, self._layouts)
        self._links = Links(self._database, self._look_up, self._places)
        self._types: dict[str, _Parts] = {}

    # -- the backend as a whole

    def _follow(self, resource_types: Sequence[ResourceType]) -> None:
        for resource_type in resource_types:
            name = self._collections.get(resource_type.name, resource_type.endpoint.strip("/"))
            layout = Layout(resource_type, name, self._indexed)
            self._layouts[resource_type.name] = layout
            self._types[resource_type.name] = _Parts(
                layout,
                Pages(self._database, layout, MongoFilterCompiler(layout, self._look_up), self._links),
                Adoption(self._database, layout, self._look_up, self._links, self._places),
                Writer(self._database, layout, self._look_up, self._links, self._places),
            )

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        self._follow(resource_types)
        try:
            check_queries(self._database)
            self._generation.begin(self._layouts.values())
            with self._database.writing() as documents:
                make_indexes(documents, self._layouts.values())
            for parts in self._types.values():
                parts.adoption.finish()
                self._generation.complete(parts.layout)
            self._links.finish_deletions()
        except StorageReadOnly as exc:
            _LOG.warning("%s; searches do not find documents that are not indexed", exc)
            self._generation.look(self._layouts.values())
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()

    def to_adopt(self, resource_types: Sequence[ResourceType]) -> Iterator[Adoptable]:
        self._follow(resource_types)
        ids: dict[str, str] = {}
        for name, parts in self._types.items():
            for resource_id in parts.adoption.ids():
                ids.setdefault(resource_id, name)
        survey = Survey(ids)
        for parts in self._types.values():
            yield from parts.adoption.judged(survey)

    def check(self) -> None:
        with self._database.reading() as documents:
            documents.command("ping")
        self.mend()

    def mend(self) -> int:
        self._generation.look(self._layouts.values())
        done = 0
        with suppress(StorageReadOnly):
            for parts in self._types.values():
                resource_type = parts.layout.resource_type
                if not self._generation.is_own(resource_type):
                    continue
                done += parts.adoption.adopt_others()
                if not self._generation.is_complete(resource_type):
                    self._generation.complete(parts.layout)
        return done

    def check_writable(self) -> None:
        # No document has this key: the server accepts the change, and has nothing to do.
        with without_effect(), self._database.writing() as documents:
            documents[MEMBERS].update_one({"_id": ""}, {"$set": {"place": 0}})
        self._generation.require_all()

    def close(self) -> None:
        self._database.close()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self.get_to_patch(resource_type, resource_id, ())

    def get_to_patch(
        self, resource_type: ResourceType, resource_id: str, member_ids: Sequence[str]
    ) -> StoredResource:
        naming = self._links.naming(resource_type, resource_id, member_ids)
        document = self._document(resource_type, resource_id, naming)
        read_along = self._links.taken_named(document, member_ids)
        resource = self._links.resource(document)
        return resource if read_along is None else replace(resource, read_along=read_along)

    def _document(
        self, resource_type: ResourceType, resource_id: str, naming: Sequence[Query] = ()
    ) -> dict[str, Any]:
        """Return the document of a resource, adopted if that is possible, with its memberships.

        It also has what the stages of `naming` add.
        """
        parts = self._types[resource_type.name]
        own = {"_id": _text(resource_type, resource_id)}
        stages = [self._links.along(resource_type.name, resource_id), *naming]
        for _ in range(2):
            with self._database.reading() as documents:
                collection = documents[parts.layout.collection]
                rows = collection.aggregate([{"$match": own}, {"$project": WITHOUT_INDEX}, *stages])
                found = next(iter(rows), None)
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

    def _writer(self, resource_type: ResourceType) -> Writer:
        """Return what writes resources of a type. Raises SettingsSuperseded."""
        self._generation.require_own(resource_type)
        return self._types[resource_type.name].writer

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        return self._writer(resource_type).create(resource)

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        self._writer(resource_type).create_many(resources)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        def attempt() -> StoredResource:
            version, place = self._at(resource_type, resource.id, if_version)
            return self._writer(resource_type).replace(resource, version, place)

        if if_version is None:
            return repeated(attempt, Changed)
        version = _number(if_version)
        if version is not None and resource.place:
            with suppress(Changed):
                writer = self._writer(resource_type)
                return writer.replace(resource, version, number_at(resource.place))
        return attempt()

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        version = None if if_version is None else _number(if_version)
        is_version = if_version is None or version is not None

        def attempt() -> None:
            writer = self._writer(resource_type)
            if not (is_version and writer.delete(_text(resource_type, resource_id), version)):
                self._at(resource_type, resource_id, if_version)
                raise Changed

        repeated(attempt, Changed) if if_version is None else attempt()

    def _at(self, resource_type: ResourceType, resource_id: str, if_version: str | None) -> tuple[int, int]:
        """Return version and place of a resource. Raises VersionMismatch unless it is at the version."""
        kept = self._document(resource_type, resource_id)["_scim"]
        if if_version is not None and str(kept["version"]) != if_version:
            raise VersionMismatch(f"{resource_type.name} {resource_id} is at {kept['version']}")
        return kept["version"], kept["place"]

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._types[resource_type.name].pages.every()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        if not self._generation.is_complete(resource_type) and (selection.filter or selection.sort):
            # Without index entries, the answer is right too.
            return Found(self.scan(resource_type), selection.filter)
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
        self._generation.require_own(resource_type)
        return self._links.change(resource_type, stored.id, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        known = {one.id: one.memberships for one in stored if one.memberships is not None}
        asked = [one.id for one in stored if one.joined is not False and one.id not in known]
        return known | self._links.above(resource_type.name, asked)

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._look_up.find(resource_ids)


def _number(version: str) -> int | None:
    """Return the number of a version, None for a text that is none."""
    return int(version) if re.fullmatch("[1-9][0-9]{0,17}", version) else None


def _text(resource_type: ResourceType, resource_id: str) -> str:
    """Return the id. Raises ResourceNotFound if it is no text, such as half of a surrogate pair."""
    try:
        resource_id.encode()
    except UnicodeEncodeError as exc:
        raise ResourceNotFound(resource_type.name, "with such an id") from exc
    return resource_id
