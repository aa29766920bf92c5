"""The LDAP adapter: an entry for each resource, which ordinary LDAP clients read as a person or a group."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Final, TypeVar

import ldap
from ldap.dn import dn2str, escape_dn_chars, str2dn

from schema.resource_type import ResourceType
from scim_filter.nodes import And, BoundComparison, Node
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
from storage.errors import (
    ResourceNotFound,
    StorageError,
    StorageUnavailable,
    ValueRefused,
    VersionMismatch,
    without_effect,
)
from storage.ldap.claims import UNIT, Uniqueness
from storage.ldap.find import Tree
from storage.ldap.form import Located, Unit
from storage.ldap.layout import is_id, normal
from storage.ldap.links import Members
from storage.ldap.selection import LdapFilterCompiler, Listing
from storage.ldap.server import Directory, ServerCapabilities, Target, read_capabilities, sentence
from storage.ldap.wire import Session
from storage.ldap.write import Writer

_BATCH: Final = 500

_Result = TypeVar("_Result")


class LdapAdapter(StorageAdapter):
    """Stores resources in entries below `base`, in one organizational unit for each resource type."""

    capabilities = Capabilities(
        native_uniqueness=True,
        members=True,
        versions_members=True,
        takes_secrets=True,
    )

    def __init__(
        self,
        target: Target,
        base: str,
        units: Mapping[str, str],
        pool_size: int,
        restrict: Callable[[ServerCapabilities], ServerCapabilities] = lambda server: server,
    ) -> None:
        self._directory = Directory(target, pool_size)
        self._target = target
        self._base = base
        self._names = units
        # Returns the capabilities that the adapter may use.
        self._restrict = restrict
        self._tree = Tree(())

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        try:
            with self._directory.lease() as session:
                server = self._restrict(read_capabilities(session))
                # In the spelling of the server: the DNs of entries end in the base.
                self._base = _canonical(self._base)
                self._make_base(session)
                units = [self._unit(session, server, resource_type) for resource_type in resource_types]
                self._make_unit(session, f"ou={UNIT},{self._base}", UNIT)
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()
        self._tree = Tree(units)
        self._members = Members(self._tree)
        self._listing = Listing(self._directory, self._tree, server.sorts and server.has_schema)
        uniqueness = Uniqueness(self._tree, self._base, ldap.CONTROL_ASSERT in server.controls)
        self._writer = Writer(server, uniqueness, self._directory.fits)

    def _unit(self, session: Session, server: ServerCapabilities, resource_type: ResourceType) -> Unit:
        name = self._names.get(resource_type.name) or resource_type.endpoint.strip("/")
        unit = Unit(resource_type, f"ou={escape_dn_chars(name)},{self._base}", server)
        self._make_unit(session, unit.dn, name)
        unit.has_others = session.has(unit.dn, unit.layout.others_filter)
        return unit

    def _make_unit(self, session: Session, dn: str, name: str) -> None:
        if session.read(dn, ["1.1"]) is None:
            with suppress(ldap.ALREADY_EXISTS):
                session.add(dn, {"objectClass": [b"organizationalUnit"], "ou": [name.encode()]})

    def _make_base(self, session: Session) -> None:
        """Add a missing entry at the base, if its RDN is of `dc`, `o` or `ou`. Raises StorageUnavailable."""
        if session.read(self._base, ["1.1"]) is not None:
            return
        attribute, value, _ = str2dn(self._base)[0][0]
        name, classes = value.encode(), {"ou": [b"organizationalUnit"], "o": [b"organization"]}
        attributes = {"objectClass": classes.get(attribute.lower(), []), attribute: [name]}
        if attribute.lower() == "dc":
            attributes |= {"objectClass": [b"dcObject", b"organization"], "o": [name]}
        if not attributes["objectClass"]:
            raise StorageUnavailable(f"there is no entry {self._base} in the directory")
        try:
            session.add(self._base, attributes)
        except ldap.ALREADY_EXISTS:
            return
        except (ldap.NO_SUCH_OBJECT, ldap.UNWILLING_TO_PERFORM) as exc:
            message = f"{self._base} is not in the directory at {self._target.url}: {sentence(exc)}"
            raise StorageUnavailable(message) from exc

    def check(self) -> None:
        with self._directory.lease() as session:
            for unit in self._tree.units.values():
                if session.read(unit.dn, ["1.1"]) is None:
                    raise StorageUnavailable(f"there is no entry {unit.dn} in the directory")

    def check_writable(self) -> None:
        # The entry exists, so the server adds nothing. A read-only server refuses before it looks.
        with without_effect(), self._directory.lease() as session, suppress(ldap.ALREADY_EXISTS):
            dn, name = f"ou={UNIT},{self._base}", UNIT.encode()
            session.add(dn, {"objectClass": [b"organizationalUnit"], "ou": [name]})

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
            found = self._found(session, unit, resource.id, if_version)
            after = replace(resource, place=found.stored.place, source=None)
            return self._writer.replace(session, unit, found, after)

        return self._attempted(change, if_version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        unit = self._unit_of(resource_type)

        def change(session: Session) -> None:
            found = self._found(session, unit, resource_id, if_version)
            self._writer.delete(session, unit, found)
            self._members.forget(session, found.entry.dn)

        self._attempted(change, if_version)

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
            return Found(self._matching(session, unit, selection.filter), selection.filter)

    def _matching(self, session: Session, unit: Unit, node: Node | None) -> Iterable[StoredResource]:
        """Return the resources that can match a filter; the directory evaluates the native part of it."""
        wanted = _wanted(node, "id")
        if wanted is not None:
            one = self._tree.get(session, unit, wanted) if is_id(wanted) else None
            return [one.resource] if one is not None else []
        memberships = unit.resource_type.memberships
        group = _wanted(node, f"{memberships.name}.value") if memberships is not None else None
        if group is not None:
            return self._members.inside(session, unit, group)
        compiler = LdapFilterCompiler(unit, lambda i: self._members.filter_for(session, i))
        native = compiler.split(node)[0] if node is not None else None
        return [found.resource for found in self._tree.matching(session, unit, native)]

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
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            group = self._group(session, unit, stored)
            located = [one for there in self._tree.locate(session, member_ids).values() for one in there]
            had = self._members.among(session, group, [found.entry.dn for _, found in located])
        return [holder.member(found) for holder, found in located if normal(found.entry.dn) in had]

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
            if group.layout is not unit.layout:
                # A group of another layout first gets this layout, which has a version to change.
                self._writer.replace(session, unit, group, group.stored)
                group = self._found(session, unit, stored.id)
            self._writer.change_members(session, unit, group, changes)
            return True

        return self._attempted(change)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            names = {one.id: unit.dn_of(one.id) for one in stored if is_id(one.id)}
            found = self._members.above(session, names)
        return {resource_id: above for resource_id, above in found.items() if above}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        with self._directory.lease() as session:
            located = self._tree.locate(session, resource_ids)
        return [unit.member(found) for there in located.values() for unit, found in there]


def _wanted(node: Node | None, path: str) -> str | None:
    """Return the id that a filter demands at a caseExact path, or None."""
    for operand in node.operands if isinstance(node, And) else (node,):
        if isinstance(operand, BoundComparison) and operand.operator == "eq" and operand.path.text == path:
            return operand.key if operand.path.leaf.case_exact else None
    return None


def _canonical(base: str) -> str:
    """Return a DN in the spelling of the server. Raises StorageUnavailable for an invalid one."""
    try:
        parts = str2dn(base)
    except ldap.DECODING_ERROR:
        parts = []
    if not parts:
        raise StorageUnavailable(f"LDAP_BASENAME: {base!r} is not a DN such as dc=example,dc=org")
    name: str = dn2str(parts)
    return name
