"""Users by their ids: a page of them per call where JumpCloud answers that, and else one by one.

Nobody has promised that ids can be searched for, so what comes back is checked. A way that is refused,
or answers what cannot be, is not gone again by this process.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from storage.jumpcloud.abreast import abreast
from storage.jumpcloud.client import Rejection
from storage.jumpcloud.directory import LISTED, PAGE, Directory, Json, Listed, Missing
from storage.jumpcloud.identity import id_of

_LOG = logging.getLogger(__name__)


class _Unusable(Exception):
    """A way does not lead to the users."""


@dataclass
class _Way:
    """A call that returns the users with some ids, `most` of them at once."""

    name: str
    ask: Callable[[Sequence[str]], Listed]
    most: int
    usable: bool = True
    # Whether it has been seen to find more than one user at once.
    proven: bool = False


class UsersById:
    """Reads users whose ids are known."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._ways = (
            _Way("a search", directory.searched_by_id, PAGE),
            _Way("a filtered list", directory.listed_by_id, LISTED),
        )

    def of(self, ids: Iterable[str]) -> dict[str, Json]:
        """Return those of the users that exist, in the order asked for."""
        wanted = list(dict.fromkeys(user_id for user_id in ids if self._directory.is_id(user_id)))
        found = self._together(wanted) if len(wanted) > 1 else None
        if found is None:
            users = abreast(self._one, wanted, self._directory.width)
            found = {id_of(user): user for user in users if user is not None}
        return {user_id: found[user_id] for user_id in wanted if user_id in found}

    def _together(self, wanted: Sequence[str]) -> dict[str, Json] | None:
        """Return the users, many per call; None when there is no way to have them so."""
        for way in self._ways:
            if way.usable:
                try:
                    return self._by(way, wanted)
                except _Unusable as unusable:
                    way.usable = False
                    _LOG.warning("JumpCloud does not find users by id with %s: %s", way.name, unusable)
        return None

    def _by(self, way: _Way, wanted: Sequence[str]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for start in range(0, len(wanted), way.most):
            users = self._answer(way, wanted[start : start + way.most])
            way.proven = way.proven or len(users) > 1
            found |= users
        if way.proven or len(found) == len(wanted):
            return found
        # Do the others not exist, or does the call not find them? Two who exist tell.
        some, _ = self._directory.users(0, 2)
        if len(some) < 2:
            return {id_of(user): user for user in some if id_of(user) in wanted}
        if len(self._answer(way, [id_of(user) for user in some[:2]])) < 2:
            raise _Unusable("it omits existing users")
        way.proven = True
        return found

    @staticmethod
    def _answer(way: _Way, ids: Sequence[str]) -> dict[str, Json]:
        try:
            users, total = way.ask(ids)
        except Rejection as rejection:
            raise _Unusable(f"status {rejection.status}") from rejection
        found = {id_of(user): user for user in users}
        if not found.keys() <= set(ids) or not len(found) == len(users) == total:
            raise _Unusable("it finds other users")
        return found

    def _one(self, user_id: str) -> Json | None:
        try:
            return self._directory.user(user_id)
        except Missing:
            return None
