"""Writing one resource: its claims, its entry and its password, in an order that a crash cannot spoil."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import ldap
from ldap.controls import LDAPControl
from ldap.controls.libldap import AssertionControl

from storage.adapter import StoredResource
from storage.attempts import Changed
from storage.claims import Claim
from storage.errors import StorageError, UniquenessConflict, ValueRefused, VersionMismatch
from storage.index_keys import place_of
from storage.ldap.changes import changes as changes_of
from storage.ldap.changes import laid_out
from storage.ldap.claims import Uniqueness, unique_of
from storage.ldap.form import DELETED, Located, Unit
from storage.ldap.layout import LAYOUTS, equality
from storage.ldap.offer import Offer
from storage.ldap.refusals import with_refusals
from storage.ldap.secrets import PASSWORD, kept_secrets, without_empty, write_password
from storage.ldap.server import LOST, sentence
from storage.ldap.wire import Modification, Session
from storage.uniqueness import Twin, create_alone

_CLASSES = {"inetOrgPerson": ("top", "person", "organizationalPerson", "inetOrgPerson")}
# OpenLDAP has no room for names of some 240 bytes and more, and does not say so.
_LONG_NAME = 200
_VERSIONS = tuple(layout.version for layout in LAYOUTS)


class Writer:
    """Writes to the units of one tree; `fits` says whether an entry has a password."""

    def __init__(
        self, offer: Offer, uniqueness: Uniqueness, fits: Callable[[str, str], bool]
    ) -> None:
        self._offer = offer
        self._uniqueness = uniqueness
        self._fits = fits

    # -- creating

    def create(self, session: Session, unit: Unit, stored: StoredResource) -> StoredResource:
        """Add the entry of a new resource, which has its place. Raises UniquenessConflict."""
        return create_alone(
            lambda: self._create(session, unit, without_empty(stored)),
            lambda: self._has_twin(session, unit, stored.id),
        )

    def _has_twin(self, session: Session, unit: Unit, resource_id: str) -> bool:
        """Return whether there is a resource of another type with that id."""
        tree = self._uniqueness.tree
        return any(tree.get(session, one, resource_id) for one in tree.units.values() if one is not unit)

    def _create(self, session: Session, unit: Unit, stored: StoredResource) -> StoredResource:
        dn = unit.name_of(stored.id)
        claims = self._uniqueness.claims(session, unit, dn)
        try:
            made = claims.claim(dn, unique_of(unit, stored))
        except VersionMismatch as exc:
            raise UniquenessConflict("id") from exc
        try:
            version = self._add(session, unit, dn, stored)
        except LOST:
            # It may be there or not; if it is not, the claims are replaced after the lease.
            raise
        except (ldap.LDAPError, StorageError):
            claims.release(made)
            raise
        created = replace(stored, version=version, secrets={}, removed_secrets=frozenset(), joined=False)
        try:
            for lost in claims.lost(made):
                raise UniquenessConflict(lost.value.path)
            if self._has_twin(session, unit, stored.id):
                raise Twin
            write_password(session, dn, stored, self._offer)
        except LOST:
            raise
        except (ldap.LDAPError, StorageError):
            session.delete(dn)
            claims.release(made)
            raise
        return self._after_password(session, unit, dn, created) if stored.secrets else created

    def _add(self, session: Session, unit: Unit, dn: str, stored: StoredResource) -> str:
        secrets = kept_secrets(stored, {})

        def add(refused: set[str]) -> str:
            values, classes = laid_out(unit, stored, 1, secrets, refused)
            structural = _CLASSES.get(unit.kind.structural, ("top", unit.kind.structural))
            values["objectClass"] = [name.encode() for name in (*structural, *sorted(classes))]
            if unit.kind.structural == "groupOfNames":
                values["member"] = [placeholder(unit)]
            return session.add(dn, values, self._returning) or "1"

        try:
            return with_refusals(unit, add)
        except ldap.ALREADY_EXISTS:
            entry = session.read(dn, unit.attributes)
            if entry is None or entry.value(unit.layout.version) != DELETED:
                raise UniquenessConflict("id") from None
        except ldap.OTHER as exc:
            if len(stored.id.encode()) <= _LONG_NAME:
                raise
            raise ValueRefused("id: is too long for the name of an LDAP entry") from exc
        # Somebody began to delete it, and did not come to the end.
        session.delete(dn)
        return with_refusals(unit, add)

    # -- changing

    def replace(self, session: Session, unit: Unit, found: Located, stored: StoredResource) -> StoredResource:
        """Make an entry that of `stored`. Raises Changed, UniquenessConflict.

        Secrets that are what they were are no change.
        """
        stored = without_empty(stored)
        secrets_change = bool(stored.secrets or stored.removed_secrets)
        if secrets_change and self._is_same(session, found, stored):
            return found.stored
        dn = found.entry.dn
        before, after = unique_of(unit, found.stored), unique_of(unit, stored)
        claims = self._uniqueness.claims(session, unit, dn)
        try:
            made = claims.claim(dn, [value for value in after if value not in before])
        except VersionMismatch as exc:
            raise Changed from exc
        try:
            version = self._modify(session, unit, found, stored)
        except LOST:
            raise
        except (ldap.LDAPError, StorageError):
            claims.release(made)
            raise
        written = replace(stored, version=version, secrets={}, removed_secrets=frozenset(), joined=None)
        try:
            for lost in claims.lost(made):
                raise UniquenessConflict(lost.value.path)
            write_password(session, dn, stored, self._offer)
        except LOST:
            raise
        except (ldap.LDAPError, StorageError):
            self._undo(session, unit, found, written)
            claims.release(made)
            raise
        if found.layout is None:
            claims.claim_free(dn, [value for value in after if value in before])
        claims.release(Claim(value, dn) for value in before if value not in after)
        return self._after_password(session, unit, dn, written) if secrets_change else written

    def _is_same(self, session: Session, found: Located, stored: StoredResource) -> bool:
        if stored.document != found.stored.document:
            return False
        if kept_secrets(stored, found.secrets) != found.secrets:
            return False
        if PASSWORD in stored.removed_secrets:
            return not session.has(found.entry.dn, "(userPassword=*)")
        password = stored.secrets.get(PASSWORD)
        return password is None or self._fits(found.entry.dn, password)

    def _modify(self, session: Session, unit: Unit, found: Located, stored: StoredResource) -> str:
        number = self.number_after(unit, found)
        secrets = kept_secrets(stored, found.secrets)

        def modify(refused: set[str]) -> str:
            values, classes = laid_out(unit, stored, number, secrets, refused)
            if not self._offer.names_changes:
                del values[unit.layout.version]
            changes = [*self.counted(unit, found, number), *changes_of(unit, found, values, classes)]
            if not changes:
                return found.stored.version
            return self.change(session, found, changes) or str(number)

        return with_refusals(unit, modify)

    def change(self, session: Session, found: Located, changes: Sequence[Modification]) -> str | None:
        """Modify an entry that is still as it was read. Raises Changed."""
        try:
            return session.modify(found.entry.dn, changes, self.condition(found), self._returning)
        except (ldap.ASSERTION_FAILED, ldap.NO_SUCH_ATTRIBUTE, ldap.NO_SUCH_OBJECT) as exc:
            raise Changed from exc
        except (ldap.TYPE_OR_VALUE_EXISTS, ldap.CONSTRAINT_VIOLATION) as exc:
            if any(name in sentence(exc) for name in ("objectClass", *_VERSIONS)):
                # Somebody else has just made the entry one of ours.
                raise Changed from exc
            raise

    @property
    def _returning(self) -> str | None:
        return "entryCSN" if self._offer.names_changes else None

    def condition(self, found: Located) -> list[LDAPControl]:
        """Return the control under which an entry is changed only if it is as it was read."""
        if not self._offer.names_changes:
            return []
        return [AssertionControl(True, equality("entryCSN", found.stored.version))]

    @staticmethod
    def number_after(unit: Unit, found: Located) -> int:
        """Return the number of the next version."""
        return (found.entry.number(unit.layout.version) or 0) + 1

    def counted(self, unit: Unit, found: Located, number: int) -> list[Modification]:
        """Return what replaces the number of the version that was read, and fails on any other."""
        if self._offer.names_changes:
            return []
        name = unit.layout.version
        before = found.entry.attributes.get(name.lower(), ())
        changes: list[Modification] = [(ldap.MOD_DELETE, name, list(before))] if before else []
        return [*changes, (ldap.MOD_ADD, name, [str(number).encode()])]

    def _undo(self, session: Session, unit: Unit, found: Located, written: StoredResource) -> None:
        """Write back what was there before `written`, unless others have changed it since."""
        entry = session.read(found.entry.dn, unit.attributes)
        now = unit.read(entry) if entry is not None else None
        if now is not None and now.stored.version == written.version:
            self._modify(session, unit, now, found.stored)

    # -- deleting

    def delete(self, session: Session, unit: Unit, found: Located) -> None:
        """Delete an entry that is still as it was read, and what it has claimed. Raises Changed."""
        dn = found.entry.dn
        if not self._offer.names_changes and found.layout is not None:
            name = found.layout.version
            before = list(found.entry.attributes.get(name.lower(), ()))
            changes = [(ldap.MOD_DELETE, name, before), (ldap.MOD_ADD, name, [DELETED.encode()])]
            self.change(session, found, changes)
        try:
            session.delete(dn, self.condition(found))
        except (ldap.ASSERTION_FAILED, ldap.NO_SUCH_OBJECT) as exc:
            raise Changed from exc
        claims = self._uniqueness.claims(session, unit, dn)
        claims.release(Claim(value, dn) for value in unique_of(unit, found.stored))

    # -- passwords

    def _after_password(
        self, session: Session, unit: Unit, dn: str, written: StoredResource
    ) -> StoredResource:
        """Return a resource with the version that it has now, unless others have changed it meanwhile."""
        entry = session.read(dn, unit.attributes)
        now = unit.read(entry) if entry is not None else None
        if now is not None and (now.stored.text, now.stored.place) == (written.text, written.place):
            return replace(written, version=now.stored.version)
        return written


def placeholder(unit: Unit) -> bytes:
    """Return the member of a group that may not be without one: no resource."""
    return unit.dn.encode()


def new_place() -> str:
    """Return a place behind all that were made before."""
    return place_of(time.time_ns())
