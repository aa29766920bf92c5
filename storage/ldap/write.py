"""Writing one resource: its claims, then its entry, then its password; `storage.claims` says why.

A modification deletes the values that were read, and so fails if another writer has changed them: above all
the number of the version, which is a new one after every write. The assertion control (RFC 4528) would
demand a certain entryCSN instead. But OpenLDAP also applies it to the operations of its overlays on other
entries: they fail, some of them silently.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import ldap

from schema.values import format_date_time
from storage.adapter import StoredResource
from storage.attempts import Changed
from storage.claims import Claim
from storage.errors import StorageError, UniquenessConflict, ValueRefused, VersionMismatch
from storage.index_keys import place_of
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.changes import (
    PASSWORD,
    HasPassword,
    KeptSecrets,
    attributes_of,
    modifications_of,
    with_refusals,
    without_empty,
    write_password,
)
from storage.ldap.claims import LEASE_S, Uniqueness, unique_of
from storage.ldap.form import DELETED, Located, Unit
from storage.ldap.server import LOST
from storage.ldap.wire import Entry, Modification, Session
from storage.uniqueness import Twin, create_alone

_LOG = logging.getLogger(__name__)
_CLASSES = {"inetOrgPerson": ("top", "person", "organizationalPerson", "inetOrgPerson")}
# OpenLDAP refuses RDNs above about 240 bytes with the result `other`.
_LONG_NAME = 200
# Results of a modification if another writer came first; a value may be refused by the same results.
_LATE = (ldap.NO_SUCH_ATTRIBUTE, ldap.TYPE_OR_VALUE_EXISTS, ldap.CONSTRAINT_VIOLATION)


@contextmanager
def _undone_by(undo: Callable[[], object]) -> Iterator[None]:
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


@contextmanager
def after_all() -> Iterator[None]:
    """Log the refusal of a step that follows a write: the write stays."""
    try:
        yield
    except LOST:
        raise
    except (ldap.LDAPError, StorageError) as exc:
        _LOG.warning("the directory does not remove a former value or member: %s", exc)


class Writer:
    """Writes resources; `kept` returns hashes of secrets, `fits` whether an entry has a password."""

    def __init__(
        self, server: ServerCapabilities, uniqueness: Uniqueness, kept: KeptSecrets, fits: HasPassword
    ) -> None:
        self._server = server
        self._kept = kept
        self._uniqueness = uniqueness
        self._fits = fits

    # -- creating

    def create(self, session: Session, unit: Unit, stored: StoredResource) -> StoredResource:
        """Add the entry of a new resource, after all earlier ones in place. Raises UniquenessConflict."""
        new = without_empty(replace(stored, place=place_of(time.time_ns()), source=None))
        return create_alone(
            lambda: self._create(session, unit, new), lambda: self._has_twin(session, unit, stored.id)
        )

    def _has_twin(self, session: Session, unit: Unit, resource_id: str) -> bool:
        """Return whether a resource of another type has the id."""
        tree = self._uniqueness.tree
        return any(tree.sought(session, one, resource_id) for one in tree.units.values() if one is not unit)

    def _create(self, session: Session, unit: Unit, stored: StoredResource) -> StoredResource:
        dn = unit.name_of(stored.id)
        self._uniqueness.refuse_name(session, unit, stored)
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
        secrets = self._kept(stored, {})

        def add(refused: set[str]) -> str:
            values, classes = attributes_of(unit, stored, 1, secrets, refused)
            values["objectClass"] = [name.encode() for name in (*classes_of(unit), *sorted(classes))]
            if unit.kind.structural == "groupOfNames":
                values["member"] = [_placeholder(unit)]
            return session.add(dn, values, self._returning) or "1"

        try:
            return with_refusals(unit, add)
        except ldap.ALREADY_EXISTS:
            if not is_abandoned(unit, session.read(dn, unit.attributes)):
                raise UniquenessConflict("id") from None
        except ldap.OTHER as exc:
            if len(stored.id.encode()) <= _LONG_NAME:
                raise
            raise ValueRefused("id: is too long for the name of an LDAP entry") from exc
        session.delete(dn)
        return with_refusals(unit, add)

    # -- changing

    def replace(self, session: Session, unit: Unit, found: Located, stored: StoredResource) -> StoredResource:
        """Write a resource to its entry. Raises Changed, UniquenessConflict.

        Given secrets, it writes nothing if neither they nor the document change.
        """
        stored = without_empty(stored)
        secrets_change = bool(stored.secrets or stored.removed_secrets)
        secrets = self._kept(stored, found.secrets)
        if secrets_change and secrets == found.secrets and self._is_same(session, found, stored):
            return found.stored
        dn = found.entry.dn
        self._uniqueness.refuse_name(session, unit, stored, found.stored)
        before, after = unique_of(unit, found.stored), unique_of(unit, stored)
        claims = self._uniqueness.claims(session, unit, dn)
        try:
            made = claims.claim(dn, [value for value in after if value not in before])
        except VersionMismatch as exc:
            raise Changed from exc
        with _undone_by(lambda: claims.release(made)):
            version = self._modify(session, unit, found, stored, secrets)
        written = replace(stored, version=version, secrets={}, removed_secrets=frozenset(), joined=None)

        def undo() -> None:
            self._restore(session, unit, found, written)
            claims.release(made)

        with _undone_by(undo):
            for lost in claims.lost(made):
                raise UniquenessConflict(lost.value.path)
            write_password(session, dn, stored, self._server)
        with after_all():
            if found.layout is None:
                claims.claim_free(dn, [value for value in after if value in before])
            claims.release(Claim(value, dn) for value in before if value not in after)
        return self._after_password(session, unit, dn, written) if secrets_change else written

    def _is_same(self, session: Session, found: Located, stored: StoredResource) -> bool:
        if stored.document != found.stored.document:
            return False
        if PASSWORD in stored.removed_secrets:
            return not session.has(found.entry.dn, "(userPassword=*)")
        password = stored.secrets.get(PASSWORD)
        return password is None or self._fits(found.entry.dn, password)

    def _modify(
        self, session: Session, unit: Unit, found: Located, stored: StoredResource, secrets: Mapping[str, str]
    ) -> str:
        number = (found.entry.number(unit.layout.version) or 0) + 1

        def modify(refused: set[str]) -> str:
            values, classes = attributes_of(unit, stored, number, secrets, refused, found)
            changes = modifications_of(unit, found, values, classes)
            return self._change(session, unit, found, changes) or str(number)

        return with_refusals(unit, modify)

    def _change(
        self, session: Session, unit: Unit, found: Located, changes: Sequence[Modification]
    ) -> str | None:
        """Modify an entry. Raises Changed if another writer has changed it."""
        try:
            return session.modify(found.entry.dn, changes, self._returning)
        except ldap.NO_SUCH_OBJECT as exc:
            raise Changed from exc
        except _LATE as exc:
            now = self._now(session, unit, found.entry.dn)
            if now is None or now.stored.version != found.stored.version:
                raise Changed from exc
            raise

    @property
    def _returning(self) -> str | None:
        return "entryCSN" if self._server.names_changes else None

    @staticmethod
    def _now(session: Session, unit: Unit, dn: str) -> Located | None:
        entry = session.read(dn, unit.attributes)
        return unit.read(entry) if entry is not None else None

    def _restore(self, session: Session, unit: Unit, found: Located, written: StoredResource) -> None:
        """Restore the resource before `written`, unless another writer has changed it since."""
        now = self._now(session, unit, found.entry.dn)
        if now is not None and now.stored.version == written.version:
            self._modify(session, unit, now, found.stored, found.secrets)

    def change_members(
        self, session: Session, unit: Unit, group: Located, changes: Sequence[Modification]
    ) -> None:
        """Change members together with the version. Changes of other members at the same time stay."""
        now, number = unit.layout.time(format_date_time(datetime.now(UTC))), time.time_ns()
        stamps: list[Modification] = [
            (ldap.MOD_REPLACE, unit.layout.modified, [now.encode()]),
            (ldap.MOD_REPLACE, unit.layout.version, [str(number).encode()]),
        ]
        try:
            self._change(session, unit, group, [*changes, *stamps])
        except ldap.OBJECT_CLASS_VIOLATION:
            # The class of the group demands a member, and the last one leaves.
            kept = (ldap.MOD_ADD, "member", [_placeholder(unit)])
            self._change(session, unit, group, [kept, *changes, *stamps])

    # -- deleting

    def delete(self, session: Session, unit: Unit, found: Located) -> None:
        """Delete an entry of an own layout, and its claims. Raises Changed if it has another version."""
        assert found.layout is not None
        dn, layout = found.entry.dn, found.layout
        version, modified = (
            list(found.entry.attributes.get(name.lower(), ())) for name in (layout.version, layout.modified)
        )
        now = layout.time(format_date_time(datetime.now(UTC)))

        def marked(before: list[bytes], after: list[bytes], time: list[bytes]) -> list[Modification]:
            removal: list[Modification] = [(ldap.MOD_DELETE, layout.version, before)] if before else []
            stamp: Modification = (ldap.MOD_REPLACE, layout.modified, time or None)
            return [*removal, (ldap.MOD_ADD, layout.version, after), stamp]

        self._change(session, unit, found, marked(version, [DELETED.encode()], [now.encode()]))
        restored = marked([DELETED.encode()], version or [b"1"], modified)
        with _undone_by(lambda: session.modify(dn, restored)):
            session.delete(dn)
        claims = self._uniqueness.claims(session, unit, dn)
        with after_all():
            claims.release(Claim(value, dn) for value in unique_of(unit, found.stored))

    # -- passwords

    def _after_password(
        self, session: Session, unit: Unit, dn: str, written: StoredResource
    ) -> StoredResource:
        """Return a resource with its present version, unless another writer has changed it since."""
        now = self._now(session, unit, dn)
        if now is not None and (now.stored.text, now.stored.place) == (written.text, written.place):
            return replace(written, version=now.stored.version)
        return written


def is_abandoned(unit: Unit, entry: Entry | None) -> bool:
    """Return whether a deletion was interrupted after its first step, and its writer is gone."""
    if entry is None or entry.value(unit.layout.version) != DELETED:
        return False
    begun = entry.value(unit.layout.modified) or ""
    return begun < unit.layout.time(format_date_time(datetime.now(UTC) - timedelta(seconds=LEASE_S)))


def classes_of(unit: Unit) -> tuple[str, ...]:
    """Return the structural classes of new entries."""
    return _CLASSES.get(unit.kind.structural, ("top", unit.kind.structural))


def _placeholder(unit: Unit) -> bytes:
    """Return the DN, of no resource, as the member of an empty group whose class demands a member."""
    return unit.dn.encode()
