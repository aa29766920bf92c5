"""Who is in which group: read by the page, changed by the member, as JumpCloud offers it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from storage.adapter import Member, Membership, StoredResource
from storage.errors import ValueRefused, after_write
from storage.jumpcloud.abreast import abreast
from storage.jumpcloud.directory import Directory, Json, Missing, every, existing
from storage.jumpcloud.forms import GroupForm, UserForm, is_dynamic
from storage.jumpcloud.identity import id_of
from storage.jumpcloud.links import Links
from storage.jumpcloud.users_by_id import UsersById

# From this number of changes on, several are made side by side.
_MANY: Final = 20
# So many groups are read one by one rather than all of them by the page.
_FEW: Final = 2


class Memberships:
    """Members of groups and memberships of users; JumpCloud knows users as members only."""

    def __init__(self, directory: Directory, users: UserForm, groups: GroupForm) -> None:
        self._directory = directory
        self._users = users
        self._groups = groups
        self._by_id = UsersById(directory)
        self.links = Links(directory, self._by_id)

    # -- reading

    def members(self, group: Json, limit: int | None) -> Iterator[Member]:
        """Yield the members of a group, a page at a time. No more than `limit` are wanted."""
        group_id = id_of(group)
        displays = self._groups.kept(group).displays
        for page in self.links.member_ids(group_id):
            ids = page[:limit]
            found = self.users(ids)
            for user_id in ids:
                user = found.get(user_id)
                own = self._display(user) if user is not None else None
                yield Member(user_id, self._users.resource_type.name, displays.get(user_id) or own)

    def of(self, user_ids: Sequence[str]) -> dict[str, list[Membership]]:
        """Return the groups of each user that is in any."""
        ids = [user_id for user_id in user_ids if self._directory.is_id(user_id)]
        if len(ids) <= 1:
            links: Mapping[str, list[str]] = {user_id: self.links.group_ids(user_id) for user_id in ids}
            names = self._named({group_id for found in links.values() for group_id in found})
        else:
            groups = {id_of(group): group for group in every(self._directory.groups)}
            links, names = self.links.of_users(ids, list(groups)), groups
        found = {
            user_id: [self._membership(names[group_id]) for group_id in group_ids if group_id in names]
            for user_id, group_ids in links.items()
        }
        return {user_id: memberships for user_id, memberships in found.items() if memberships}

    def groups(self, group_ids: Iterable[str]) -> Iterator[Json]:
        """Yield the groups with those ids, in the order of creation."""
        named = self._named(set(group_ids))
        yield from (named[group_id] for group_id in sorted(named))

    def _named(self, group_ids: set[str]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        if len(group_ids) > _FEW:
            for group in every(self._directory.groups):
                if id_of(group) in group_ids:
                    found[id_of(group)] = group
                if len(found) == len(group_ids):
                    break
            return found
        for group_id in group_ids:
            try:
                found[group_id] = self._directory.group(group_id)
            except Missing:
                continue
        return found

    def _membership(self, group: Json) -> Membership:
        name = self._groups.resource_type.name
        # Who is in by a rule cannot be taken out, as who is in by way of another group.
        return Membership(id_of(group), name, group.get("name") or None, direct=not is_dynamic(group))

    def users(self, ids: Sequence[str]) -> dict[str, StoredResource]:
        """Return those of the users that exist."""
        return {user_id: self._users.read(user) for user_id, user in self._by_id.of(ids).items()}

    def find(self, ids: Sequence[str]) -> list[Member]:
        """Return those of the ids that exist, as users or as groups: JumpCloud gives no id twice."""
        users = self.users(ids)
        user_type, group_type = self._users.resource_type.name, self._groups.resource_type.name
        left = {other for other in ids if other not in users and self._directory.is_id(other)}
        return [
            *(Member(user_id, user_type, self._display(user)) for user_id, user in users.items()),
            *(Member(i, group_type, group.get("name") or None) for i, group in self._named(left).items()),
        ]

    def among(self, group_id: str, ids: Sequence[str]) -> list[Member]:
        """Return those of the users that are in a group, without what is shown of them."""
        if not self._directory.is_id(group_id):
            return []
        had, type_name = self.links.among(group_id, ids), self._users.resource_type.name
        return [Member(user_id, type_name) for user_id in dict.fromkeys(ids) if user_id in had]

    def _display(self, user: StoredResource) -> str | None:
        return self._users.resource_type.display(user.document)

    # -- changing

    def change(self, group: Json, add: Iterable[Member], remove: Iterable[Member]) -> bool:
        """Remove members, then add others, and return whether that changed anything.

        `group` is as it was read. Raises ValueRefused for what cannot be a member, and for a group
        that fills itself.
        """
        group_id, user_type = id_of(group), self._users.resource_type.name
        users = (member.resource_id for member in remove if member.resource_type == user_type)
        leaving = [user_id for user_id in dict.fromkeys(users) if self._directory.is_id(user_id)]
        joining = {member.resource_id: member for member in add}
        self._check(group, joining.values(), bool(leaving))
        if not leaving and not joining:
            return False
        had = self.links.among(group_id, {*leaving, *joining})
        leaving = [user_id for user_id in leaving if user_id in had]
        new = [user_id for user_id in joining if user_id not in had or user_id in leaving]
        known = self.users(new)
        given = {
            user_id: display
            for user_id, user in known.items()
            if (display := joining[user_id].display) is not None and display != self._display(user)
        }
        changed: list[str] = []
        with after_write(changed):
            self._each(lambda user_id: self._leave(group_id, user_id), leaving, changed)
            self._each(lambda user_id: self._join(group_id, user_id), list(known), changed)
            self._show(group, leaving, given)
        return bool(leaving or known)

    def _show(self, group: Json, leaving: Sequence[str], given: Mapping[str, str]) -> None:
        """Keep what a group shows of its members."""
        if not given and not self._groups.kept(group).displays.keys() & set(leaving):
            return
        # Written as a whole: others may have changed it since it was read.
        with existing(self._groups.resource_type.name, id_of(group)):
            now = self._directory.group(id_of(group))
        displays = self._groups.kept(now).displays
        shown = {**{name: text for name, text in displays.items() if name not in leaving}, **given}
        if shown != displays:
            self._directory.update_group(id_of(now), self._groups.with_displays(shown, now))

    def _check(self, group: Json, joining: Iterable[Member], leaving: bool) -> None:
        user_type = self._users.resource_type.name
        for member in joining:
            if member.resource_type != user_type:
                raise ValueRefused(f"members: {member.resource_id} must be a {user_type} in JumpCloud")
            leaving = True
        if leaving and is_dynamic(group):
            raise ValueRefused(f"members: JumpCloud computes the members of {group.get('name')} by a rule")

    def _join(self, group_id: str, user_id: str) -> None:
        try:
            self._directory.add_member(group_id, user_id)
        except Missing:
            # The group is gone, or the user is: who is being removed joins nothing.
            with existing(self._groups.resource_type.name, group_id):
                self._directory.group(group_id)
            return
        self.links.recent.note(group_id, user_id, True)

    def _leave(self, group_id: str, user_id: str) -> None:
        self._directory.remove_member(group_id, user_id)
        self.links.recent.note(group_id, user_id, False)

    def _each(self, change: Callable[[str], None], user_ids: Sequence[str], changed: list[str]) -> None:
        """Make a change for each user: one at a time, or several where there are many.

        `changed` grows by those for whom it was made.
        """

        def made(user_id: str) -> None:
            change(user_id)
            changed.append(user_id)

        abreast(made, user_ids, self._directory.width if len(user_ids) >= _MANY else 1)
