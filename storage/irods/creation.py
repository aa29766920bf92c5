"""Making accounts for new resources, and undoing what was left half made.

What is being made is noted in metadata of the service's own account until it is done.
"""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from storage.adapter import StoredResource
from storage.claims import Claim, UniqueValue
from storage.errors import (
    BackendTimeout,
    StorageError,
    StorageUnavailable,
    UniquenessConflict,
    ValueRefused,
    after_write,
)
from storage.irods.find import Accounts
from storage.irods.form import CREATING, FOREIGN, VERSION, document_avus, next_version, with_id
from storage.irods.kinds import Account, Kind
from storage.irods.marks import age, is_stale, limit_s, mark
from storage.irods.names import names_of_group, names_of_user
from storage.irods.uniqueness import UniqueValues, owner_of, values_of
from storage.irods.wire import USERS, Avu, Zone

_LOG = logging.getLogger(__name__)
# How often, and how many seconds apart, a writer looks whether an account that is being made is finished.
_LOOKS: Final = 20
_PAUSE_S: Final = 0.1
# Clocks of servers differ by less, in seconds.
_SKEW_S: Final = 60.0


class Creation:
    """Makes the accounts of resources."""

    def __init__(self, zone: Zone, accounts: Accounts, unique: UniqueValues) -> None:
        self._zone = zone
        self._accounts = accounts
        self._unique = unique

    def create(self, kind: Kind, resource: StoredResource, password: str | None) -> StoredResource:
        """As `StorageAdapter.create` says."""
        values = values_of(kind, resource.document)
        self._unique.claims(kind).refuse(values)
        self._unique.refuse_named(kind, values, 0)
        number, name, note = self._make(kind, resource, values)
        kept = with_id(resource, number, next_version(FOREIGN, secrets.token_hex(8)))
        avus = {*document_avus(kept), *kind.keys.all_of(kept.document), Avu(VERSION, kept.version)}
        try:
            if password is not None:
                self._zone.set_password(name, password)
            if age(note.unit) > limit_s(self._zone.timeout_s) / 2:
                raise BackendTimeout("iRODS took too long; nothing was created")
            self._zone.change_metadata(name, add=avus)
            with after_write():
                owner = owner_of(number, name)
                for lost in self._unique.claims(kind, owner).lost([Claim(v, owner) for v in values]):
                    raise UniquenessConflict(lost.value.path)
        except StorageError:
            with suppress(StorageError):
                self._zone.remove_account(name)
                self._zone.take_metadata(self._zone.username, note)
            raise
        # The resource is there: a note that stays is dropped by who meets it.
        with suppress(StorageError):
            self._zone.take_metadata(self._zone.username, note)
        return replace(kept, joined=False)

    def repair(self, only: str | None = None) -> None:
        """Remove the accounts whose making was interrupted, or the one with a name."""
        for note in self._accounts.notes():
            if only in (None, note.value) and is_stale(note.unit, self._zone.timeout_s):
                for account in self._accounts.named(note.value):
                    self._remove_half_made(account, note)
                self._zone.take_metadata(self._zone.username, note)

    def _remove_half_made(self, account: Account, note: Avu) -> None:
        made = datetime.fromisoformat(account.created).timestamp()
        began = datetime.now().timestamp() - age(note.unit)
        # An account that somebody made by that name at another time is not ours.
        near = -_SKEW_S <= made - began <= limit_s(self._zone.timeout_s) + _SKEW_S
        if near and account.name == note.value and self._accounts.is_bare(account):
            _LOG.warning("iRODS account %s is removed: its creation was interrupted", account.number)
            self._zone.remove_account(account.name)

    def _undo(self, note: Avu) -> None:
        """Remove what an account is if it was made at all, and nobody else is making it."""
        if [known for known in self._accounts.notes() if known.value == note.value] == [note]:
            for account in self._accounts.named(note.value):
                self._remove_half_made(account, note)
            self._zone.take_metadata(self._zone.username, note)

    def _make(
        self, kind: Kind, resource: StoredResource, values: set[UniqueValue]
    ) -> tuple[int, str, Avu]:
        for name in self._names(kind, resource):
            for _ in range(_LOOKS):
                note = Avu(CREATING, name, mark())
                self._zone.add_metadata(self._zone.username, note)
                try:
                    number = self._zone.add_account(name, kind.account_type)
                except StorageError:
                    with suppress(StorageError):
                        self._undo(note)
                    raise
                if number is not None:
                    return number, name, note
                self._zone.take_metadata(self._zone.username, note)
                # Whoever was first has the value, unless it only has the name.
                self._unique.claims(kind).refuse(values)
                self.repair(name)
                self._unique.refuse_named(kind, values, 0)
                if any(a.name == name and not self._accounts.is_bare(a) for a in self._accounts.named(name)):
                    break
                time.sleep(_PAUSE_S)
            else:
                wait = limit_s(self._zone.timeout_s)
                raise StorageUnavailable(f"an account is incomplete; it is removed within {wait:.0f} s")
        raise UniquenessConflict(kind.naming)

    @staticmethod
    def _names(kind: Kind, resource: StoredResource) -> Iterator[str]:
        path = kind.resource_type.path(kind.naming)
        value = resource.document.get(kind.naming)
        if path is None or not isinstance(value, str) or not value:
            raise ValueRefused(f"{kind.naming}: is required, because it is the name of the account")
        return names_of_user(value.casefold()) if kind.account_type == USERS else names_of_group(value)
