"""Unique values in a backend without a constraint for them: a writer claims a value before it writes.

A claim says which resource, its owner, may have a value. Its token tells its writer from all others. A store
of claims has five calls, each of them atomic. A writer takes these steps:

1. `put_if_absent`: the writer puts a claim on each value.
2. `holds`: the writer looks for resources with a value. If another resource has it: step 6 and a conflict.
3. If a value had a claim already, the writer reads it (`read`). If it is younger than the lease, its writer
   may be at work: step 6 and a conflict. An older claim is replaced: the writer looks again (step 2), puts
   its own claim in place of the one that it saw (`replace_if`), and looks once more. If a resource has the
   value after all, the writer puts the old claim back: step 6 and a conflict.
4. The writer writes the resource.
5. `read`: the writer reads its claims, and acknowledges the write if its tokens are there. It puts a missing
   claim again, and replaces the claim of another writer of the same resource. If another resource has the
   claim, the writer undoes the write: step 6 and a conflict.
6. `remove_if`: the writer removes claims that are not needed: those of a write that failed, and those on
   values that the resource gave up. It removes only a claim that is still the same.

A claim is visible before its writer looks for resources (1 before 2). A resource is visible before its writer
looks for claims (4 before 5). Of two writers of one value at least one sees the other, in every order of
steps and even where claims get lost. The lease adds no safety: it lets the first of two writers win. A crash
leaves a claim on a value that no resource has; step 3 replaces it after the lease.

    | writer A                         | writer B                              | result                |
    |----------------------------------|---------------------------------------|-----------------------|
    | 1                                | 1: refused. 3: the claim is young     | A                     |
    | 1, 2, 4, 5: acknowledged         | 1: refused. 2: A has the value        | A                     |
    | 1, 2, crash                      | 1: refused. After the lease 3, 4, 5   | B                     |
    | 1, 2, a pause beyond the lease   | 1: refused. 3: B replaces the claim   |                       |
    | 4. 5: the claim is of B. Undo, 6 | 4, 5: acknowledged                    | B                     |
    | 1, 2, a pause beyond the lease   | 1: refused. 3: no resource has it     |                       |
    | 4, 5: acknowledged               | 3: replaces, sees A, puts A's back    | A                     |
    | 1, 2, a pause beyond the lease   | 1: refused. 3: B replaces the claim   |                       |
    | 4. 5: the claim is of B. Undo, 6 | 3: sees the resource of A, gives way  | none; both may retry  |

A store may admit several claims on one value (`admits_several`). Its `read` also returns the values that
resources have, as claims without age. Steps 2 and 3 then are one: the writer reads. A claim goes if it is
older than the lease and its owner does not have the value. Among the other claims, that of the first owner
wins. Its writer waits until the others have given way, and gives way itself if they do not. Where one call
writes the resource and its claims, the writer reads in step 5. In such a store the lease adds safety: a
writer must not write when its claim may be older.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from storage.errors import StorageError, UniquenessConflict, VersionMismatch

# How often a claim is read that changes all the time.
_ATTEMPTS: Final = 20
# How often, and how many seconds apart, a writer looks whether others have given way.
_LOOKS: Final = 20
_PAUSE_S: Final = 0.05

Token = int | str | None


@dataclass(frozen=True, order=True)
class UniqueValue:
    """A value that no two resources of a type may have, by the key it compares by."""

    resource_type: str
    path: str
    key: str


@dataclass(frozen=True)
class Claim:
    """The right of a resource to a value. Without a token, any claim of the owner; without `at`, no age."""

    value: UniqueValue
    owner: str
    token: Token = None
    at: float | None = None


class ClaimStore(Protocol):
    """The five calls. Each takes many values at once where the store can, so that it stays one request."""

    @property
    def lease_s(self) -> float:
        """How many seconds a claim is left alone whose owner does not have the value yet."""

    @property
    def admits_several(self) -> bool:
        """Whether two claims on one value can both be put."""

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Put claims up to the first one on a value that has one, and return those that were not put.

        Of two writers of the same values one gets them all: they put in one order, and the other one stops.
        """

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        """Return the claims on some values."""

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        """Put `new` in place of a claim if it is still the one that was seen, and return whether it was."""

    def remove_if(self, claims: Sequence[Claim]) -> None:
        """Remove those claims that are still the same."""

    def holds(
        self, values: Sequence[UniqueValue], owners: Collection[str] = ()
    ) -> Collection[tuple[str, UniqueValue]]:
        """Return which resource has which of the values.

        A store that cannot search for a value asks the resources in `owners`.
        """


