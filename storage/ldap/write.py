"""Writing one resource: its claims, then its entry, then its password; `storage.claims` says why."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import ldap
from ldap.controls import LDAPControl
from ldap.controls.libldap import AssertionControl

from schema.values import format_date_time
from storage.adapter import StoredResource
from storage.attempts import Changed
from storage.claims import Claim
from storage.errors import StorageError, UniquenessConflict, ValueRefused, VersionMismatch
from storage.index_keys import place_of
from storage.ldap.changes import (
    PASSWORD,
    attributes_of,
    kept_secrets,
    modifications_of,
    with_refusals,
    without_empty,
    write_password,
)
from storage.ldap.claims import Uniqueness, unique_of
from storage.ldap.form import DELETED, Located, Unit
from storage.ldap.layout import LAYOUTS, equality
from storage.ldap.server import LOST, ServerCapabilities, sentence
from storage.ldap.wire import Modification, Session
from storage.uniqueness import Twin, create_alone

_CLASSES = {"inetOrgPerson": ("top", "person", "organizationalPerson", "inetOrgPerson")}
# OpenLDAP refuses RDNs above about 240 bytes with the result `other`.
_LONG_NAME = 200
_VERSIONS = tuple(layout.version for layout in LAYOUTS)


@contextmanager
def _undone_by(undo: Callable[[], None]) -> Iterator[None]:
    """Call `undo` if a step of a write fails, unless its outcome is unknown.

    After a lost connection the entry may exist. Without it, other writers replace the claims after the lease.
    """
    try:
        yield
    except LOST:
        raise
    except (ldap.LDAPError, StorageError):
        undo()
        raise


class Writer:
    """Writes resources; `fits` returns whether an entry has a password."""

    def __init__(
        self, server: ServerCapabilities, uniqueness: Uniqueness, fits: Callable[[str, str], bool]
    ) -> None:
        self._server = server
        self._uniqueness = uniqueness
        self._fits = fits

    # -- creating

    def create(self, session: Session, unit: Unit, stored: StoredResource) -> StoredResource:
        """Add the entry of a new resource, after all earlier ones in place. Raises UniquenessConflict."""
        new = without_empty(replace(stored, place=place_of(time.time_ns()), source=None))
        return create_alone(
            lambda: self._create(session, unit, new),
            lambda: self._has_twin(session, unit, stored.id),
        )

    def _has_twin(self, session: Session, unit: Unit, resource_id: str) -> bool:
        """Return whether a resource of another type has the id."""
        tree = self._uniqueness.tree
        return any(tree.get(session, one, resource_id) for one in tree.units.values() if one is not unit)

    def _create(self, session: Session, unit: Unit, stored: StoredResource) -> StoredResource:
        dn = unit.name_of(stored.id)
        claims = self._uniqueness.claims(session, unit, dn)
        try:
            made = claims.claim(dn, unique_of(unit, stored))
        except VersionMismatch as exc:
            raise UniquenessConflict("id") from exc
        with _undone_by(lambda: claims.release(made)):
            version = self._add(session, unit, dn, stored)
        created = replace(stored, version=version, secrets={}, removed_secrets=frozenset(), joined=False)

        def undo() -> None:
            session.delete(dn)
            claims.release(made)

        with _undone_by(undo):
            for lost in claims.lost(made):
                raise UniquenessConflict(lost.value.path)
            if self._has_twin(session, unit, stored.id):
                raise Twin
            write_password(session, dn, stored, self._server)
        return self._after_password(session, unit, dn, created) if stored.secrets else created

    def _add(self, session: Session, unit: Unit, dn: str, stored: StoredResource) -> str:
        secrets = kept_secrets(stored, {})

        def add(refused: set[str]) -> str:
            values, classes = attributes_of(unit, stored, 1, secrets, refused)
            structural = _CLASSES.get(unit.kind.structural, ("top", unit.kind.structural))
            values["objectClass"] = [name.encode() for name in (*structural, *sorted(classes))]
            if unit.kind.structural == "groupOfNames":
                values["member"] = [_placeholder(unit)]
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
        # A deletion was interrupted after its first step.
        session.delete(dn)
        return with_refusals(unit, add)

    # -- changing

    def replace(self, session: Session, unit: Unit, found: Located, stored: StoredResource) -> StoredResource:
        """Write a resource to its entry. Raises Changed, UniquenessConflict.

        Given secrets, it writes nothing if neither they nor the document change.
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
        with _undone_by(lambda: claims.release(made)):
            version = self._modify(session, unit, found, stored)
        written = replace(stored, version=version, secrets={}, removed_secrets=frozenset(), joined=None)

        def undo() -> None:
            self._restore(session, unit, found, written)
            claims.release(made)

        with _undone_by(undo):
            for lost in claims.lost(made):
                raise UniquenessConflict(lost.value.path)
            write_password(session, dn, stored, self._server)
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
        number = self._number_after(unit, found)
        secrets = kept_secrets(stored, found.secrets)

        def modify(refused: set[str]) -> str:
            values, classes = attributes_of(unit, stored, number, secrets, refused)
            if not self._server.names_changes:
                del values[unit.layout.version]
            changes = [*self._counted(unit, found, number), *modifications_of(unit, found, values, classes)]
            if not changes:
                return found.stored.version
            return self._change(session, found, changes) or str(number)

        return with_refusals(unit, modify)

    def _change(self, session: Session, found: Located, changes: Sequence[Modification]) -> str | None:
        """Modify an entry. Raises Changed if the entry has another version."""
        try:
            return session.modify(found.entry.dn, changes, self._condition(found), self._returning)
        except (ldap.ASSERTION_FAILED, ldap.NO_SUCH_ATTRIBUTE, ldap.NO_SUCH_OBJECT) as exc:
            raise Changed from exc
        except (ldap.TYPE_OR_VALUE_EXISTS, ldap.CONSTRAINT_VIOLATION) as exc:
            if any(name in sentence(exc) for name in ("objectClass", *_VERSIONS)):
                # Another writer has just given the entry our classes.
                raise Changed from exc
            raise

    @property
    def _returning(self) -> str | None:
        return "entryCSN" if self._server.names_changes else None

    def _condition(self, found: Located) -> list[LDAPControl]:
        """Return the assertion that an entry has the version that was read, if the server asserts."""
        if not self._server.names_changes:
            return []
        return [AssertionControl(True, equality("entryCSN", found.stored.version))]

    @staticmethod
    def _number_after(unit: Unit, found: Located) -> int:
        """Return the number of the next version."""
        return (found.entry.number(unit.layout.version) or 0) + 1

    def _counted(self, unit: Unit, found: Located, number: int) -> list[Modification]:
        """Return modifications that replace the version that was read, and fail for another version."""
        if self._server.names_changes:
            return []
        name = unit.layout.version
        before = found.entry.attributes.get(name.lower(), ())
        changes: list[Modification] = [(ldap.MOD_DELETE, name, list(before))] if before else []
        return [*changes, (ldap.MOD_ADD, name, [str(number).encode()])]

    def _restore(self, session: Session, unit: Unit, found: Located, written: StoredResource) -> None:
        """Restore the resource before `written`, unless another writer has changed it since."""
        entry = session.read(found.entry.dn, unit.attributes)
        now = unit.read(entry) if entry is not None else None
        if now is not None and now.stored.version == written.version:
            self._modify(session, unit, now, found.stored)

    def change_members(
        self, session: Session, unit: Unit, group: Located, changes: Sequence[Modification]
    ) -> None:
        """Change members together with the version. Changes of other members at the same time stay."""
        now = unit.layout.time(format_date_time(datetime.now(UTC))).encode()
        stamps = [
            (ldap.MOD_REPLACE, unit.layout.modified, [now]),
            *self._counted(unit, group, self._number_after(unit, group)),
        ]
        try:
            session.modify(group.entry.dn, [*changes, *stamps])
        except (ldap.NO_SUCH_ATTRIBUTE, ldap.TYPE_OR_VALUE_EXISTS, ldap.NO_SUCH_OBJECT) as exc:
            raise Changed from exc
        except ldap.OBJECT_CLASS_VIOLATION:
            # The class of the group demands a member, and the last one leaves.
            kept = (ldap.MOD_ADD, "member", [_placeholder(unit)])
            session.modify(group.entry.dn, [kept, *changes, *stamps])

    # -- deleting

    def delete(self, session: Session, unit: Unit, found: Located) -> None:
        """Delete an entry and its claims. Raises Changed if the entry has another version."""
        dn = found.entry.dn
        if not self._server.names_changes and found.layout is not None:
            name = found.layout.version
            before = list(found.entry.attributes.get(name.lower(), ()))
            changes = [(ldap.MOD_DELETE, name, before), (ldap.MOD_ADD, name, [DELETED.encode()])]
            self._change(session, found, changes)
        try:
            session.delete(dn, self._condition(found))
        except (ldap.ASSERTION_FAILED, ldap.NO_SUCH_OBJECT) as exc:
            raise Changed from exc
        claims = self._uniqueness.claims(session, unit, dn)
        claims.release(Claim(value, dn) for value in unique_of(unit, found.stored))

    # -- passwords

    def _after_password(
        self, session: Session, unit: Unit, dn: str, written: StoredResource
    ) -> StoredResource:
        """Return a resource with its present version, unless another writer has changed it since."""
        entry = session.read(dn, unit.attributes)
        now = unit.read(entry) if entry is not None else None
        if now is not None and (now.stored.text, now.stored.place) == (written.text, written.place):
            return replace(written, version=now.stored.version)
        return written


def _placeholder(unit: Unit) -> bytes:
    """Return the DN, of no resource, as the member of an empty group whose class demands a member."""
    return unit.dn.encode()
