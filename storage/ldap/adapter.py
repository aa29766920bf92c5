"""The LDAP adapter: an entry for each resource, which ordinary LDAP clients read as a person or a group.

How an entry holds a resource is in `storage.ldap.form`, which attributes are used in
`storage.ldap.layout` and `storage.ldap.mapping`, unique values in `storage.ldap.claims`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeVar

import ldap
from ldap.dn import dn2str, escape_dn_chars, str2dn

from schema.resource_type import ResourceType
from schema.values import format_date_time
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
from storage.errors import (
    ResourceNotFound,
    StorageError,
    StorageUnavailable,
    ValueRefused,
    VersionMismatch,
    without_effect,
)
from storage.ldap.claims import UNIT, Uniqueness
from storage.ldap.find import Tree, is_name, normal
from storage.ldap.form import Located, Unit
from storage.ldap.layout import WITH_SCHEMA, WITHOUT_SCHEMA, kind_of
from storage.ldap.links import Members
from storage.ldap.listing import Listing
from storage.ldap.mapping import StandardAttributes
from storage.ldap.offer import Offer, read_offer
from storage.ldap.selection import LdapFilterCompiler
from storage.ldap.server import Directory, Target, sentence
from storage.ldap.wire import Modification, Session
from storage.ldap.write import Writer, new_place, placeholder

_BATCH: Final = 500

_Result = TypeVar("_Result")


class LdapAdapter(StorageAdapter):
    """Keeps resources below `base` in a directory."""

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
        restrict: Callable[[Offer], Offer] = lambda offer: offer,
    ) -> None:
        self._directory = Directory(target, pool_size)
        self._target = target
        self._base = base
        self._names = units
        # What is not used of what the server offers.
        self._restrict = restrict
        self._tree = Tree(())

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        try:
            with self._directory.lease() as session:
                offer = self._restrict(read_offer(session))
                # Written as the server writes it: the names of entries end in it.
                self._base = _canonical(self._base)
                self._make_base(session)
                units = [self._unit(session, offer, resource_type) for resource_type in resource_types]
                self._make_unit(session, f"ou={UNIT},{self._base}", UNIT)
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()
        self._tree = Tree(units)
        self._members = Members(self._tree)
        self._listing = Listing(self._directory, self._tree, offer.sorts and offer.has_schema)
        uniqueness = Uniqueness(self._tree, self._base, ldap.CONTROL_ASSERT in offer.controls)
        self._writer = Writer(offer, uniqueness, self._directory.fits)

    def _unit(self, session: Session, offer: Offer, resource_type: ResourceType) -> Unit:
        name = self._names.get(resource_type.name) or resource_type.endpoint.strip("/")
        kind = kind_of(resource_type, offer.classes)
        unit = Unit(
            resource_type,
            f"ou={escape_dn_chars(name)},{self._base}",
            kind,
            WITH_SCHEMA if offer.has_schema else WITHOUT_SCHEMA,
            StandardAttributes(resource_type, kind.structural == "inetOrgPerson", offer.knows),
            counts_versions=not offer.names_changes,
            key_class="ldappublickey" in offer.classes,
        )
        self._make_unit(session, unit.dn, name)
        unit.has_others = session.has(
            unit.dn, f"(&(objectClass=extensibleObject)(!({unit.layout.place}=*)))"
        )
        return unit

    def _make_unit(self, session: Session, dn: str, name: str) -> None:
        if session.read(dn, ["1.1"]) is None:
            with suppress(ldap.ALREADY_EXISTS):
                session.add(dn, {"objectClass": [b"organizationalUnit"], "ou": [name.encode()]})

    def _make_base(self, session: Session) -> None:
        """Add the entry at the base if it is missing and one knows what it has to be."""
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
        # What is there already is not added; a server that takes no changes says that first.
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
        try:
            unit.name_of(resource.id)
        except ResourceNotFound as exc:
            raise ValueRefused("id: cannot be the name of an LDAP entry") from exc
        with self._directory.lease() as session:
            return self._writer.create(session, unit, replace(resource, place=new_place(), source=None))

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        """Keep new resources; when one of them fails, those before it are removed again."""
        created: list[StoredResource] = []
        try:
            for resource in resources:
                created.append(self.create(resource_type, resource))
        except StorageError:
            for resource in created:
                # What others have changed meanwhile is theirs.
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
        """Do `change`, without a condition until nobody else changes the entry at the same time."""

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
        """Return what may match a filter, found by the directory as far as it can."""
        wanted = _wanted(node, "id")
        if wanted is not None:
            one = self._tree.get(session, unit, wanted) if is_name(wanted) else None
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
        for start in range(0, len(names), size):
            with self._directory.lease() as session:
                batch = self._members.read(session, names[start : start + size], shown)
            yield from batch

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
            # Where others have changed it since, it is read anew.
            stored = replace(stored, source=None)
            changes = self._members.change(session, unit, group, joining, leaving)
            if not changes:
                return False
            if group.layout is not unit.layout:
                # Written by others: it becomes one of ours, so that it can carry what changes.
                self._writer.replace(session, unit, group, group.stored)
                group = self._found(session, unit, stored.id)
            self._write_members(session, unit, group, changes)
            return True

        return self._attempted(change)

    def _write_members(
        self, session: Session, unit: Unit, group: Located, changes: Sequence[Modification]
    ) -> None:
        """Change members together with the version; what others change at the same time stays."""
        now = unit.layout.time(format_date_time(datetime.now(UTC))).encode()
        number = self._writer.number_after(unit, group)
        stamps = [
            (ldap.MOD_REPLACE, unit.layout.modified, [now]),
            *self._writer.counted(unit, group, number),
        ]
        try:
            session.modify(group.entry.dn, [*changes, *stamps])
        except (ldap.NO_SUCH_ATTRIBUTE, ldap.TYPE_OR_VALUE_EXISTS, ldap.NO_SUCH_OBJECT) as exc:
            raise Changed from exc
        except ldap.OBJECT_CLASS_VIOLATION:
            # A group by others that may not be empty, and would be.
            kept = (ldap.MOD_ADD, "member", [placeholder(unit)])
            session.modify(group.entry.dn, [kept, *changes, *stamps])

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        unit = self._unit_of(resource_type)
        with self._directory.lease() as session:
            found = self._members.above(session, unit.names_of(one.id for one in stored))
        return {resource_id: above for resource_id, above in found.items() if above}

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        with self._directory.lease() as session:
            located = self._tree.locate(session, resource_ids)
        return [unit.member(found) for there in located.values() for unit, found in there]


def _wanted(node: Node | None, path: str) -> str | None:
    """Return the id that a filter demands at a caseExact path, so that nothing else can match."""
    for operand in node.operands if isinstance(node, And) else (node,):
        if isinstance(operand, BoundComparison) and operand.operator == "eq" and operand.path.text == path:
            return operand.key if operand.path.leaf.case_exact else None
    return None


def _canonical(base: str) -> str:
    """Return a DN as the server writes it. Raises StorageUnavailable for what is none."""
    try:
        parts = str2dn(base)
    except ldap.DECODING_ERROR:
        parts = []
    if not parts:
        raise StorageUnavailable(f"LDAP_BASENAME: {base!r} is not a DN such as dc=example,dc=org")
    name: str = dn2str(parts)
    return name
