"""Creating accounts, and claims on the unique values of resources (`storage.claims`).

The service's own account has a note about each account that is being created. A claim is the metadata of
a key: while its unit begins with `claim:`, the account does not have the value yet.
"""

import logging
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from irods.column import In
from irods.models import User, UserMeta

from storage.adapter import StoredResource
from storage.claims import Claim, Claims, UniqueValue
from storage.errors import (
    BackendTimeout,
    ResourceNotFound,
    StorageError,
    StorageUnavailable,
    UniquenessConflict,
    ValueRefused,
    after_write,
)
from storage.index_keys import number_at, place_of
from storage.irods.find import Accounts
from storage.irods.form import (
    CREATING,
    FOREIGN,
    KEY,
    Account,
    Kind,
    names_of_group,
    names_of_user,
    next_version,
    with_id,
)
from storage.irods.names import refuse_foreign_name, refuse_named
from storage.irods.wire import USERS, Avu, Zone

_LOG = logging.getLogger(__name__)
# The number of times, and the seconds between them, that a writer looks whether another one has finished.
LOOKS: Final = 20
LOOK_S: Final = 0.1
# The largest difference between the clocks of servers, in seconds.
_SKEW_S: Final = 60.0
_CLAIM: Final = "claim:"


class Creation:
    """Creates the accounts of resources."""

    def __init__(self, zone: Zone, accounts: Accounts) -> None:
        self._zone = zone
        self._accounts = accounts

    def create(self, kind: Kind, resource: StoredResource, password: str | None) -> StoredResource:
        """Create a resource as `StorageAdapter.create` does."""
        values = kind.unique_values(resource.document)
        claims_of(self._zone, kind).refuse(values)
        refuse_named(self._accounts, kind, values, 0)
        refuse_foreign_name(self._accounts, kind, resource)
        number, name, note = self._account(kind, resource, values)
        kept = with_id(resource, number, next_version(FOREIGN, secrets.token_hex(8)))
        try:
            if password is not None:
                self._zone.set_password(name, password)
            if age(note.unit) > self._zone.write_limit_s / 2:
                raise BackendTimeout("iRODS took too long; nothing was created")
            self._zone.change_metadata(name, add=kind.metadata(kept))
            with after_write():
                owner = owner_of(number, name)
                for lost in claims_of(self._zone, kind, owner).lost([Claim(v, owner) for v in values]):
                    raise UniquenessConflict(lost.value.path)
        except StorageError:
            with suppress(StorageError):
                self._zone.remove_account(name)
                self._zone.take_metadata(self._zone.username, note)
            raise
        # The resource exists: the next repair removes a note that remains.
        with suppress(StorageError):
            self._zone.take_metadata(self._zone.username, note)
        return replace(kept, joined=False)

    def repair(self, only: str | None = None) -> None:
        """Remove the accounts whose creation was interrupted, or the one with a name."""
        for note in self._accounts.notes():
            if only in (None, note.value) and age(note.unit) > self._zone.write_limit_s:
                self._undo(note)

    def _undo(self, note: Avu) -> None:
        """Remove a note, and the account that it announces if that exists and has no document."""
        for account in self._accounts.named(note.value):
            made = datetime.fromisoformat(account.created).timestamp()
            began = time.time() - age(note.unit)
            # Another program may have created an account with this name at another time.
            is_near = -_SKEW_S <= made - began <= self._zone.write_limit_s + _SKEW_S
            if is_near and account.name == note.value and self._accounts.is_bare(account):
                _LOG.warning("iRODS account %s is removed: its creation was interrupted", account.number)
                self._zone.remove_account(account.name)
        self._zone.take_metadata(self._zone.username, note)

    def _account(
        self, kind: Kind, resource: StoredResource, values: set[UniqueValue]
    ) -> tuple[int, str, Avu]:
        """Create an account under the first free name; return its number, its name and the note about it."""
        for name in self._names(kind, resource):
            for _ in range(LOOKS):
                note = Avu(CREATING, name, mark())
                self._zone.add_metadata(self._zone.username, note)
                try:
                    number = self._zone.add_account(name, kind.account_type)
                except StorageError:
                    with suppress(StorageError):
                        # With another note, another writer is creating the account.
                        if [known for known in self._accounts.notes() if known.value == name] == [note]:
                            self._undo(note)
                    raise
                if number is not None:
                    return number, name, note
                self._zone.take_metadata(self._zone.username, note)
                # The other account has the value too, or only the name.
                claims_of(self._zone, kind).refuse(values)
                self.repair(name)
                refuse_named(self._accounts, kind, values, 0)
                if any(a.name == name and self._is_complete(a) for a in self._accounts.named(name)):
                    break
                time.sleep(LOOK_S)
            else:
                wait = self._zone.write_limit_s
                raise StorageUnavailable(f"an account is incomplete; it is removed within {wait:.0f} s")
        raise UniquenessConflict(kind.naming)

    def _is_complete(self, account: Account) -> bool:
        """Return whether nobody is creating an account at the moment."""
        return not self._accounts.is_bare(account) or self._accounts.is_foreign(account)

    @staticmethod
    def _names(kind: Kind, resource: StoredResource) -> Iterator[str]:
        value = resource.document.get(kind.naming)
        if not isinstance(value, str) or not value:
            raise ValueRefused(f"{kind.naming}: is required, because it is the name of the account")
        return names_of_user(value.casefold()) if kind.account_type == USERS else names_of_group(value)


