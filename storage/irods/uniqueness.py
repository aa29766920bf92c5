"""Claims on unique values (`storage.claims`) as metadata of accounts, of which the catalogue takes several.

The piece that a value is found by is its claim, too: while its unit begins with `claim:`, the account does
not have the value yet.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from irods.column import In
from irods.models import User, UserMeta

from storage.claims import Claim, Claims, UniqueValue
from storage.errors import ResourceNotFound, UniquenessConflict
from storage.index_keys import number_at, place_of
from storage.irods.find import Accounts
from storage.irods.form import KEY, path_of
from storage.irods.kinds import Kind
from storage.irods.marks import age, limit_s, mark
from storage.irods.names import SYSTEM_NAMES, is_plain
from storage.irods.wire import GROUPS, Avu, Zone

_CLAIM: Final = "claim:"


class UniqueValues:
    """The unique values of the resources of a zone."""

    def __init__(self, zone: Zone, accounts: Accounts) -> None:
        self._zone = zone
        self._accounts = accounts

    def claims(self, kind: Kind, owner: str = "", beside: Sequence[Avu] = ()) -> Claims:
        """Return the claims of an account; `beside` is metadata that comes and goes with them."""
        return Claims(ZoneClaims(self._zone, kind, owner, beside), lambda: f"{_CLAIM}{mark()}")

    def refuse_named(self, kind: Kind, values: Collection[UniqueValue], number: int) -> None:
        """Raise UniquenessConflict when an account other than `number` has one of the values as its name.

        Accounts that this service made, or is making, are left out: they may be called otherwise.
        """
        for value in values:
            name = unquote(value.key)
            if value.path != kind.naming or not is_plain(name):
                continue
            for account in self._accounts.named(name):
                if account.number == number or (
                    account.account_type == GROUPS and account.name not in SYSTEM_NAMES
                ):
                    continue
                if account.account_type != kind.account_type or self._accounts.is_foreign(account):
                    raise UniquenessConflict(kind.naming)


class ZoneClaims:
    """The claims of an account on values of its kind: a `storage.claims.ClaimStore`."""

    admits_several = True

    def __init__(self, zone: Zone, kind: Kind, owner: str, beside: Sequence[Avu]) -> None:
        self.lease_s = limit_s(zone.timeout_s)
        self._zone = zone
        self._kind = kind
        self._name = _name_of(owner)
        self._owner = owner
        self._beside = beside

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        if not self._zone.change_metadata(self._name, add=[*self._beside, *map(claim_avu, claims)]):
            number = number_at(self._owner.partition(" ")[0])
            raise ResourceNotFound(self._kind.resource_type.name, str(number))
        return ()

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        wanted = {_avu(value): value for value in values}
        if not wanted:
            return []
        rows = self._zone.rows(
            (User.id, User.name, UserMeta.name, UserMeta.value, UserMeta.units),
            User.type == self._kind.account_type,
            User.zone == self._zone.name,
            In(UserMeta.name, sorted({key.attribute for key in wanted})),
            In(UserMeta.value, sorted({key.value for key in wanted})),
        )
        found = []
        for row in rows:
            value, unit = wanted.get(Avu(row[UserMeta.name], row[UserMeta.value])), row[UserMeta.units] or ""
            if value is not None:
                # A clock that is ahead must not make a writer look gone.
                at = time.time() - max(0.0, age(unit)) if unit.startswith(_CLAIM) else None
                found.append(Claim(value, owner_of(row[User.id], row[User.name]), unit, at))
        return found

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        # The new one is there already.
        return self._zone.take_metadata(_name_of(seen.owner), claim_avu(seen))

    def remove_if(self, claims: Sequence[Claim]) -> None:
        self._zone.change_metadata(self._name, remove=[*self._beside, *map(claim_avu, claims)])

    def holds(
        self, values: Sequence[UniqueValue], owners: Collection[str] = ()
    ) -> Collection[tuple[str, UniqueValue]]:
        return {(found.owner, found.value) for found in self.read(values) if found.at is None}


def values_of(kind: Kind, document: Mapping[str, Any]) -> set[UniqueValue]:
    """Return the unique values of a resource, with the keys that metadata has."""
    name = kind.resource_type.name
    return {UniqueValue(name, path_of(avu), avu.value) for avu in kind.keys.unique_of(document)}


def owner_of(number: int, name: str) -> str:
    """Return the owner that an account is: older accounts first."""
    return f"{place_of(number)} {name}"


def _name_of(owner: str) -> str:
    return owner.partition(" ")[2]


def claim_avu(claim: Claim) -> Avu:
    """Return the metadata by which an account claims a value that it does not have yet."""
    return replace(_avu(claim.value), unit=str(claim.token))


def _avu(value: UniqueValue) -> Avu:
    return Avu(KEY + value.path, value.key)
