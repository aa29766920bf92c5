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
from storage.irods.find import SOME, Accounts, numbers_of
from storage.irods.form import CHUNK, MEMBER, MEMBER_DISPLAY, Account, Kind, number_of, of_attribute
from storage.irods.wire import GROUPS, USERS, Avu, Zone
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
        displays = {avu.unit: _display(avu) for avu in of_attribute(avus, MEMBER_DISPLAY)}
        groups = self._groups(avu.value for avu in of_attribute(avus, MEMBER))
        users = self._users(number, min(limit or _FIRST, _FIRST))
        for member in merge(users, groups, key=lambda member: int(member.resource_id)):
            display = displays.get(member.resource_id)
            yield replace(member, display=display) if display else member

    def _users(self, group: int, count: int) -> Iterator[Member]:
        last = 0
        while True:
            found = self._accounts.users_in(group, last, count)
            yield from (member for account, member in found if not self._accounts.is_system(account.name))
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
            for row in self._zone.rows((User.id, User.name), *in_group):
                if not self._accounts.is_system(row[User.name]):
                    found.append(Member(str(row[User.id]), self._kinds[USERS].resource_type.name))
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
        entries = [(member, *found[member.resource_id]) for member in joining if member.resource_id in found]
        # Before the first member joins: a display that is too long changes nothing. The display of the
        # member itself is stored with the member, and may have any length.
        given = {
            member.resource_id: _display_avu(member)
            for member, _, own in entries
            if member.display and member.display != own.display
        }
        displays = []
        for member, account, own in entries:
            if own.resource_type != member.resource_type:
                continue
            if account.account_type == USERS:
                joined = self._zone.join(group.name, account.name)
            else:
                joined = self._zone.add_metadata(group.name, Avu(MEMBER, member.resource_id))
            if joined:
                changed.append(member.resource_id)
                displays += [given[member.resource_id]] if member.resource_id in given else []
        self._zone.change_metadata(group.name, add=displays)


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
