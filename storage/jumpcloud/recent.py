"""Memberships that this process has just changed: JumpCloud may show them a little later."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

# Seconds for which a change is believed although it is not seen.
_PATIENCE_S: Final = 30.0
# More changes at once than this are not remembered.
_MOST: Final = 100_000


class RecentMemberships:
    """Lays acknowledged changes over what is read, until a reading shows them.

    What somebody else has changed back meanwhile is seen when the patience is over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._changes: dict[tuple[str, str], tuple[bool, float]] = {}

    def after_fork(self) -> None:
        """Begin anew in a child: a thread of the parent may hold the lock for ever."""
        self._lock = threading.Lock()

    def note(self, group_id: str, user_id: str, joined: bool) -> None:
        """Remember that a user has joined a group, or left it."""
        with self._lock:
            self._prune()
            if len(self._changes) < _MOST:
                self._changes.pop((group_id, user_id), None)
                self._changes[group_id, user_id] = joined, self._clock() + _PATIENCE_S

    def forget(self, resource_id: str) -> None:
        """Forget what has to do with a user or group that is gone."""
        with self._lock:
            for key in [key for key in self._changes if resource_id in key]:
                del self._changes[key]

    def of_group(self, group_id: str) -> dict[str, bool]:
        """Return who has joined and left a group, as far as that was not seen yet."""
        return self._where(lambda key: key[1] if key[0] == group_id else None)

    def of_user(self, user_id: str) -> dict[str, bool]:
        """Return which groups a user has joined and left, as far as that was not seen yet."""
        return self._where(lambda key: key[0] if key[1] == user_id else None)

    def saw(self, pairs: Iterable[tuple[str, str]], joined: bool) -> None:
        """Take note that JumpCloud shows pairs of group and user as they were changed."""
        with self._lock:
            for pair in pairs:
                if self._changes.get(pair, (not joined, 0.0))[0] is joined:
                    del self._changes[pair]

    def _where(self, other: Callable[[tuple[str, str]], str | None]) -> dict[str, bool]:
        with self._lock:
            self._prune()
            named = ((other(key), joined) for key, (joined, _) in self._changes.items())
            return {name: joined for name, joined in named if name is not None}

    def _prune(self) -> None:
        now = self._clock()
        # In the order in which they were made.
        while self._changes and next(iter(self._changes.values()))[1] < now:
            del self._changes[next(iter(self._changes))]