class Claims:
    """The claims that one call makes; `token` returns another token each time."""

    def __init__(
        self, store: ClaimStore, token: Callable[[], Token], clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._token = token
        self._clock = clock

    def claim(self, owner: str, values: Iterable[UniqueValue]) -> list[Claim]:
        """Claim values for a resource, all or none (steps 1 to 3).

        Raises UniquenessConflict, and VersionMismatch when the resource itself has got one of them.
        """
        made = [Claim(value, owner, self._token(), self._clock()) for value in sorted(values)]
        refused = self._store.put_if_absent(made)
        put = made[: len(made) - len(refused)]
        try:
            if self._store.admits_several:
                for lost in self._outranked(made):
                    raise UniquenessConflict(lost.value.path)
            else:
                self._refuse_held(made, refused)
                for claim in refused:
                    self._replace_abandoned(claim)
                    put.append(claim)
        except StorageError:
            with suppress(StorageError):
                self.release(put)
            raise
        return made

    def claim_free(self, owner: str, values: Iterable[UniqueValue]) -> list[Claim]:
        """Claim those of the values that a resource has had all along and that are free."""
        made: list[Claim] = []
        for value in sorted(values):
            with suppress(UniquenessConflict, VersionMismatch):
                made += self.claim(owner, [value])
        return made

    def lost(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return those claims of resources that were just written that others have got (step 5)."""
        if self._store.admits_several:
            return self._outranked(claims)
        there = {seen.value: seen for seen in self._store.read([claim.value for claim in claims])}
        return [claim for claim in claims if not self._is_kept(claim, there.get(claim.value))]

    def release(self, claims: Iterable[Claim]) -> None:
        """Give up claims on values that their owners do not have (step 6)."""
        self._store.remove_if(list(claims))

    def refuse(self, values: Iterable[UniqueValue]) -> None:
        """Raise UniquenessConflict when others have claimed a value; nothing is claimed."""
        for rival in self._rivals({value: Claim(value, "") for value in values}):
            raise UniquenessConflict(rival.value.path)

    # -- one claim on each value

    def _refuse_held(
        self, claims: Sequence[Claim], refused: Collection[Claim], owners: Collection[str] = ()
    ) -> None:
        """Raise UniquenessConflict when another resource has a value that was claimed (step 2).

        Raises VersionMismatch when the owner of a refused claim has it: a faster writer of that resource
        relies on the claim that is there.
        """
        claimed = {claim.value: claim for claim in claims}
        for owner, value in self._store.holds(list(claimed), owners):
            if owner != claimed[value].owner:
                raise UniquenessConflict(value.path)
            if claimed[value] in refused:
                raise VersionMismatch(f"{value.resource_type} {owner} has changed")

    def _replace_abandoned(self, claim: Claim) -> None:
        """Put a claim that was refused in place of one that is abandoned (step 3). Raises as `claim` does."""
        for _ in range(_ATTEMPTS):
            seen = next(iter(self._store.read([claim.value])), None)
            if seen is None:
                is_put = not self._store.put_if_absent([claim])
            elif seen.owner != claim.owner and self._is_young(seen):
                break
            else:
                self._refuse_held([claim], [claim], [seen.owner])
                is_put = self._store.replace_if(seen, claim)
            if is_put:
                self._keep_or_put_back(claim, seen)
                return
        raise UniquenessConflict(claim.value.path)

    def _keep_or_put_back(self, claim: Claim, seen: Claim | None) -> None:
        try:
            self._refuse_held([claim], [claim], [seen.owner] if seen else ())
        except StorageError:
            if seen is None:
                self.release([claim])
            else:
                self._store.replace_if(claim, seen)
            raise

    def _is_young(self, seen: Claim) -> bool:
        # A time far ahead is of a wrong clock, and must not block a value until then.
        return seen.at is None or abs(self._clock() - seen.at) < self._store.lease_s

    def _is_kept(self, claim: Claim, seen: Claim | None) -> bool:
        """Return whether the claim of a resource that was just written is there, if need be again."""
        claim = replace(claim, at=self._clock())
        for _ in range(_ATTEMPTS):
            if seen is None:
                if not self._store.put_if_absent([claim]):
                    return True
            elif seen.owner != claim.owner:
                return False
            elif seen.token == claim.token or self._store.replace_if(seen, claim):
                # Another writer of the same resource can write no more: the version has changed.
                return True
            seen = next(iter(self._store.read([claim.value])), None)
        return False

    # -- several claims on one value

    def _outranked(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claim that must give way to another one, or nothing once there is no other one."""
        own = {claim.value: claim for claim in claims}
        for look in range(_LOOKS):
            rivals = self._rivals(own)
            if not rivals:
                break
            first = min(rivals, key=lambda rival: rival.owner)
            if first.owner < own[first.value].owner or look == _LOOKS - 1:
                return [own[first.value]]
            time.sleep(_PAUSE_S)
        return []

    def _rivals(self, own: Mapping[UniqueValue, Claim]) -> list[Claim]:
        """Return the claims of others; abandoned ones go."""
        others = [seen for seen in self._store.read(list(own)) if seen.owner != own[seen.value].owner]
        return [seen for seen in others if not self._is_removed(seen, own[seen.value])]

    def _is_removed(self, seen: Claim, own: Claim) -> bool:
        if self._is_young(seen) or (seen.owner, seen.value) in self._store.holds([seen.value], [seen.owner]):
            return False
        # A claim that is no longer there went away with another writer.
        self._store.replace_if(seen, own)
        return True
