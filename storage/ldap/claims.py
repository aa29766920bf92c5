"""Unique values: an entry of its own for each, whose name only one writer can take.

A value is claimed before it is written and released after it is given up. What a crash leaves
behind is taken over once it is old, if its owner does not have the value: whoever writes looks
again, after writing, whether the claim is still his; whoever takes over looks again, after that,
whether the owner has not written after all. So one of two gives in, whichever comes first.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import ldap
from ldap.controls.libldap import AssertionControl

from storage.errors import UniquenessConflict
from storage.ldap.layout import equality
from storage.ldap.session import Entry, Session

UNIT: Final = "scim-unique"
# A claim whose owner does not have the value, yet, is left alone for so long.
_PENDING_NS: Final = 30 * 1_000_000_000


@dataclass(frozen=True)
class UniqueValue:
    """A value that no two resources of a type may have, by the key it compares by."""

    resource_type: str
    path: str
    key: str

    @property
    def name(self) -> str:
        """What its claim is called."""
        text = "\0".join((self.resource_type, self.path, self.key))
        return hashlib.sha256(text.encode()).hexdigest()


Has = Callable[[str, UniqueValue], bool]
"""Whether the resource whose entry has that DN exists and has the value."""


class Claims:
    """The claims below a base; `asserts` says whether a deletion can be conditional (RFC 4528)."""

    def __init__(self, base: str, asserts: bool, clock: Callable[[], int] = time.time_ns) -> None:
        self.dn = f"ou={UNIT},{base}"
        self._asserts = asserts
        self._clock = clock

    def take(
        self, session: Session, values: Iterable[UniqueValue], owner: str, has: Has
    ) -> list[UniqueValue]:
        """Claim `values` for an entry, and return those that were not its own before.

        Raises UniquenessConflict, and has then claimed nothing.
        """
        taken: list[UniqueValue] = []
        for value in values:
            try:
                if self._take(session, value, owner, has):
                    taken.append(value)
            except UniquenessConflict:
                self.release(session, taken, owner)
                raise
        return taken

    def _take(self, session: Session, value: UniqueValue, owner: str, has: Has) -> bool:
        attributes = {
            "objectClass": [b"device"],
            "cn": [value.name.encode()],
            # Not a DN by its syntax: what keeps references true must not empty it.
            "description": [owner.encode()],
            "o": [f"{value.resource_type} {value.path}".encode()],
            "serialNumber": [str(self._clock()).encode()],
        }
        try:
            session.add(self._name(value), attributes)
            return True
        except ldap.ALREADY_EXISTS:
            pass
        claim = self._read(session, value)
        if claim is None:
            raise UniquenessConflict(value.path)
        if _same(claim.value("description"), owner):
            return False
        self._take_over(session, value, claim, owner, has)
        return True

    def _take_over(self, session: Session, value: UniqueValue, claim: Entry, owner: str, has: Has) -> None:
        before, since = claim.value("description") or "", claim.value("serialNumber") or "0"
        is_pending = self._clock() - int(since) < _PENDING_NS
        if is_pending or (before and has(before, value)):
            raise UniquenessConflict(value.path)
        # The old value goes by name: of several who take over, one finds it.
        changes = [
            (ldap.MOD_DELETE, "serialNumber", [since.encode()]),
            (ldap.MOD_ADD, "serialNumber", [str(self._clock()).encode()]),
            (ldap.MOD_REPLACE, "description", [owner.encode()]),
        ]
        try:
            session.modify(self._name(value), changes)
        except (ldap.NO_SUCH_ATTRIBUTE, ldap.NO_SUCH_OBJECT):
            raise UniquenessConflict(value.path) from None
        if before and has(before, value):
            session.modify(self._name(value), [(ldap.MOD_REPLACE, "description", [before.encode()])])
            raise UniquenessConflict(value.path)

    def are_held(self, session: Session, values: Iterable[UniqueValue], owner: str) -> bool:
        """Return whether all of `values` are still claimed for an entry."""
        for value in values:
            claim = self._read(session, value)
            if claim is None or not _same(claim.value("description"), owner):
                return False
        return True

    def release(self, session: Session, values: Iterable[UniqueValue], owner: str) -> None:
        """Give up what is claimed for an entry; claims of others stay."""
        for value in values:
            with suppress(ldap.NO_SUCH_OBJECT, ldap.ASSERTION_FAILED):
                if self._asserts:
                    control = AssertionControl(True, equality("description", owner))
                    session.delete(self._name(value), [control])
                elif self.are_held(session, [value], owner):
                    session.delete(self._name(value))

    def _name(self, value: UniqueValue) -> str:
        return f"cn={value.name},{self.dn}"

    def _read(self, session: Session, value: UniqueValue) -> Entry | None:
        return session.read(self._name(value), ["description", "serialNumber"])


def _same(one: str | None, other: str) -> bool:
    return one is not None and ldap.dn.str2dn(one) == ldap.dn.str2dn(other)
