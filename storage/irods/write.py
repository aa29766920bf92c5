"""Changing and removing resources: one writer at a time each, and nothing lost when a writer goes away.

The metadata `scim.version` is a token: who removes it, and only one can, may write; the new document
comes with a new token, in one step. Before that a writer says in `scim.writing` that it is at work, so
that others can tell a token that is in use from one that was lost with its writer, and put it back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

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
from storage.irods.find import Accounts
from storage.irods.form import (
    ADOPTED,
    FOREIGN,
    VERSION,
    WRITING,
    document_avus,
    next_version,
    of_attribute,
    with_id,
)
from storage.irods.kinds import Kind, State
from storage.irods.marks import is_stale, limit_s, mark
from storage.irods.removal import Removal
from storage.irods.sessions import ConnectionLost
from storage.irods.uniqueness import UniqueValues, claim_avu, owner_of, values_of
from storage.irods.wire import Avu, Zone

# How often, and how many seconds apart, a writer looks whether the one before it is finished.
_LOOKS: Final = 20
_LOOK_S: Final = 0.1

_Result = TypeVar("_Result")


@dataclass
class _Work:
    """A change under way: the metadata that announces it, and whether its end may have been reached."""

    mark: str
    announced: Sequence[Avu]
    began: float
    sent: bool = False


class Changes:
    """Replaces and removes resources, each time only in the state that was read."""

    def __init__(self, zone: Zone, accounts: Accounts, unique: UniqueValues) -> None:
        self._zone = zone
        self._accounts = accounts
        self._unique = unique
        self._removal = Removal(zone)

    def replace(
        self, kind: Kind, resource: StoredResource, password: str | None, if_version: str | None
    ) -> StoredResource:
        """As `StorageAdapter.replace` says; a password of None stays what it is."""

        def change() -> StoredResource:
            state = self._accounts.state(kind, resource.id)
            self._expect(kind, state, if_version)
            return self._replace(kind, state, resource, password)

        return self._repeated(change, if_version)

    def delete(self, kind: Kind, resource_id: str, if_version: str | None) -> None:
        """As `StorageAdapter.delete` says."""

        def change() -> None:
            state = self._accounts.state(kind, resource_id)
            self._expect(kind, state, if_version)
            work = _work(state)
            if not self._zone.change_metadata(state.account.name, add=work.announced):
                raise ResourceNotFound(kind.resource_type.name, resource_id)
            self._take(kind, state, work)
            with self._writing(state, work):
                self._removal.remove(state)

        self._repeated(change, if_version)

    def _replace(
        self, kind: Kind, state: State, resource: StoredResource, password: str | None
    ) -> StoredResource:
        name, before = state.account.name, state.stored
        wanted = values_of(kind, resource.document) - values_of(kind, before.document)
        self._unique.refuse_named(kind, wanted, state.account.number)
        work, owner = _work(state), owner_of(state.account.number, name)
        claims = self._unique.claims(kind, owner, work.announced).claim(owner, wanted)
        work.announced = [*work.announced, *map(claim_avu, claims)]
        self._take(kind, state, work)
        done: list[str] = []
        with self._writing(state, work), after_write(done):
            if password is not None:
                self._zone.set_password(name, password)
                done.append("password")
            version = next_version(before.version, work.mark.partition(":")[2])
            kept = with_id(resource, state.account.number, version)
            avus = {*document_avus(kept), *kind.keys.all_of(kept.document), Avu(VERSION, version)}
            if before.version == FOREIGN or of_attribute(state.avus, ADOPTED):
                avus.add(_adopted(state))
            if time.monotonic() - work.began > limit_s(self._zone.timeout_s) / 2:
                raise BackendTimeout("iRODS took too long; nothing was changed")
            work.sent = True
            old = {*state.avus, *work.announced}
            if not self._zone.change_metadata(name, old - avus, avus - state.avus | {Avu(VERSION, version)}):
                raise ResourceNotFound(kind.resource_type.name, before.id)
        return kept

    def _withdraw(self, state: State, work: _Work) -> None:
        # What stays is stale one day, and removed by who meets it.
        with suppress(StorageError):
            self._zone.change_metadata(state.account.name, remove=work.announced)

    def _take(self, kind: Kind, state: State, work: _Work) -> None:
        """Become the only one who may change the state that was read. Raises VersionMismatch."""
        name, version = state.account.name, state.stored.version
        try:
            if version == FOREIGN:
                taken = self._zone.add_metadata(name, _adopted(state))
            else:
                taken = self._zone.take_metadata(name, Avu(VERSION, version))
        except StorageError:
            if version == FOREIGN:
                self._withdraw(state, work)
            raise
        if taken:
            return
        self._withdraw(state, work)
        self._wait(kind, state)
        raise VersionMismatch(f"{kind.resource_type.name} {state.stored.id} is no longer at {version}")

    def _wait(self, kind: Kind, state: State) -> None:
        """Return when the state that was read is over, or its token is back.

        A token that was lost with its writer is put back; StorageUnavailable says that it is too early
        for that.
        """
        for _ in range(_LOOKS):
            now = self._accounts.state(kind, state.stored.id)
            if now.stored.version != state.stored.version or _has_token(now):
                return
            others = of_attribute(now.avus, WRITING)
            if all(is_stale(avu.value, self._zone.timeout_s) for avu in others):
                self._give_back(now, others)
                return
            time.sleep(_LOOK_S)
        wait = limit_s(self._zone.timeout_s)
        raise StorageUnavailable(f"a change was interrupted; the server undoes it within {wait:.0f} s")

    @contextmanager
    def _writing(self, state: State, work: _Work) -> Iterator[None]:
        """Give the token back when what is done in this context fails for certain."""
        try:
            yield
        except (BackendTimeout, ConnectionLost, OutcomeUnknown):
            # If the end was reached is not known: what is announced says that it needs a repair.
            if not work.sent:
                self._give_back_quietly(state, work)
            raise
        except StorageError:
            self._give_back_quietly(state, work)
            raise

    def _give_back_quietly(self, state: State, work: _Work) -> None:
        with suppress(StorageError):
            self._give_back(state, work.announced)

    def _give_back(self, state: State, announced: Sequence[Avu]) -> None:
        name, version = state.account.name, state.stored.version
        if version == FOREIGN:
            self._zone.change_metadata(name, remove=[*announced, _adopted(state)])
        else:
            self._zone.change_metadata(name, remove=announced, add=[Avu(VERSION, version)])

    @staticmethod
    def _expect(kind: Kind, state: State, if_version: str | None) -> None:
        if if_version not in (None, state.stored.version):
            name, version = kind.resource_type.name, state.stored.version
            raise VersionMismatch(f"{name} {state.stored.id} is at {version}")

    @staticmethod
    def _repeated(change: Callable[[], _Result], if_version: str | None) -> _Result:
        return repeated(change, VersionMismatch) if if_version is None else change()


def _work(state: State) -> _Work:
    own = mark()
    return _Work(own, [Avu(WRITING, f"{state.stored.version}:{own}")], time.monotonic())


def _has_token(state: State) -> bool:
    if state.stored.version == FOREIGN:
        return not of_attribute(state.avus, ADOPTED)
    return Avu(VERSION, state.stored.version) in state.avus


def _adopted(state: State) -> Avu:
    return Avu(ADOPTED, str(state.account.number))
