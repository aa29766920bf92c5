"""Members of groups and groups of users: pairs of a group and a user, read from the shorter side.

JumpCloud may show a change of a pair late, so that a reading after a change may be of the time before.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final

from storage.adapter import Member, Membership, StoredResource
from storage.batches import batches
from storage.errors import ValueRefused, after_write
from storage.jumpcloud.find import groups_of, groups_with
from storage.jumpcloud.form import GroupForm, ReadGroup, UserForm, is_dynamic
from storage.jumpcloud.wire import GROUPS, PAGE, Directory, Json, Missing, every, id_of
from storage.known_member import KnownMember

_LOG = logging.getLogger(__name__)

# From this number of changes on, several run side by side.
_MANY: Final = 20


class Links:
    """The members of groups, which are users, and the groups of users."""

    def __init__(self, directory: Directory, users: UserForm, groups: GroupForm) -> None:
        self._directory = directory
        self._users = users
        self._groups = groups
        self._user_type = users.resource_type.name
        self._group_type = groups.resource_type.name

    # -- reading

    def members(self, group: Json, limit: int | None) -> Iterator[Member]:
        """Yield the members of a group; of each page, `limit` at most.

        Unless users are hidden, a member has no display if a search by id omits the user; the log has the
        number of such members.
        """
        displays = self._groups.remainder(group).displays
        hides = self._users.foreign_entries.are_hidden
        for page in self._directory.members(id_of(group)):
            # Of hidden members, more than `limit` may have to be read: it is the caller who stops.
            found = map(self._shown, batches(page, PAGE)) if hides else [self._listed(page[:limit])]
            for user_id, user in chain.from_iterable(users.items() for users in found):
                own = self._display(self._users.read(user)) if user is not None else None
                yield Member(user_id, self._user_type, displays.get(user_id) or own)

    def _shown(self, ids: Sequence[str]) -> dict[str, Json | None]:
        """Return the users among `ids` that are not hidden: an omitted one may be, and is read."""
        users = self._directory.users_with(ids)
        return {user_id: user for user_id, user in users.items() if not self._users.hides(user)}

    def _listed(self, ids: Sequence[str]) -> dict[str, Json | None]:
        found = self._directory.searched(ids)
        if len(found) < len(ids):
            omitted = len(ids) - len(found)
            _LOG.warning("JumpCloud: a search for %s members by id omitted %s users", len(ids), omitted)
        return {user_id: found.get(user_id) for user_id in ids}

    def find(self, ids: Sequence[str]) -> list[Member]:
        """Return the existing users and groups among `ids`; JumpCloud gives no id twice."""
        users = self._existing(ids)
        groups = self._groups_with(one for one in ids if one not in users)
        displays = {user_id: self._display(user) for user_id, user in users.items()}
        return [
            *(KnownMember(one, self._user_type, display, display) for one, display in displays.items()),
            *(Member(one, self._group_type, group.get("name") or None) for one, group in groups.items()),
        ]

    def among(self, group_id: str, ids: Iterable[str], read: ReadGroup | None) -> list[Member]:
        """Return the members of a group among some users, without displays, and note them in `read`."""
        wanted = list(dict.fromkeys(filter(self._directory.is_id, ids)))
        found = self._members_among(group_id, wanted) if self._directory.is_id(group_id) else set()
        if found and self._users.foreign_entries.are_hidden:
            found &= self._existing(found).keys()
        if read is not None:
            read.members |= {user_id: user_id in found for user_id in wanted}
        return [Member(user_id, self._user_type) for user_id in wanted if user_id in found]

    def _members_among(self, group_id: str, user_ids: Sequence[str]) -> set[str]:
        left, found = set(user_ids), set[str]()
        for number, page in enumerate(self._directory.members(group_id) if len(left) > 1 else (), start=1):
            found |= left.intersection(page)
            left -= found
            # The group is large: a call for each user that is left takes fewer calls.
            if 2 * number >= len(left):
                break
        else:
            if len(user_ids) > 1:
                return found
        asked = sorted(left)
        groups = self._directory.abreast(partial(groups_of, self._directory), asked)
        return found | {user_id for user_id, ids in zip(asked, groups, strict=True) if group_id in ids}

    def memberships(self, user_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups of each user that is in a group."""
        ids = [user_id for user_id in user_ids if self._directory.is_id(user_id)]
        if len(ids) > 1:
            lives = every(self._directory.groups)
            groups = {id_of(group): group for group in lives if not self._groups.hides(group)}
            pairs = self._by_group(ids, sorted(groups)) or self._by_user(ids)
        else:
            pairs = self._by_user(ids)
            groups = self._groups_with(one for found in pairs.values() for one in found)
        found = {
            user_id: [self._membership(groups[one]) for one in group_ids if one in groups]
            for user_id, group_ids in pairs.items()
        }
        return {user_id: memberships for user_id, memberships in found.items() if memberships}

    def _by_user(self, user_ids: Sequence[str]) -> dict[str, list[str]]:
        groups = self._directory.abreast(partial(groups_of, self._directory), user_ids)
        return dict(zip(user_ids, groups, strict=True))

    def _by_group(self, user_ids: Sequence[str], group_ids: Sequence[str]) -> dict[str, list[str]] | None:
        """Return the groups of each user, read by group; None if that takes more calls than users."""
        wanted, pages = frozenset(user_ids), list[str]()

        def members(group_id: str) -> set[str]:
            found: set[str] = set()
            for page in self._directory.members(group_id) if len(pages) <= len(user_ids) else ():
                pages.append(group_id)
                found |= wanted.intersection(page)
                if len(pages) > len(user_ids):
                    break
            return found

        if len(group_ids) > len(user_ids):
            return None
        members_of = dict(zip(group_ids, self._directory.abreast(members, group_ids), strict=True))
        if len(pages) > len(user_ids):
            return None
        return {user_id: [one for one in group_ids if user_id in members_of[one]] for user_id in user_ids}

    def _membership(self, group: Json) -> Membership:
        # A client cannot remove a user from a group that a rule fills.
        return Membership(id_of(group), self._group_type, group.get("name") or None, not is_dynamic(group))

    def _existing(self, ids: Iterable[str]) -> dict[str, StoredResource]:
        return self._resources(self._directory.users_with(ids))

    def _resources(self, users: Mapping[str, Json]) -> dict[str, StoredResource]:
        return {stored.id: stored for stored in self._users.shown(users.values())}

    def _groups_with(self, ids: Iterable[str]) -> dict[str, Json]:
        found = groups_with(self._directory, ids)
        return {group_id: group for group_id, group in found.items() if not self._groups.hides(group)}

    def _display(self, user: StoredResource) -> str | None:
        return self._users.resource_type.display(user.document)

    # -- changing

    def change(self, read: ReadGroup, add: Iterable[Member], remove: Iterable[Member]) -> bool:
        """Remove members, then add members; return whether JumpCloud showed a difference before.

        JumpCloud is asked for every change, because the members that it shows may be of an earlier time.
        Raises ValueRefused for a member that is no user and for a dynamic group, and Missing.
        """
        group, group_id = read.live, id_of(read.live)
        users = (one.resource_id for one in remove if one.resource_type == self._user_type)
        leaving = [user_id for user_id in dict.fromkeys(users) if self._directory.is_id(user_id)]
        named = {one.resource_id: one for one in add}
        self._check(group, named.values(), bool(leaving))
        joining = self._own_displays(named)
        if self._users.foreign_entries.are_hidden:
            # The others may be hidden: nobody removes those.
            unknown = self._existing(user_id for user_id in leaving if not read.members.get(user_id))
            leaving = [user_id for user_id in leaving if read.members.get(user_id) or user_id in unknown]
        if not leaving and not joining:
            return False
        asked = list(dict.fromkeys([*leaving, *joining]))
        had = self._members_among(group_id, [user_id for user_id in asked if user_id not in read.members])
        had |= {user_id for user_id in asked if read.members.get(user_id)}
        new = {user_id for user_id in joining if user_id not in had or user_id in leaving}
        displays = {
            user_id: display
            for user_id in new
            if (display := named[user_id].display) not in (None, joining[user_id])
        }
        changed: list[str] = []
        with after_write(changed):
            self._each(partial(self._directory.remove_member, group_id), leaving, changed)
            self._each(partial(self._join, group_id), list(joining), changed)
            self._show(group, leaving, displays)
        return bool(new or had.intersection(leaving))

    def _own_displays(self, named: Mapping[str, Member]) -> dict[str, str | None]:
        """Return the displays of those of the users that exist: they may be known from `find`."""
        known = {user_id: one.own for user_id, one in named.items() if isinstance(one, KnownMember)}
        others = self._existing(user_id for user_id in named if user_id not in known)
        displays = known | {user_id: self._display(user) for user_id, user in others.items()}
        return {user_id: displays[user_id] for user_id in named if user_id in displays}

    def _check(self, group: Json, joining: Iterable[Member], leaving: bool) -> None:
        for member in joining:
            if member.resource_type != self._user_type:
                raise ValueRefused(f"members: {member.resource_id} must be a {self._user_type} in JumpCloud")
            leaving = True
        if leaving and is_dynamic(group):
            raise ValueRefused(f"members: JumpCloud computes the members of {group.get('name')} by a rule")

    def _join(self, group_id: str, user_id: str) -> None:
        try:
            self._directory.add_member(group_id, user_id)
        except Missing:
            # The user was deleted meanwhile, unless the group was: then this raises Missing.
            self._directory.read(GROUPS, group_id)

    def _each(self, change: Callable[[str], None], user_ids: Sequence[str], changed: list[str]) -> None:
        """Make a change for each user and add the user to `changed`."""

        def made(user_id: str) -> None:
            change(user_id)
            changed.append(user_id)

        if len(user_ids) < _MANY:
            for user_id in user_ids:
                made(user_id)
        else:
            self._directory.abreast(made, user_ids)

    def _show(self, group: Json, leaving: Sequence[str], given: Mapping[str, str | None]) -> None:
        """Store the displays of members, as the remainder of the group."""
        if not given and not self._groups.remainder(group).displays.keys() & set(leaving):
            return
        # Another request may have changed the group meanwhile.
        now = self._directory.read(GROUPS, id_of(group))
        displays = self._groups.remainder(now).displays
        shown = {user_id: text for user_id, text in displays.items() if user_id not in leaving}
        shown |= {user_id: text for user_id, text in given.items() if text is not None}
        if shown != displays:
            self._directory.update(GROUPS, id_of(now), self._groups.with_displays(shown, now))
