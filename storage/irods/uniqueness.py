"""Keeping unique values unique where the catalogue has no constraint for them.

A writer first makes its wish visible as metadata and then looks for others: of two writers of one
value at least one sees the other. Who has the lower id waits for the others to give way, who has a
higher one gives way; a value that somebody really has makes everybody else give way.
"""

import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from irods.column import In
from irods.models import User, UserMeta

from storage.errors import UniquenessConflict
from storage.irods.accounts import Accounts
from storage.irods.kinds import Kind
from storage.irods.marks import is_stale, mark
from storage.irods.metadata import path_of
from storage.irods.names import SYSTEM_NAMES, is_plain
from storage.irods.zone import GROUPS, Avu, Zone

_CLAIM: Final = "claim:"
# How often, and how many seconds apart, a writer looks whether others have given way.
_LOOKS: Final = 20
_PAUSE_S: Final = 0.05


class UniqueValues:
    """The unique values of the resources of a zone."""

    def __init__(self, zone: Zone, accounts: Accounts) -> None:
        self._zone = zone
        self._accounts = accounts

    def claims(self, keys: Iterable[Avu]) -> list[Avu]:
        """Return the metadata by which a resource claims keys that it does not have yet."""
        unit = _CLAIM + mark()
        return [Avu(key.attribute, key.value, unit) for key in keys]

    def refuse_taken(self, kind: Kind, keys: Iterable[Avu]) -> None:
        """Raise UniquenessConflict when another resource has or claims one of the keys."""
        for avu, _, _ in self._holders(kind, set(keys)):
            raise UniquenessConflict(path_of(avu))

    def refuse_named(self, kind: Kind, keys: Iterable[Avu], number: int) -> None:
        """Raise UniquenessConflict when an account other than `number` has one of the keys as its name.

        Accounts that this service made, or is making, are left out: they may be called otherwise.
        """
        for key in keys:
            name = unquote(key.value)
            if path_of(key) != kind.naming or not is_plain(name):
                continue
            for account in self._accounts.named(name):
                if account.number == number or (
                    account.account_type == GROUPS and account.name not in SYSTEM_NAMES
                ):
                    continue
                if account.account_type != kind.account_type or self._accounts.is_foreign(account):
                    raise UniquenessConflict(kind.naming)

    def settle(self, kind: Kind, number: int, keys: Iterable[Avu]) -> None:
        """Return when the resource `number`, whose wish is visible, may have the keys.

        Raises UniquenessConflict when it may not.
        """
        wanted = set(keys)
        for look in range(_LOOKS):
            others = [(avu, holder) for avu, holder, _ in self._holders(kind, wanted) if holder != number]
            if not others:
                return
            avu, first = min(others, key=lambda other: other[1])
            if first < number or look == _LOOKS - 1:
                raise UniquenessConflict(path_of(avu))
            time.sleep(_PAUSE_S)

    def _holders(self, kind: Kind, keys: set[Avu]) -> list[tuple[Avu, int, str]]:
        """Return (key, id, unit) of all that have or claim one of the keys; what is stale goes."""
        if not keys:
            return []
        columns = (User.id, User.name, UserMeta.name, UserMeta.value, UserMeta.units)
        rows = self._zone.rows(
            columns,
            User.type == kind.account_type,
            User.zone == self._zone.name,
            In(UserMeta.name, sorted({key.attribute for key in keys})),
            In(UserMeta.value, sorted({key.value for key in keys})),
        )
        holders = []
        for row in rows:
            key = Avu(row[UserMeta.name], row[UserMeta.value])
            unit = row[UserMeta.units] or ""
            if key not in keys:
                continue
            if unit.startswith(_CLAIM) and is_stale(unit, self._zone.timeout_s):
                # Whoever claimed it went away in mid-work.
                self._zone.take_metadata(row[User.name], Avu(key.attribute, key.value, unit))
                continue
            holders.append((key, row[User.id], unit))
        return holders
