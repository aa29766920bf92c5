"""Which user is in which group: read from whichever side takes fewer calls."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from storage.jumpcloud.abreast import abreast
from storage.jumpcloud.directory import Directory
from storage.jumpcloud.recent import RecentMemberships
from storage.jumpcloud.users_by_id import UsersById


class _TooMany(Exception):
    """It would take more calls than there are users."""


class _Budget:
    """A number of calls that threads share."""

    def __init__(self, calls: int) -> None:
        self._lock = threading.Lock()
        self._left = calls

    def spend(self, calls: int) -> None:
        """Take note of calls. Raises _TooMany when there were more than there may be."""
        with self._lock:
            self._left -= calls
            if self._left < 0:
                raise _TooMany


class Links:
    """Pairs of group and user, as ids, with what this process has just changed."""

    def __init__(self, directory: Directory, users: UsersById) -> None:
        self._directory = directory
        self._users = users
        self.recent = RecentMemberships()

    def member_ids(self, group_id: str) -> Iterator[list[str]]:
        """Yield the ids of the members of a group, a page at a time."""
        changes = self.recent.of_group(group_id)
        gone = {user_id for user_id, joined in changes.items() if not joined}
        seen: set[str] = set()
        for page in self._directory.members(group_id):
            fresh = [user_id for user_id in page if user_id not in seen and self._directory.is_id(user_id)]
            seen.update(fresh)
            self.recent.saw(((group_id, user_id) for user_id in fresh), True)
            yield [user_id for user_id in fresh if user_id not in gone]
        self.recent.saw(((group_id, user_id) for user_id in gone - seen), False)
        late = [user_id for user_id, joined in changes.items() if joined and user_id not in seen]
        if late:
            yield list(self._users.of(late))

    def group_ids(self, user_id: str) -> list[str]:
        """Return the ids of the groups that a user is in, in the order of creation."""
        found = {group_id for page in self._directory.groups_of(user_id) for group_id in page}
        for group_id, joined in self.recent.of_user(user_id).items():
            if (group_id in found) is joined:
                self.recent.saw([(group_id, user_id)], joined)
            elif joined:
                found.add(group_id)
            else:
                found.discard(group_id)
        return sorted(group_id for group_id in found if self._directory.is_id(group_id))

    def among(self, group_id: str, user_ids: Iterable[str]) -> set[str]:
        """Return who of some users is in a group, in few calls whatever its size."""
        left = {user_id for user_id in user_ids if self._directory.is_id(user_id)}
        found: set[str] = set()
        if len(left) > 1:
            for number, page in enumerate(self.member_ids(group_id), start=1):
                found |= left.intersection(page)
                left.difference_update(page)
                # The group is large: from here on it is cheaper to ask for the users that are left.
                if 2 * number >= len(left):
                    break
            else:
                return found
        asked = sorted(left)
        groups = abreast(self.group_ids, asked, self._directory.width)
        return found | {user_id for user_id, ids in zip(asked, groups, strict=True) if group_id in ids}

    def of_users(self, user_ids: Sequence[str], group_ids: Sequence[str]) -> Mapping[str, list[str]]:
        """Return the groups of each user, of all the groups there are.

        They are read from the members of the groups; user by user where that takes fewer calls.
        """
        width = self._directory.width
        if len(group_ids) <= len(user_ids):
            wanted, budget = frozenset(user_ids), _Budget(len(user_ids))
            try:
                members = abreast(lambda group_id: self._within(group_id, wanted, budget), group_ids, width)
            except _TooMany:
                pass
            else:
                pairs = list(zip(group_ids, members, strict=True))
                return {user_id: [group for group, ids in pairs if user_id in ids] for user_id in user_ids}
        return dict(zip(user_ids, abreast(self.group_ids, user_ids, width), strict=True))

    def _within(self, group_id: str, wanted: frozenset[str], budget: _Budget) -> set[str]:
        budget.spend(0)
        found: set[str] = set()
        for page in self.member_ids(group_id):
            budget.spend(1)
            found |= wanted.intersection(page)
        return found
