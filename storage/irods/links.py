"""Members of groups: users are members in iRODS itself; groups in groups, which it has not, are metadata."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from typing import Any, Final

from irods.column import In
from irods.models import Group, User, UserMeta

from storage.adapter import Member, Membership
from storage.batches import batches
from storage.errors import ResourceNotFound, ValueRefused, after_write
from storage.irods.find import Accounts
from storage.irods.form import CHUNK, MEMBER, MEMBER_DISPLAY, of_attribute
from storage.irods.kinds import SOME, Account, Kind, number_of
from storage.irods.names import SYSTEM_NAMES
from storage.irods.wire import GROUPS, USERS, Avu, Zone
from storage.nesting import nested

# The first members are often all that is asked for.
_FIRST: Final = 150
_NEXT: Final = 500


class Members:
    """The memberships of a zone; `kinds` are by the type of account."""

    def __init__(self, zone: Zone, accounts: Accounts, kinds: Mapping[str, Kind]) -> None:
        self._zone = zone
        self._accounts = accounts
        self._kinds = kinds

    def of(self, resource_id: str, limit: int | None) -> Iterator[Member]:
        """Yield the members of a group in the order of their ids, some at a time.

        No more than `limit` are wanted.
        """
        number = number_of(resource_id)
        if number is None:
            return
        avus = self._accounts.metadata(number, MEMBER)
        displays = {avu.unit: _display(avu) for avu in of_attribute(avus, MEMBER_DISPLAY)}
        nested = self._nested(avus)
        users = self._users(number, min(limit or _FIRST, _FIRST))
        for member in merge(users, nested, key=lambda member: int(member.resource_id)):
            display = displays.get(member.resource_id)
            yield replace(member, display=display) if display else member

    def _users(self, group: int, count: int) -> Iterator[Member]:
        kind, last = self._kinds[USERS], 0
        while True:
            found = self._accounts.members_of(kind, group, last, count)
            yield from (member for account, member in found if not self._accounts.is_system(account))
            if len(found) < count:
                return
            last, count = found[-1][0].number, _NEXT

    def _nested(self, avus: Sequence[Avu]) -> list[Member]:
        kind = self._kinds[GROUPS]
        numbers = _numbers(avu.value for avu in of_attribute(avus, MEMBER))
        return [self._accounts.member(kind, stored) for stored in self._accounts.with_ids(kind, numbers)]

    def change(self, group: Account, add: Iterable[Member], remove: Iterable[Member]) -> bool:
        """Remove members, then add others, and return whether that changed anything."""
        # No two accounts have one number: the type says nothing more.
        leaving = _numbers(dict.fromkeys(member.resource_id for member in remove))
        joining, changed = list(add), list[str]()
        with after_write(changed):
            if leaving:
                self._remove(group, leaving, changed)
            if joining:
                self._add(group, joining, changed)
        return bool(changed)

    def _remove(self, group: Account, leaving: Sequence[int], changed: list[str]) -> None:
        for batch in batches(leaving, SOME):
            in_group = (Group.id == group.number, In(User.id, batch), User.type == USERS)
            for row in self._zone.rows((User.id, User.name), *in_group):
                if self._zone.leave(group.name, row[User.name]):
                    changed.append(row[User.name])
        gone = set(map(str, leaving))
        avus = self._accounts.metadata(group.number, MEMBER)
        nested = [avu for avu in of_attribute(avus, MEMBER) if avu.value in gone]
        displays = [avu for avu in of_attribute(avus, MEMBER_DISPLAY) if avu.unit in gone]
        self._zone.change_metadata(group.name, remove=[*nested, *displays])
        changed += [avu.value for avu in nested]

    def _add(self, group: Account, joining: Sequence[Member], changed: list[str]) -> None:
        found = self._accounts.find(member.resource_id for member in joining)
        # Before anybody has joined: a display that cannot be held changes nothing.
        given = {
            member.resource_id: _display_avu(member)
            for member in joining
            if member.display and member.resource_id in found
            # Its own name, which is kept with the member, may be of any length.
            if member.display != found[member.resource_id][1].display
        }
        displays = []
        for member in joining:
            entry = found.get(member.resource_id)
            if entry is None or entry[1].resource_type != member.resource_type:
                continue
            account = entry[0]
            if account.account_type == USERS:
                joined = self._zone.join(group.name, account.name)
            else:
                joined = self._zone.add_metadata(group.name, Avu(MEMBER, member.resource_id))
            if joined:
                changed.append(member.resource_id)
            if joined and member.resource_id in given:
                displays.append(given[member.resource_id])
        self._zone.change_metadata(group.name, add=displays)

    def among(self, group_id: str, member_ids: Sequence[str]) -> list[Member]:
        """Return the members of a group with one of the ids, without reading the others."""
        group, nested = number_of(group_id), set()
        found: list[Member] = []
        for batch in batches(_numbers(member_ids) if group is not None else (), SOME):
            users = (User.type == USERS, User.zone == self._zone.name)
            in_group = (Group.id == group, In(User.id, batch), *users)
            for row in self._zone.rows((User.id, User.name), *in_group):
                if row[User.name] not in (*SYSTEM_NAMES, self._zone.username):
                    found.append(Member(str(row[User.id]), self._kinds[USERS].resource_type.name))
            values = In(UserMeta.value, [str(number) for number in batch])
            of_group = (User.id == group, UserMeta.name == MEMBER, values)
            nested |= {row[UserMeta.value] for row in self._zone.rows([UserMeta.value], *of_group)}
        if nested:
            # Another program may have removed the group that is named.
            kind = self._kinds[GROUPS]
            still = self._accounts.with_ids(kind, _numbers(nested))
            found += [self._accounts.member(kind, stored) for stored in still]
        return found

    def above(self, kind: Kind, resource_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups that each resource is in, directly or through groups in between."""
        numbers = _numbers(resource_ids)
        if kind.account_type == USERS:
            direct = self._groups_of_users(numbers)
        else:
            direct = self._parents(numbers)
        above = nested(direct, self._parents)
        every = dict.fromkeys(group for steps in above.values() for group in steps)
        groups = {
            int(stored.id): self._accounts.member(self._kinds[GROUPS], stored)
            for stored in self._accounts.with_ids(self._kinds[GROUPS], every)
        }
        found = {}
        for number, steps in above.items():
            if memberships := [
                Membership(group.resource_id, group.resource_type, group.display, steps[key] == 1)
                for key, group in sorted(groups.items())
                if key in steps
            ]:
                found[str(number)] = memberships
        return found

    def _groups_of_users(self, numbers: Sequence[int]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for batch in batches(numbers, SOME):
            of_users = (User.zone == self._zone.name, User.type == USERS, In(User.id, batch))
            for row in self._zone.rows((User.id, Group.id, Group.name), *of_users):
                # Every user is also the only member of a group with its own name.
                if row[Group.id] != row[User.id] and row[Group.name] not in SYSTEM_NAMES:
                    found.setdefault(row[User.id], set()).add(row[Group.id])
        return found

    def _parents(self, numbers: Sequence[int]) -> dict[int, set[int]]:
        """Return, for each of the groups in others, those."""
        found: dict[int, set[int]] = {}
        for batch in batches(numbers, SOME):
            values = In(UserMeta.value, [str(number) for number in batch])
            holding = (User.type == GROUPS, UserMeta.name == MEMBER, values)
            for row in self._zone.rows((User.id, UserMeta.value), *holding):
                found.setdefault(int(row[UserMeta.value]), set()).add(row[User.id])
        return found

    def groups_with(self, member: int) -> set[int]:
        """Return the groups that have a resource as a member themselves."""
        return set().union(
            *self._groups_of_users([member]).values(), *self._parents([member]).values()
        )

    def below(self, numbers: Iterable[int]) -> set[int]:
        """Return groups, and those in them, directly or not."""
        reached: set[int] = set()
        new = set(numbers)
        while new:
            reached |= new
            inner: set[int] = set()
            for batch in batches(sorted(new), SOME):
                holding = (In(User.id, batch), User.type == GROUPS, UserMeta.name == MEMBER)
                rows = self._zone.rows((User.id, UserMeta.value), *holding)
                inner.update(_numbers(row[UserMeta.value] for row in rows))
            new = inner - reached
        return reached

    def account_of(self, kind: Kind, resource_id: str) -> Account:
        """Return the account of a group. Raises ResourceNotFound."""
        found = self._accounts.find([resource_id]).get(resource_id)
        if found is None or found[0].account_type != kind.account_type:
            raise ResourceNotFound(kind.resource_type.name, resource_id)
        return found[0]


def _numbers(resource_ids: Iterable[str]) -> list[int]:
    return [number for i in resource_ids if (number := number_of(i)) is not None]


def _display_avu(member: Member) -> Avu:
    text = json.dumps(member.display)
    if len(text) > CHUNK:
        raise ValueRefused(f"members.display: must have {CHUNK} bytes at most")
    return Avu(MEMBER_DISPLAY, text, member.resource_id)


def _display(avu: Avu) -> str | None:
    try:
        display: Any = json.loads(avu.value)
    except ValueError:
        return None
    return display if isinstance(display, str) else None
