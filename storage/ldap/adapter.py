"""The LDAP adapter: an entry for each resource, which ordinary LDAP clients read as a person or a group."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import ldap

from schema.resource_type import ResourceType
from storage.adapter import (
    Capabilities,
    Found,
    Key,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.attempts import Changed, repeated
from storage.batches import batches
from storage.errors import ResourceNotFound, StorageError, ValueRefused, VersionMismatch, without_effect
from storage.foreign_entries import ForeignEntries
from storage.hashing import Hasher
from storage.ldap.capabilities import ServerCapabilities, read_capabilities
from storage.ldap.changes import kept_secrets
from storage.ldap.claims import UNIT, Uniqueness
from storage.ldap.deletions import Deletions
from storage.ldap.find import Tree
from storage.ldap.form import Located, Unit
from storage.ldap.layout import is_id
from storage.ldap.links import Members
from storage.ldap.matching import Matching
from storage.ldap.preparation import canonical, prepare, require_units, require_write_access
from storage.ldap.selection import Listing
from storage.ldap.server import Directory, Target
from storage.ldap.wire import Session
from storage.ldap.write import Writer, after_all

_BATCH: Final = 500

_Result = TypeVar("_Result")


class LdapAdapter(StorageAdapter):
    """Stores resources in entries below `base`, in one organizational unit for each resource type."""

    capabilities = Capabilities(
        native_uniqueness=True,
        members=True,
        versions_members=True,
        takes_secrets=True,
        mends=True,
    )

    def __init__(
        self,
        target: Target,
        base: str,
        units: Mapping[str, str],
        pool_size: int,
        restrict: Callable[[ServerCapabilities], ServerCapabilities] = lambda server: server,
        *,
        foreign_entries: ForeignEntries,
        hasher: Hasher,
    ) -> None:
        self._directory = Directory(target, pool_size)
        self._base = base
        self._names = units
        # Returns the capabilities that the adapter may use.
        self._restrict = restrict
        self._foreign_entries = foreign_entries
        self._kept_secrets = partial(kept_secrets, hasher)
        self._tree = Tree(())

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        try:
            with self._directory.lease() as session:
                server = self._restrict(read_capabilities(session))
                self._base = canonical(self._base)
                names = {r: self._names.get(r.name) or r.endpoint.strip("/") for r in resource_types}
                units = prepare(session, server, self._base, names, self._foreign_entries)
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()
        self._tree = Tree(units)
        self._members = Members(self._tree)
        self._matching = Matching(self._directory, self._tree, self._members)
        self._deletions = Deletions(self._directory, self._tree, self._members)
        self._listing = Listing(self._directory, self._tree, server)
        asserts = ldap.CONTROL_ASSERT in server.controls
        uniqueness = Uniqueness(self._tree, self._base, asserts, self._directory.refusals)
        self._writer = Writer(server, uniqueness, self._kept_secrets, self._directory.fits)

    def check(self) -> None:
        with self._directory.lease() as session:
            require_units(session, [unit.dn for unit in self._tree.units.values()])

    def check_writable(self) -> None:
        names = [f"ou={UNIT},{self._base}", *(unit.dn for unit in self._tree.units.values())]
        with without_effect(), self._directory.lease() as session:
            require_write_access(session, names)

    def mend(self) -> int:
        return self._deletions.finish()

    def count_hidden(self, resource_type: ResourceType) -> int | None:
        if not self._foreign_entries.are_hidden:
            return 0
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            return len(session.find(unit.dn, unit.foreign_filter, ["1.1"]))

    def close(self) -> None:
        self._directory.close()

    def _unit_of(self, resource_type: ResourceType) -> Unit:
        return self._tree.units[resource_type.name]

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        with self._directory.lease() as session:
            return self._found(session, self._unit_of(resource_type), resource_id).resource

    def _found(
        self, session: Session, unit: Unit, resource_id: str, if_version: str | None = None
    ) -> Located:
        found = self._tree.get(session, unit, resource_id)
        if found is None:
            raise ResourceNotFound(unit.resource_type.name, resource_id)
        if if_version is not None and found.stored.version != if_version:
            raise VersionMismatch(f"{unit.resource_type.name} {resource_id} is at another version")
        return found

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        unit = self._unit_of(resource_type)
        if not is_id(resource.id):
            raise ValueRefused("id: cannot be the name of an LDAP entry")
        with self._directory.lease() as session:
            return self._writer.create(session, unit, resource)

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        """Create resources. If the creation of one fails, the adapter deletes those before it."""
        created: list[StoredResource] = []
        try:
            for resource in resources:
                created.append(self.create(resource_type, resource))
        except StorageError:
            for resource in created:
                # A resource that another writer has changed since stays.
                with suppress(ResourceNotFound, VersionMismatch):
                    self.delete(resource_type, resource.id, resource.version)
            raise

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        unit = self._unit_of(resource_type)

        def change(session: Session) -> StoredResource:
            found: Located | None = resource.source
            if found is None or found.stored.version != if_version:
                found = self._found(session, unit, resource.id, if_version)
            after = replace(resource, place=found.stored.place, source=None)
            try:
                return self._writer.replace(session, unit, found, after)
            except Changed:
                # It may be gone since the caller read it.
                self._found(session, unit, resource.id, if_version)
                raise

        return self._attempted(change, if_version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        unit = self._unit_of(resource_type)

        def change(session: Session) -> None:
            found = self._own(session, unit, self._found(session, unit, resource_id, if_version))
            self._writer.delete(session, unit, found)
            with after_all():
                self._members.forget(session, found.entry.dn)

        with self._deletions.watched():
            self._attempted(change, if_version)

    def _own(self, session: Session, unit: Unit, found: Located) -> Located:
        """Return a resource whose entry has the layout of its unit, and so the number of a version."""
        if found.layout is unit.layout:
            return found
        self._writer.replace(session, unit, found, found.stored)
        return self._found(session, unit, found.stored.id)

    def _attempted(self, change: Callable[[Session], _Result], if_version: str | None = None) -> _Result:
        """Make a change. Without `if_version`, repeat it while other writers change the same entry."""

        def attempt() -> _Result:
            with self._directory.lease() as session:
                return change(session)

        return repeated(attempt, Changed) if if_version is None else attempt()

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        with self._directory.lease() as session:
            found = self._tree.matching(session, self._unit_of(resource_type), None)
        return (one.resource for one in found)

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            listed = self._listing.found(session, unit, selection) if selection.filter is None else None
            if listed is not None:
                return listed
            return self._matching.found(session, unit, selection.filter)

    # -- members

    def _group(self, session: Session, unit: Unit, stored: StoredResource) -> Located:
        found: Located | None = stored.source
        return self._found(session, unit, stored.id) if found is None else found

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            names, shown = self._members.names(session, self._group(session, unit, stored))
        size = _BATCH if limit is None else min(limit, _BATCH)
        return islice(self._members_named(names, shown, size), limit)

    def _members_named(
        self, names: Sequence[str], shown: Mapping[Key, str], size: int
    ) -> Iterator[Member]:
        for batch in batches(names, size):
            with self._directory.lease() as session:
                found = self._members.read(session, batch, shown)
            yield from found

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        with self._directory.lease() as session:
            group = self._group(session, self._unit_of(resource_type), stored)
            return self._members.among(session, group, member_ids)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        unit, joining, leaving = self._unit_of(resource_type), list(add), list(remove)

        def change(session: Session) -> bool:
            nonlocal stored
            group = self._group(session, unit, stored)
            # A repeated attempt reads the group again.
            stored = replace(stored, source=None)
            changes = self._members.change(session, unit, group, joining, leaving)
            if not changes:
                return False
            self._writer.change_members(session, unit, self._own(session, unit, group), changes)
            return True

        return self._attempted(change)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            names = {one.id: unit.dn_of(one.id) for one in stored if is_id(one.id)}
            return {i: above for i, above in self._members.above(session, names).items() if above}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        with self._directory.lease() as session:
            located = self._tree.locate(session, resource_ids).values()
        return [unit.member(found) for there in located for unit, found in there]