# -- claims: the catalogue admits several on one value


def claims_of(zone: Zone, kind: Kind, owner: str = "", beside: Sequence[Avu] = ()) -> Claims:
    """Return the claims of an account; the metadata `beside` is added and removed together with them."""
    return Claims(_ZoneClaims(zone, kind, owner, beside), lambda: f"{_CLAIM}{mark()}")


class _ZoneClaims:
    """The claims of an account on values of its kind: a `storage.claims.ClaimStore`."""

    admits_several = True

    def __init__(self, zone: Zone, kind: Kind, owner: str, beside: Sequence[Avu]) -> None:
        self.lease_s = zone.write_limit_s
        self._zone = zone
        self._kind = kind
        self._owner = owner
        self._beside = beside

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        added = [*self._beside, *(claim_avu(self._kind, claim) for claim in claims)]
        if not self._zone.change_metadata(_name_of(self._owner), add=added):
            number = number_at(self._owner.partition(" ")[0])
            raise ResourceNotFound(self._kind.resource_type.name, str(number))
        return ()

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        digests = self._kind.seal.digests
        wanted = {
            (KEY + value.path, digest): value for value in values for digest in digests(value.path, value.key)
        }
        if not wanted:
            return []
        rows = self._zone.rows(
            (User.id, User.name, UserMeta.name, UserMeta.value, UserMeta.units),
            User.type == self._kind.account_type,
            User.zone == self._zone.name,
            In(UserMeta.name, sorted({attribute for attribute, _ in wanted})),
            In(UserMeta.value, sorted({key for _, key in wanted})),
        )
        found = []
        for row in rows:
            value, unit = wanted.get((row[UserMeta.name], row[UserMeta.value])), row[UserMeta.units] or ""
            if value is not None:
                # A clock that is ahead must not make a writer look gone.
                at = time.time() - max(0.0, age(unit)) if unit.startswith(_CLAIM) else None
                found.append(Claim(value, owner_of(row[User.id], row[User.name]), unit, at))
        return found

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        # The catalogue has the new one already.
        return any(self._zone.take_metadata(_name_of(seen.owner), avu) for avu in self._forms(seen))

    def remove_if(self, claims: Sequence[Claim]) -> None:
        removed = [*self._beside, *(claim_avu(self._kind, claim) for claim in claims)]
        self._zone.change_metadata(_name_of(self._owner), remove=removed)

    def _forms(self, claim: Claim) -> list[Avu]:
        """Return the metadata that a claim may be: its writer may have had other keys."""
        path, key = claim.value.path, claim.value.key
        return [Avu(KEY + path, digest, str(claim.token)) for digest in self._kind.seal.digests(path, key)]

    def holds(
        self, values: Sequence[UniqueValue], owners: Collection[str] = ()
    ) -> Collection[tuple[str, UniqueValue]]:
        return {(found.owner, found.value) for found in self.read(values) if found.at is None}


def owner_of(number: int, name: str) -> str:
    """Return an account as the owner of claims: older accounts come first."""
    return f"{place_of(number)} {name}"


def _name_of(owner: str) -> str:
    return owner.partition(" ")[2]


def claim_avu(kind: Kind, claim: Claim) -> Avu:
    """Return the metadata for a claim on a value that the account does not have yet."""
    return kind.key_avu(claim.value.path, claim.value.key, str(claim.token))


# -- marks of unfinished work


def mark() -> str:
    """Return a unique text with the time: others can see when they may repair unfinished work."""
    return f"{time.time() * 1000:.0f}:{secrets.token_hex(8)}"


def age(text: str) -> float:
    """Return the seconds since the mark at the end of `text` was made, or infinity without a mark."""
    milliseconds = text.split(":")[-2] if ":" in text else ""
    return time.time() - int(milliseconds) / 1000 if milliseconds.isdecimal() else float("inf")
