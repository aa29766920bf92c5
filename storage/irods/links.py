"""Members of groups: iRODS has users in groups itself; groups in groups are metadata."""

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
from storage.irods.find import SOME, Accounts
from storage.irods.form import (
    CHUNK,
    MEMBER,
    MEMBER_DISPLAY,
    Account,
    Kind,
    number_of,
    numbers_of,
    of_attribute,
)
from storage.irods.seal import KeyMissing
from storage.irods.wire import GROUPS, USERS, Avu, Row, Zone
from storage.nesting import nested

# Many clients want the first members only.
_FIRST: Final = 150
_NEXT: Final = 500


class Links:
    """The memberships of a zone; `kinds` are by the type of account."""

    def __init__(self, zone: Zone, accounts: Accounts, kinds: Mapping[str, Kind]) -> None:
        self._zone = zone
        self._accounts = accounts
        self._kinds = kinds

    # -- reading

    def members(self, resource_id: str, limit: int | None) -> Iterator[Member]:
        """Yield the members of a group in the order of their ids; the caller reads at most `limit`."""
        number = number_of(resource_id)
        if number is None:
            return
        avus = self._accounts.metadata(number, MEMBER)
        displays = {_member_of(avu): self._display(avu) for avu in of_attribute(avus, MEMBER_DISPLAY)}
        groups = self._groups(avu.value for avu in of_attribute(avus, MEMBER))
        users = self._users(number, min(limit or _FIRST, _FIRST))
        for member in merge(users, groups, key=lambda member: int(member.resource_id)):
            display = displays.get(member.resource_id)
            yield replace(member, display=display) if display else member

    def _users(self, group: int, count: int) -> Iterator[Member]:
        last = 0
        while True:
            found = self._accounts.users_in(group, last, count)
            for account, member in found:
                if member is not None and not self._accounts.is_system(account.name):
                    yield member
            if len(found) < count:
                return
            last, count = found[-1][0].number, _NEXT

    def _groups(self, resource_ids: Iterable[str]) -> list[Member]:
        """Return the existing groups among some ids, of which another program may have removed some."""
        kind = self._kinds[GROUPS]
        return [kind.member(stored) for stored in self._accounts.with_ids(kind, numbers_of(resource_ids))]

    def among(self, group_id: str, member_ids: Sequence[str]) -> list[Member]:
        """Return the members of a group with one of the ids, without reading the others."""
        group, groups = number_of(group_id), set[str]()
        found: list[Member] = []
        for batch in batches(numbers_of(member_ids) if group is not None else (), SOME):
            users = (User.type == USERS, User.zone == self._zone.name)
            in_group = (Group.id == group, In(User.id, batch), *users)
            rows = self._zone.rows((User.id, User.name), *in_group)
            there = [row[User.id] for row in rows if not self._is_system(row)]
            type_name = self._kinds[USERS].resource_type.name
            found += [Member(str(number), type_name) for number in self._accounts.not_hidden(there)]
            values = In(UserMeta.value, [str(number) for number in batch])
            of_group = (User.id == group, UserMeta.name == MEMBER, values)
            groups |= {row[UserMeta.value] for row in self._zone.rows([UserMeta.value], *of_group)}
        return [*found, *self._groups(groups)] if groups else found

    def memberships(self, kind: Kind, resource_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups that each resource is in, directly or through groups in between."""
        of_groups, of_users = self._accounts.groups_of_groups, self._accounts.groups_of_users
        direct = (of_users if kind.account_type == USERS else of_groups)(numbers_of(resource_ids))
        above = nested(direct, of_groups)
        every = dict.fromkeys(group for steps in above.values() for group in steps)
        groups = {
            int(stored.id): self._kinds[GROUPS].member(stored)
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

    def _display(self, avu: Avu) -> str | None:
        try:
            display: Any = json.loads(self._kinds[GROUPS].seal.opened(avu.value))
        except (ValueError, KeyMissing):
            return None
        return display if isinstance(display, str) else None

    def _is_system(self, row: Row) -> bool:
        return self._accounts.is_system(row[User.name])

    # -- changing

    def change(
        self, kind: Kind, group_id: str, add: Iterable[Member], remove: Iterable[Member]
    ) -> bool:
        """Remove members, then add others, and return whether that changed anything."""
        # The name of the group is read now: another program may have changed it.
        group, _ = self._accounts.find([group_id]).get(group_id, (None, None))
        if group is None or group.account_type != kind.account_type:
            raise ResourceNotFound(kind.resource_type.name, group_id)
        # No two accounts have one number, so the types of the members do not matter.
        leaving = numbers_of(dict.fromkeys(member.resource_id for member in remove))
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
            rows = self._zone.rows((User.id, User.name), *in_group)
            names = {row[User.id]: row[User.name] for row in rows if not self._is_system(row)}
            for number in self._accounts.not_hidden(names):
                if self._zone.leave(group.name, names[number]):
                    changed.append(names[number])
        gone = set(map(str, leaving))
        avus = self._accounts.metadata(group.number, MEMBER)
        nested = [avu for avu in of_attribute(avus, MEMBER) if avu.value in gone]
        displays = [avu for avu in of_attribute(avus, MEMBER_DISPLAY) if _member_of(avu) in gone]
        self._zone.change_metadata(group.name, remove=[*nested, *displays])
        changed += [avu.value for avu in nested]
        if nested or displays:
            # Of metadata with twin rows, the request before may have left some.
            left = self._accounts.metadata(group.number, MEMBER)
            for avu in {*nested, *displays}.intersection(left):
                self._zone.take_metadata(group.name, avu)

    def _add(self, group: Account, joining: Sequence[Member], changed: list[str]) -> None:
        found = self._accounts.find(member.resource_id for member in joining)
        entries = [(member, *found[member.resource_id]) for member in joining if member.resource_id in found]
        # Before the first member joins: a display that is too long changes nothing. The display of the
        # member itself is stored with the member, and may have any length.
        given = {
            member.resource_id: self._display_avu(member, group)
            for member, _, own in entries
            if member.display and member.display != own.display
        }
        entries = [entry for entry in entries if entry[0].resource_type == entry[2].resource_type]
        new = self._new_groups(group, [one for one, account, _ in entries if account.account_type == GROUPS])
        joined = list[str]()
        for member, account, _ in entries:
            if account.account_type == USERS and self._zone.join(group.name, account.name):
                joined.append(member.resource_id)
                changed.append(member.resource_id)
        added = [Avu(MEMBER, member, str(group.number)) for member in new]
        added += [given[member] for member in (*joined, *new) if member in given]
        self._zone.change_metadata(group.name, add=added)
        changed += new

    def _display_avu(self, member: Member, group: Account) -> Avu:
        text = self._kinds[GROUPS].seal.sealed(json.dumps(member.display))
        if len(text) > CHUNK:
            raise ValueRefused(f"members.display: must have {CHUNK} bytes at most, as iRODS stores it")
        return Avu(MEMBER_DISPLAY, text, f"{group.number}/{member.resource_id}")

    def _new_groups(self, group: Account, joining: Sequence[Member]) -> list[str]:
        """Return the ids of those groups that are not in a group yet."""
        avus = self._accounts.metadata(group.number, MEMBER) if joining else []
        there = {avu.value for avu in of_attribute(avus, MEMBER)}
        return [i for i in dict.fromkeys(member.resource_id for member in joining) if i not in there]


def _member_of(display: Avu) -> str:
    """Return the id of the member; releases before wrote it without the id of the group."""
    return display.unit.rpartition("/")[2]
