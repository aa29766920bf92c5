"""Replacing and deleting resources: one writer at a time each, also after a writer was interrupted.

1. A writer announces its change in the metadata `scim.writing`.
2. It takes the token: it removes `scim.version`, or adds ADOPTED to an account without a document. iRODS lets
   one writer do that. Without the token it may not write.
3. It writes the new document together with a new token, in one request.

The holder of the token is announced until it has written. So a missing token was lost if no announcement is
younger than a write can last. Of the writers that announce themselves then, the one that removes the oldest
announcement has the token. A writer that waits is not announced, so that it keeps no other one waiting.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from irods.models import User, UserMeta

from storage.adapter import StoredResource
from storage.attempts import repeated
from storage.errors import (
    BackendTimeout,
    OutcomeUnknown,
    ResourceNotFound,
    StorageError,
    StorageUnavailable,
    VersionMismatch,
    after_write,
)
from storage.irods.creation import LOOK_S, LOOKS, age, claim_avu, claims_of, mark, owner_of
from storage.irods.find import Accounts
from storage.irods.form import (
    ADOPTED,
    FOREIGN,
    HOLDER,
    VERSION,
    WRITING,
    Kind,
    State,
    is_former_key,
    next_version,
    of_attribute,
    with_id,
)
from storage.irods.names import refuse_foreign_name, refuse_named
from storage.irods.removal import Removal
from storage.irods.sessions import ConnectionLost
from storage.irods.wire import GROUPS, Avu, Zone

_Result = TypeVar("_Result")


class Interrupted(StorageUnavailable):
    """Another writer has the token, and has perhaps died."""


@dataclass
class _Work:
    """A change of a state: the metadata that announces it, first of all its announcement, then its claims.

    `sent` says whether iRODS may have carried it out.
    """

    state: State
    mark: str
    announced: Sequence[Avu]
    began: float
    sent: bool = False


class Changes:
    """Replaces and deletes resources, each time only in the state that was read."""

    def __init__(self, zone: Zone, accounts: Accounts) -> None:
        self._zone = zone
        self._accounts = accounts
        self._removal = Removal(zone)

    def keep_token(self) -> None:
        """See to it that the catalogue has one row of ADOPTED, whichever servers do so at once.

        One of them creates the group, and adds the first row.
        """
        for look in range(LOOKS):
            if self._zone.rows([UserMeta.id], UserMeta.name == ADOPTED.attribute, User.name == HOLDER):
                return
            # The server that created the group may have died before it added the row.
            if self._zone.add_account(HOLDER, GROUPS) is not None or look == LOOKS - 1:
                self._zone.add_metadata(HOLDER, ADOPTED)
                return
            time.sleep(LOOK_S)

    def replace(
        self, kind: Kind, resource: StoredResource, password: str | None, if_version: str | None
    ) -> StoredResource:
        """Replace a resource as `StorageAdapter.replace` does; None leaves the password unchanged."""
        return self._change(
            kind, resource.id, if_version, lambda state: self._replace(state, resource, password)
        )

    def delete(self, kind: Kind, resource_id: str, if_version: str | None) -> None:
        """Delete a resource as `StorageAdapter.delete` does."""
        self._change(kind, resource_id, if_version, self._delete)

    def _change(
        self, kind: Kind, resource_id: str, if_version: str | None, change: Callable[[State], _Result]
    ) -> _Result:
        """Read a state and change it; without `if_version`, try again after another writer was faster."""

        def attempt() -> _Result:
            state = self._accounts.state(kind, resource_id)
            version = state.stored.version
            if if_version not in (None, version):
                raise VersionMismatch(f"{kind.resource_type.name} {resource_id} is at {version}")
            return change(state)

        return repeated(attempt, VersionMismatch) if if_version is None else attempt()

    def _delete(self, state: State) -> None:
        work = _work(state)
        if not self._zone.change_metadata(state.account.name, add=work.announced):
            raise _not_found(state)
        self._take(work)
        with self._writing(work):
            self._removal.remove(state)

    def _replace(self, state: State, resource: StoredResource, password: str | None) -> StoredResource:
        kind, name, before = state.kind, state.account.name, state.stored
        values = kind.unique_values(resource.document)
        new = values - kind.unique_values(before.document)
        # Another program may have chosen the name of an account without regard to our resources.
        wanted = values if before.version == FOREIGN else new
        refuse_named(self._accounts, kind, new, state.account.number)
        refuse_foreign_name(self._accounts, kind, resource, before.document.get(kind.naming))
        work, owner = _work(state), owner_of(state.account.number, name)
        claims = claims_of(self._zone, kind, owner, work.announced).claim(owner, wanted)
        work.announced = [*work.announced, *(claim_avu(kind, claim) for claim in claims)]
        self._take(work)
        changed: list[str] = []
        with self._writing(work), after_write(changed):
            if password is not None:
                self._zone.set_password(name, password)
                changed.append("password")
            version = next_version(before.version, work.mark.partition(":")[2])
            kept = with_id(resource, state.account.number, version)
            avus = kind.metadata(kept)
            if before.version == FOREIGN or of_attribute(state.avus, ADOPTED.attribute):
                # A writer that read the account before its first change adds this in vain.
                avus.add(ADOPTED)
            if time.monotonic() - work.began > self._zone.write_limit_s / 2:
                raise BackendTimeout("iRODS took too long; nothing was changed")
            work.sent = True
            old = {*state.avus, *work.announced} - avus
            if not self._zone.change_metadata(name, old, avus - state.avus):
                raise _not_found(state)
        # One with twin rows may still be there; the next change removes a key that remains.
        with suppress(StorageError):
            for avu in filter(is_former_key, old):
                self._zone.take_metadata(name, avu)
        return kept

    def _take(self, work: _Work) -> None:
        """Become the only writer of the state that was read. Raises VersionMismatch."""
        try:
            if self._has_taken(work):
                return
            for _ in range(LOOKS):
                if self._has_taken_later(work):
                    return
                time.sleep(random.uniform(LOOK_S / 2, LOOK_S))
            wait = self._zone.write_limit_s
            raise Interrupted(f"a change was interrupted; the server undoes it within {wait:.0f} s")
        except OutcomeUnknown:
            # The announcement stays: the token may be taken.
            raise
        except StorageError:
            # A later writer removes an announcement that remains.
            with suppress(StorageError):
                self._zone.change_metadata(work.state.account.name, remove=work.announced)
            raise

    def _has_taken_later(self, work: _Work) -> bool:
        """Look, without an announcement that keeps others waiting, whether the token is free or lost."""
        name, announcement = work.state.account.name, work.announced[0]
        self._zone.change_metadata(name, remove=[announcement])
        now = self._unchanged(work)
        others = _announcements(now)
        if not _has_token(now) and any(age(avu.value) <= self._zone.write_limit_s for avu in others):
            return False
        self._zone.change_metadata(name, add=[announcement])
        if _has_token(now):
            return self._has_taken(work)
        if others:
            return self._zone.take_metadata(name, others[0])
        now = self._unchanged(work)
        return not _has_token(now) and _announcements(now) == [announcement]

    def _unchanged(self, work: _Work) -> State:
        """Return the state now. Raises VersionMismatch for another version than that of the work."""
        kind, before = work.state.kind, work.state.stored
        now = self._accounts.state(kind, before.id)
        if now.stored.version != before.version:
            raise VersionMismatch(f"{kind.resource_type.name} {before.id} is no longer at {before.version}")
        return now

    def _has_taken(self, work: _Work) -> bool:
        name, version = work.state.account.name, work.state.stored.version
        if version == FOREIGN:
            # Somebody may have removed the group, and a purge the row.
            self.keep_token()
            return self._zone.add_metadata(name, ADOPTED)
        return self._zone.take_metadata(name, Avu(VERSION, version))

    @contextmanager
    def _writing(self, work: _Work) -> Iterator[None]:
        """Put the token back when the work in this context fails for certain."""
        try:
            yield
        except StorageError as exc:
            # Where iRODS may have carried the change out, the announcement stays for a repair.
            uncertain = isinstance(exc, BackendTimeout | ConnectionLost | OutcomeUnknown)
            if not (uncertain and work.sent):
                with suppress(StorageError):
                    self._give_back(work)
            raise

    def _give_back(self, work: _Work) -> None:
        state, name = work.state, work.state.account.name
        if time.monotonic() - work.began > self._zone.write_limit_s:
            # Another writer may have inherited the token.
            return
        if state.stored.version == FOREIGN:
            self._zone.take_metadata(name, ADOPTED)
            self._zone.change_metadata(name, remove=work.announced)
        else:
            self._zone.change_metadata(name, remove=work.announced, add=[_token(state)])


def _work(state: State) -> _Work:
    own = mark()
    return _Work(state, own, [Avu(WRITING, f"{state.stored.version}:{own}")], time.monotonic())


def _token(state: State) -> Avu:
    return Avu(VERSION, state.stored.version)


def _has_token(state: State) -> bool:
    if state.stored.version == FOREIGN:
        return ADOPTED not in state.avus
    return _token(state) in state.avus


def _announcements(state: State) -> list[Avu]:
    """Return the announcements of writers, the oldest of a version first."""
    return sorted(of_attribute(state.avus, WRITING), key=lambda avu: avu.value)


def _not_found(state: State) -> ResourceNotFound:
    return ResourceNotFound(state.kind.resource_type.name, state.stored.id)
