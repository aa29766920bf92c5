"""Claims on unique values (`storage.claims`) as entries: only one writer can add an entry with a DN."""

import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Final

import ldap
from ldap.controls.libldap import AssertionControl

from storage.adapter import StoredResource
from storage.claims import Claim, Claims, UniqueValue
from storage.errors import StorageError, UniquenessConflict
from storage.ldap.find import Tree
from storage.ldap.form import Unit
from storage.ldap.layout import WITHOUT_SCHEMA, all_of, any_of, equality, is_own, normal
from storage.ldap.mapping import equality_key, is_plain
from storage.ldap.selection import LdapFilterCompiler
from storage.ldap.wire import Entry, Modification, Session
from storage.uniqueness import unique_values

UNIT: Final = "scim-unique"
# A younger claim stays, even if its owner does not have the value yet.
LEASE_S: Final = 30.0


class Uniqueness:
    """The claims of a tree.

    `asserts` is true if the server has the assertion control (RFC 4528), `refusals` raises errors of the
    server as StorageErrors: after one of these, a writer gives up its claims.
    """

    def __init__(
        self, tree: Tree, base: str, asserts: bool, refusals: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.tree = tree
        self.refusals = refusals
        self.dn = f"ou={UNIT},{base}"
        self.asserts = asserts
        self._compilers = {
            name: LdapFilterCompiler(unit, lambda _: "(!(objectClass=*))")
            for name, unit in tree.units.items()
        }

    def claims(
        self, session: Session, unit: Unit, dn: str, clock: Callable[[], int] = time.time_ns
    ) -> Claims:
        """Return the claims of one entry."""
        return Claims(LdapClaims(self, session, unit, dn), clock, lambda: clock() / 1e9)

    def filter_for(self, unit: Unit, value: UniqueValue) -> str | None:
        """Return the filter for entries that can have a value, None if there is none."""
        path = unit.resource_type.path(value.path)
        return self._compilers[value.resource_type].unique(path, value.key) if path is not None else None

    def refuse_name(
        self, session: Session, unit: Unit, stored: StoredResource, before: StoredResource | None = None
    ) -> None:
        """Raise UniquenessConflict for a new name that an entry of another program has.

        The directory compares, by its own rules: programs that read it could not tell the two apart.
        A claim on the name includes this (`LdapClaims.holds`), if the directory compares as SCIM does.
        """
        path = unit.name_path
        if path is None:
            return
        name = stored.document.get(path.text)
        is_new = before is None or before.document.get(path.text) != name
        if not is_new or not isinstance(name, str) or not name:
            return
        claimed = {value for value in unique_of(unit, stored) if value.path == path.text}
        claimed -= set(unique_of(unit, before)) if before is not None else set()
        if is_plain(name) and any(self.filter_for(unit, value) for value in claimed):
            return
        named = any_of(equality(pair.attribute, name) for pair in unit.standard.of(path))
        wanted = ["objectClass", WITHOUT_SCHEMA.data]
        if not all(map(is_own, session.find(unit.dn, all_of([unit.kind.filter, named]), wanted))):
            raise UniquenessConflict(path.text)


class LdapClaims:
    """The claims of one entry on values of its type: a `storage.claims.ClaimStore`.

    Owners are DNs. The token of a claim is the time of its creation in nanoseconds.
    """

    lease_s = LEASE_S
    admits_several = False

    def __init__(self, uniqueness: Uniqueness, session: Session, unit: Unit, dn: str) -> None:
        self._uniqueness = uniqueness
        self._refusals = uniqueness.refusals
        self._session = session
        self._unit = unit
        self._dn = dn

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        for position, claim in enumerate(claims):
            try:
                if not self._is_put(claim):
                    return claims[position:]
            except StorageError:
                self.remove_if(claims[:position])
                raise
        return ()

    def _is_put(self, claim: Claim) -> bool:
        attributes = {
            "objectClass": [b"device"],
            "cn": [_name(claim.value).encode()],
            # The syntax is not that of a DN: the refint overlay of the server must not empty it.
            "description": [claim.owner.encode()],
            "o": [f"{claim.value.resource_type} {claim.value.path}".encode()],
            "serialNumber": [str(claim.token).encode()],
        }
        with self._refusals(), suppress(ldap.ALREADY_EXISTS):
            self._session.add(self._dn_of(claim.value), attributes)
            return True
        return False

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        found = []
        for value in values:
            with self._refusals():
                entry = self._session.read(self._dn_of(value), ["description", "serialNumber"])
            if entry is not None:
                since = entry.number("serialNumber") or 0
                owner = self._spelled(entry.value("description") or "")
                found.append(Claim(value, owner, since, since / 1e9))
        return found

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        # Deleting the value of the old token fails for all writers but the first.
        changes: list[Modification] = [
            (ldap.MOD_DELETE, "serialNumber", [str(seen.token).encode()]),
            (ldap.MOD_ADD, "serialNumber", [str(new.token).encode()]),
            (ldap.MOD_REPLACE, "description", [new.owner.encode()] if new.owner else None),
        ]
        with self._refusals(), suppress(ldap.NO_SUCH_ATTRIBUTE, ldap.NO_SUCH_OBJECT):
            self._session.modify(self._dn_of(seen.value), changes)
            return True
        return False

    def remove_if(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            with suppress(ldap.NO_SUCH_OBJECT, ldap.ASSERTION_FAILED):
                if self._uniqueness.asserts:
                    tests = [equality("description", claim.owner)]
                    if claim.token is not None:
                        tests.append(equality("serialNumber", str(claim.token)))
                    self._session.delete(self._dn_of(claim.value), [AssertionControl(True, all_of(tests))])
                elif any(_is_same(claim, seen) for seen in self.read([claim.value])):
                    self._session.delete(self._dn_of(claim.value))

    def holds(
        self, values: Sequence[UniqueValue], owners: Collection[str] = ()
    ) -> Collection[tuple[str, UniqueValue]]:
        found = set()
        for value in values:
            text = self._uniqueness.filter_for(self._unit, value)
            with self._refusals():
                if text is not None:
                    whole = all_of([self._unit.kind.filter, text])
                    there = self._session.find(self._unit.dn, whole, self._unit.attributes)
                else:
                    owned = self._uniqueness.tree.read(self._session, filter(None, owners))
                    there = [one.entry for _, one in owned]
            found |= {(self._spelled(entry.dn), value) for entry in there if self._has(entry, value)}
        return found

    def _has(self, entry: Entry, value: UniqueValue) -> bool:
        """Return whether a value or, in an entry of another program, a name is that of an entry."""
        path = self._unit.name_path
        if path is not None and value.path == path.text and not is_own(entry):
            names = [text for pair in self._unit.standard.of(path) for text in entry.values(pair.attribute)]
            return equality_key(value.key) in map(equality_key, names)
        one = self._unit.read_any(entry)
        return one is not None and value in unique_of(self._unit, one.stored)

    def _dn_of(self, value: UniqueValue) -> str:
        return f"cn={_name(value)},{self._uniqueness.dn}"

    def _spelled(self, dn: str) -> str:
        """Return a DN; the DN of the own entry is returned in the spelling of the caller."""
        return self._dn if dn == self._dn or (dn and normal(dn) == normal(self._dn)) else dn


def _name(value: UniqueValue) -> str:
    text = "\0".join((value.resource_type, value.path, value.key))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_same(claim: Claim, seen: Claim) -> bool:
    return seen.owner == claim.owner and claim.token in (None, seen.token)


def unique_of(unit: Unit, stored: StoredResource) -> list[UniqueValue]:
    """Return the unique values of a resource, none if a value has the wrong type."""
    name = unit.resource_type.name
    try:
        found = list(unique_values(unit.resource_type, stored.document))
    except (TypeError, ValueError, AttributeError):
        return []
    return list(dict.fromkeys(UniqueValue(name, path.text, key) for path, key in found))
