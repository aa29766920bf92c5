"""Reading the accounts of a zone as resources, those of other programs included.

An account without a document of this server is a resource with nothing but its name.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from irods.column import Criterion, In, Like
from irods.models import Group, User, UserMeta

from schema.values import format_date_time
from storage.adapter import Member, StoredResource
from storage.batches import batches
from storage.errors import ResourceNotFound
from storage.foreign_entries import ForeignEntries
from storage.index_keys import place_of
from storage.irods.form import (
    CREATING,
    DELETED,
    DOCUMENT,
    FOREIGN,
    MEMBER,
    OURS,
    SYSTEM_NAMES,
    Account,
    Kind,
    State,
    numbers_of,
    of_attribute,
    stored_from,
)
from storage.irods.seal import Seal
from storage.irods.wire import GROUPS, USERS, Avu, Row, Zone, avu_of

_LOG = logging.getLogger(__name__)
# The number of ids in one query.
SOME: Final = 50
# The number of consecutive accounts in one query.
_PAGE: Final = 500

_ACCOUNT: Final = (User.id, User.name, User.type, User.create_time, User.modify_time)
_METADATA: Final = (UserMeta.name, UserMeta.value, UserMeta.units)


class Accounts:
    """The accounts that are resources: no administrators, nothing that the zone needs for itself.

    `kinds` are by the type of account.
    """

    def __init__(
        self, zone: Zone, kinds: Mapping[str, Kind], foreign_entries: ForeignEntries, seal: Seal
    ) -> None:
        self._zone = zone
        self._seal = seal
        self._kinds = kinds
        self.foreign_entries = foreign_entries

    # -- one

    def get(self, kind: Kind, resource_id: str) -> StoredResource:
        """Return a resource. Raises ResourceNotFound."""
        for _, stored in self._documented(*self._of(kind), User.id == kind.number(resource_id)).values():
            return stored
        is_hidden = self.foreign_entries.are_hidden
        shown = None if is_hidden else self._shown(kind, self._account(kind, resource_id))
        if shown is None:
            raise ResourceNotFound(kind.resource_type.name, resource_id)
        return shown

    def state(self, kind: Kind, resource_id: str) -> State:
        """Return the state that a change begins with. Raises ResourceNotFound."""
        number = kind.number(resource_id)
        ours = Like(UserMeta.name, f"{OURS}%")
        rows = self._zone.rows((*_ACCOUNT, *_METADATA), *self._of(kind), User.id == number, ours)
        avus = frozenset(map(avu_of, rows))
        stored = stored_from(number, avus, self._seal)
        if stored is not None:
            return State(kind, _account(rows[0]), stored, avus)
        if self.foreign_entries.are_hidden and not of_attribute(avus, DOCUMENT):
            raise ResourceNotFound(kind.resource_type.name, resource_id)
        account = self._account(kind, resource_id)
        return State(kind, account, _bare(kind, account), avus)

    def _account(self, kind: Kind, resource_id: str) -> Account:
        for account in self._accounts(kind, User.id == kind.number(resource_id)):
            return account
        raise ResourceNotFound(kind.resource_type.name, resource_id)

    def metadata(self, number: int, prefix: str) -> list[Avu]:
        """Return the metadata of an account whose attributes begin with `prefix`."""
        rows = self._zone.rows(_METADATA, User.id == number, Like(UserMeta.name, f"{prefix}%"))
        return list(map(avu_of, rows))

    def named(self, name: str) -> list[Account]:
        """Return the accounts of any type with this name, in any case; system accounts too."""
        rows = self._zone.rows(_ACCOUNT, User.zone == self._zone.name, User.name == name, ignore_case=True)
        return list(map(_account, rows))

    def is_bare(self, account: Account) -> bool:
        """Return whether an account has no document of this server."""
        return not self._documented(User.id == account.number)

    def notes(self) -> list[Avu]:
        """Return the notes about the accounts that are being created."""
        own = (User.name == self._zone.username, User.zone == self._zone.name)
        return list(map(avu_of, self._zone.rows(_METADATA, *own, UserMeta.name == CREATING)))

    def is_system(self, name: str) -> bool:
        """Return whether an account serves the zone itself, or this server."""
        return name in SYSTEM_NAMES or name == self._zone.username

    def is_foreign(self, account: Account) -> bool:
        """Return whether another program made an account: this server neither made it nor is making it."""
        is_unknown = self.is_bare(account) and account.name not in {note.value for note in self.notes()}
        # This server may have completed it since the first look.
        return is_unknown and self.is_bare(account)

    # -- several

    def listed(self, kind: Kind) -> list[Account]:
        """Return every account that is a resource, in the order of creation."""
        own = (UserMeta.name == DOCUMENT,) if self.foreign_entries.are_hidden else ()
        return sorted(self._accounts(kind, *own), key=lambda account: account.number)

    def count_hidden(self, kind: Kind) -> int:
        """Return the number of accounts of other programs that are no resources."""
        if not self.foreign_entries.are_hidden:
            return 0
        every = {account.number for account in self._accounts(kind)}
        return len(every - self.matching(kind, UserMeta.name == DOCUMENT))

    def not_hidden(self, numbers: Collection[int]) -> Collection[int]:
        """Return those of the ids that are not of hidden accounts."""
        if not self.foreign_entries.are_hidden or not numbers:
            return numbers
        queries = ((In(User.id, some), UserMeta.name == DOCUMENT) for some in batches(sorted(numbers), SOME))
        return {row[User.id] for query in queries for row in self._zone.rows([User.id], *query)}

    def read(self, kind: Kind, accounts: Sequence[Account]) -> Iterator[StoredResource]:
        """Yield the resources of `accounts`, which are in order."""
        for batch in batches(accounts, _PAGE):
            numbers = [account.number for account in batch]
            if len(numbers) <= SOME:
                documented = self._documented(*self._of(kind), In(User.id, numbers))
            else:
                within = (User.id >= numbers[0], User.id <= numbers[-1])
                documented = self._documented(*self._of(kind), *within)
            for account in batch:
                found = documented.get(account.number)
                stored = found[1] if found else self._shown(kind, account)
                if stored is not None:
                    yield stored

    def with_ids(self, kind: Kind, numbers: Iterable[int]) -> list[StoredResource]:
        """Return the existing resources with these ids, in order."""
        found = self._found(sorted(set(numbers)), [kind])
        return [found[number][2] for number in sorted(found)]

    def find(self, resource_ids: Iterable[str]) -> dict[str, tuple[Account, Member]]:
        """Return the existing resources of any type with these ids, as accounts and as members."""
        found = self._found(sorted(set(numbers_of(resource_ids))), list(self._kinds.values()))
        return {
            str(number): (account, kind.member(stored)) for number, (kind, account, stored) in found.items()
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
            bare = [number for number in batch if number not in documented]
            for kind in kinds if bare and not self.foreign_entries.are_hidden else ():
                for account in self._accounts(kind, In(User.id, bare)):
                    if (shown := self._shown(kind, account)) is not None:
                        found[account.number] = kind, account, shown
        return found

    def _shown(self, kind: Kind, account: Account) -> StoredResource | None:
        """Return an account of another program as callers get it, None if they do not."""
        return self.foreign_entries.shown(_bare(kind, account))

    def matching(self, kind: Kind, *criteria: Criterion, ignore_case: bool = False) -> set[int]:
        """Return the ids of the accounts that meet the criteria."""
        rows = self._zone.rows([User.id], *self._of(kind), *criteria, ignore_case=ignore_case)
        return {row[User.id] for row in rows}

    def _documented(self, *criteria: Criterion) -> dict[int, tuple[Account, StoredResource]]:
        """Return the accounts that have a document of this server, with the resource in it.

        An account whose document cannot be read is a resource with nothing but its name.
        """
        pieces: dict[int, list[Row]] = {}
        for row in self._zone.rows((*_ACCOUNT, *_METADATA), *criteria, UserMeta.name == DOCUMENT):
            pieces.setdefault(row[User.id], []).append(row)
        found = {}
        for number, rows in pieces.items():
            account = _account(rows[0])
            stored = stored_from(number, map(avu_of, rows), self._seal)
            if stored is None and account.account_type in self._kinds:
                _LOG.warning("iRODS account %s: its document cannot be read", number)
                stored = _bare(self._kinds[account.account_type], account)
            if stored is not None:
                found[number] = account, stored
        return found

    def _accounts(self, kind: Kind, *criteria: Criterion) -> list[Account]:
        rows = self._zone.rows(_ACCOUNT, *self._of(kind), *criteria)
        accounts = [_account(row) for row in rows if not self.is_system(row[User.name])]
        if accounts and kind.account_type == GROUPS:
            # The groups with the data of deleted users are no resources.
            deleted = self.matching(kind, UserMeta.name == DELETED)
            accounts = [account for account in accounts if account.number not in deleted]
        unfinished = {note.value for note in self.notes()} if accounts else set()
        return [a for a in accounts if a.name not in unfinished or not self.is_bare(a)]

    def _of(self, kind: Kind) -> list[Criterion]:
        return [User.type == kind.account_type, User.zone == self._zone.name]

    # -- users in groups, and groups in groups

    def users_in(self, group: int, after: int, count: int) -> list[tuple[Account, Member | None]]:
        """Return up to `count` users in a group with ids above `after`, in the order of ids.

        An account that is no resource is no member.
        """
        kind = self._kinds[USERS]
        in_group = [Group.id == group, User.id > after]
        rows = self._zone.rows(_ACCOUNT, *self._of(kind), *in_group, first=count)
        accounts = sorted(map(_account, rows), key=lambda account: account.number)
        members = {int(stored.id): kind.member(stored) for stored in self.read(kind, accounts)}
        return [(account, members.get(account.number)) for account in accounts]

    def groups_of_users(self, numbers: Sequence[int]) -> dict[int, set[int]]:
        """Return the groups that each user is in directly."""
        found: dict[int, set[int]] = {}
        for batch in batches(numbers, SOME):
            users = (*self._of(self._kinds[USERS]), In(User.id, batch))
            for row in self._zone.rows((User.id, Group.id, Group.name), *users):
                # Every user is also the only member of a group with its own name.
                if row[Group.id] != row[User.id] and row[Group.name] not in SYSTEM_NAMES:
                    found.setdefault(row[User.id], set()).add(row[Group.id])
        return found

    def groups_of_groups(self, numbers: Sequence[int]) -> dict[int, set[int]]:
        """Return the groups that each group is in directly."""
        found: dict[int, set[int]] = {}
        for batch in batches(numbers, SOME):
            values = In(UserMeta.value, [str(number) for number in batch])
            holding = (User.type == GROUPS, UserMeta.name == MEMBER, values)
            for row in self._zone.rows((User.id, UserMeta.value), *holding):
                found.setdefault(int(row[UserMeta.value]), set()).add(row[User.id])
        return found

    def with_nested(self, group: int) -> set[int]:
        """Return a group and the groups in it, directly or not."""
        reached: set[int] = set()
        new = {group}
        while new:
            reached |= new
            inner: set[int] = set()
            for batch in batches(sorted(new), SOME):
                holding = (In(User.id, batch), User.type == GROUPS, UserMeta.name == MEMBER)
                rows = self._zone.rows((User.id, UserMeta.value), *holding)
                inner.update(numbers_of(row[UserMeta.value] for row in rows))
            new = inner - reached
        return reached


def _bare(kind: Kind, account: Account) -> StoredResource:
    """Return an account without a document as a resource."""
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
    # The client returns a text for a time that is no number of seconds.
    return format_date_time(value) if isinstance(value, datetime) else "1970-01-01T00:00:00.000Z"
