"""Reading the accounts of a zone as resources, whoever made them.

An account without a document of ours is read as far as it goes: its name is the name of the resource.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from irods.column import Criterion, In, Like
from irods.models import Group, User, UserMeta

from schema.values import format_date_time
from storage.adapter import Member, StoredResource
from storage.batches import batches
from storage.errors import ResourceNotFound
from storage.index_keys import place_of
from storage.irods.form import CREATING, DELETED, DOCUMENT, FOREIGN, OURS, stored_from
from storage.irods.kinds import SOME, Account, Kind, State, number_of, required
from storage.irods.names import SYSTEM_NAMES
from storage.irods.wire import GROUPS, Avu, Row, Zone

_LOG = logging.getLogger(__name__)
# How many accounts in a row are asked for in one query.
_PAGE: Final = 500

_ACCOUNT: Final = (User.id, User.name, User.type, User.create_time, User.modify_time)
_WHOLE: Final = (*_ACCOUNT, UserMeta.name, UserMeta.value, UserMeta.units)


class Accounts:
    """The accounts that are resources: no administrators, nothing that the zone needs for itself."""

    def __init__(self, zone: Zone, kinds: Mapping[str, Kind]) -> None:
        self._zone = zone
        self._kinds = kinds

    # -- one

    def get(self, kind: Kind, resource_id: str) -> StoredResource:
        """Return a resource. Raises ResourceNotFound."""
        number = required(kind, resource_id)
        for _, stored in self._documented(*self._of(kind), User.id == number).values():
            return stored
        return self._foreign(kind, self._account(kind, resource_id))

    def state(self, kind: Kind, resource_id: str) -> State:
        """Return what a writer must know. Raises ResourceNotFound."""
        number = required(kind, resource_id)
        ours = Like(UserMeta.name, f"{OURS}%")
        rows = self._zone.rows(_WHOLE, *self._of(kind), User.id == number, ours)
        avus = frozenset(map(_avu, rows))
        stored = stored_from(number, avus)
        if stored is not None:
            return State(_account(rows[0]), stored, avus)
        account = self._account(kind, resource_id)
        return State(account, self._foreign(kind, account), avus)

    def _account(self, kind: Kind, resource_id: str) -> Account:
        for account in self._accounts(kind, User.id == required(kind, resource_id)):
            return account
        raise ResourceNotFound(kind.resource_type.name, resource_id)

    def metadata(self, number: int, prefix: str) -> list[Avu]:
        """Return the metadata of an account whose attributes begin with `prefix`."""
        rows = self._zone.rows(_WHOLE[-3:], User.id == number, Like(UserMeta.name, f"{prefix}%"))
        return [_avu(row) for row in rows]

    def named(self, name: str) -> list[Account]:
        """Return the accounts of any type with this name, in any case; system accounts too."""
        rows = self._zone.rows(_ACCOUNT, User.zone == self._zone.name, User.name == name, ignore_case=True)
        return [_account(row) for row in rows]

    def is_bare(self, account: Account) -> bool:
        """Return whether an account has no document of ours."""
        return not self._documented(User.id == account.number)

    def is_foreign(self, account: Account) -> bool:
        """Return whether an account has no document of ours, and is not getting one."""
        return self.is_bare(account) and account.name not in {note.value for note in self.notes()}

    # -- several

    def listed(self, kind: Kind) -> list[Account]:
        """Return every account that is a resource, in the order they were made in."""
        return sorted(self._accounts(kind), key=lambda account: account.number)

    def read(self, kind: Kind, accounts: Sequence[Account]) -> Iterator[StoredResource]:
        """Yield the resources of `accounts`, which are in order."""
        for start in range(0, len(accounts), _PAGE):
            batch = accounts[start : start + _PAGE]
            if len(batch) <= SOME:
                yield from self._with_documents(kind, batch, [In(User.id, [a.number for a in batch])])
            else:
                within = [User.id >= batch[0].number, User.id <= batch[-1].number]
                yield from self._with_documents(kind, batch, within)

    def with_ids(self, kind: Kind, numbers: Iterable[int]) -> list[StoredResource]:
        """Return the resources with these ids, in order; ids that none has are left out."""
        found = self._found(sorted(set(numbers)), [kind])
        return [found[number][2] for number in sorted(found)]

    def find(self, resource_ids: Iterable[str]) -> dict[str, tuple[Account, Member]]:
        """Return those of the ids that are resources of any type, as accounts and as members."""
        numbers = sorted({number for i in resource_ids if (number := number_of(i)) is not None})
        found = self._found(numbers, list(self._kinds.values()))
        return {
            str(number): (account, self.member(kind, stored))
            for number, (kind, account, stored) in found.items()
        }

    def _found(
        self, numbers: Sequence[int], kinds: Sequence[Kind]
    ) -> dict[int, tuple[Kind, Account, StoredResource]]:
        found = {}
        wanted = {kind.account_type: kind for kind in kinds}
        for batch in batches(numbers, SOME):
            documented = self._documented(User.zone == self._zone.name, In(User.id, batch))
            for number, (account, stored) in documented.items():
                if account.account_type in wanted:
                    found[number] = wanted[account.account_type], account, stored
            rest = [number for number in batch if number not in documented]
            for kind in kinds if rest else ():
                for account in self._accounts(kind, In(User.id, rest)):
                    found[account.number] = kind, account, self._foreign(kind, account)
        return found

    def _documented(self, *criteria: Criterion) -> dict[int, tuple[Account, StoredResource]]:
        """Return the accounts that have a document of ours, with the resource in it."""
        pieces: dict[int, list[Row]] = {}
        for row in self._zone.rows(_WHOLE, *criteria, UserMeta.name == DOCUMENT):
            pieces.setdefault(row[User.id], []).append(row)
        found = {}
        for number, rows in pieces.items():
            stored = stored_from(number, map(_avu, rows))
            if stored is None:
                _LOG.warning("iRODS account %s: its document cannot be read", number)
            else:
                found[number] = _account(rows[0]), stored
        return found

    def member(self, kind: Kind, stored: StoredResource) -> Member:
        resource_type = kind.resource_type
        return Member(stored.id, resource_type.name, resource_type.display(stored.document))

    def members_of(self, kind: Kind, group: int, after: int, count: int) -> list[tuple[Account, Member]]:
        """Return up to `count` accounts of a kind in a group with ids above `after`, in order of ids."""
        in_group = [Group.id == group, User.id > after]
        rows = self._zone.rows(_ACCOUNT, *self._of(kind), *in_group, first=count)
        accounts = [_account(row) for row in rows]
        return [(account, self.member(kind, stored)) for account, stored in self._paired(kind, accounts)]

    def holding(self, kind: Kind, *criteria: Criterion) -> set[int]:
        """Return the ids of the accounts with a piece of metadata that meets the criteria."""
        rows = self._zone.rows([User.id], *self._of(kind), *criteria)
        return {row[User.id] for row in rows}

    def beginning(self, kind: Kind, text: str) -> set[int]:
        """Return the ids of the accounts whose name begins with `text`, in any case."""
        like = Like(User.name, f"{text}%")
        return {row[User.id] for row in self._zone.rows([User.id], *self._of(kind), like, ignore_case=True)}

    def _with_documents(
        self, kind: Kind, accounts: Sequence[Account], criteria: Sequence[Criterion]
    ) -> Iterator[StoredResource]:
        documented = self._documented(*self._of(kind), *criteria)
        for account in accounts:
            found = documented.get(account.number)
            yield found[1] if found else self._foreign(kind, account)

    def _paired(self, kind: Kind, accounts: Sequence[Account]) -> list[tuple[Account, StoredResource]]:
        ordered = sorted(accounts, key=lambda account: account.number)
        return list(zip(ordered, self.read(kind, ordered), strict=True))

    def _accounts(self, kind: Kind, *criteria: Criterion) -> list[Account]:
        rows = self._zone.rows(_ACCOUNT, *self._of(kind), *criteria)
        accounts = [account for row in rows if not self.is_system(account := _account(row))]
        if accounts and kind.account_type == GROUPS:
            # Groups that hold the data of deleted users are no resources.
            deleted = self.holding(kind, UserMeta.name == DELETED)
            accounts = [account for account in accounts if account.number not in deleted]
        unfinished = {note.value for note in self.notes()} if accounts else set()
        return [a for a in accounts if a.name not in unfinished or not self.is_bare(a)]

    def notes(self) -> list[Avu]:
        """Return the notes of the accounts that are being made."""
        own = (User.name == self._zone.username, User.zone == self._zone.name)
        return list(map(_avu, self._zone.rows(_WHOLE[-3:], *own, UserMeta.name == CREATING)))

    def is_system(self, account: Account) -> bool:
        """Return whether an account serves the zone itself, or this service."""
        return account.name in SYSTEM_NAMES or account.name == self._zone.username

    def _of(self, kind: Kind) -> list[Criterion]:
        return [User.type == kind.account_type, User.zone == self._zone.name]

    @staticmethod
    def _foreign(kind: Kind, account: Account) -> StoredResource:
        resource: dict[str, Any] = {"schemas": [kind.resource_type.schema.id], "id": str(account.number)}
        resource[kind.naming] = account.name
        return StoredResource(
            str(account.number),
            orjson.dumps(resource).decode(),
            version=FOREIGN,
            created=account.created,
            last_modified=account.modified,
            place=place_of(account.number),
        )


def _account(row: Row) -> Account:
    created, modified = _instant(row[User.create_time]), _instant(row[User.modify_time])
    return Account(row[User.id], row[User.name], row[User.type], created, modified)


def _instant(value: Any) -> str:
    # What is no number of seconds is left as text by the client.
    return format_date_time(value) if isinstance(value, datetime) else "1970-01-01T00:00:00.000Z"


def _avu(row: Row) -> Avu:
    return Avu(row[UserMeta.name] or "", row[UserMeta.value] or "", row[UserMeta.units] or "")
