"""Replacing and deleting resources: one writer at a time each, also after a writer was interrupted.

1. A writer announces its change in the metadata `scim.writing`.
2. It removes `scim.version`, a token that only one writer can remove. Without the token it may not write.
3. It writes the new document together with a new token, in one request.

The announcement shows whether a missing token is in use or was lost with its writer. The next writer puts
a lost token back. The data of a deleted user passes to a new group with the metadata DELETED and TIMESTAMP.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from irods.models import Collection, DataObject

from schema.values import format_date_time
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
from storage.irods.creation import LOOK_S, LOOKS, claim_avu, claims_of, owner_of
from storage.irods.find import Accounts
from storage.irods.form import (
    ADOPTED,
    DELETED,
    FOREIGN,
    TIMESTAMP,
    VERSION,
    WRITING,
    Kind,
    State,
    age,
    mark,
    next_version,
    of_attribute,
    with_id,
)
from storage.irods.sessions import ConnectionLost
from storage.irods.wire import GROUPS, USERS, Avu, Zone

# The beginning of the names of the groups with the data of deleted users.
_HEIR: Final = "deleted."

_Result = TypeVar("_Result")


@dataclass
class _Work:
    """A change of a state: the metadata that announces it, and whether iRODS may have carried it out."""

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
        self._removal = _Removal(zone)

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
        wanted = kind.unique_values(resource.document) - kind.unique_values(before.document)
        self._accounts.refuse_named(kind, wanted, state.account.number)
        work, owner = _work(state), owner_of(state.account.number, name)
        claims = claims_of(self._zone, kind, owner, work.announced).claim(owner, wanted)
        work.announced = [*work.announced, *map(claim_avu, claims)]
        self._take(work)
        changed: list[str] = []
        with self._writing(work), after_write(changed):
            if password is not None:
                self._zone.set_password(name, password)
                changed.append("password")
            version = next_version(before.version, work.mark.partition(":")[2])
            kept = with_id(resource, state.account.number, version)
            avus = kind.metadata(kept)
            if before.version == FOREIGN or of_attribute(state.avus, ADOPTED):
                avus.add(_adopted(state))
            if time.monotonic() - work.began > self._zone.write_limit_s / 2:
                raise BackendTimeout("iRODS took too long; nothing was changed")
            work.sent = True
            old = {*state.avus, *work.announced}
            if not self._zone.change_metadata(name, old - avus, avus - state.avus | {Avu(VERSION, version)}):
                raise _not_found(state)
        return kept

    def _take(self, work: _Work) -> None:
        """Become the only writer of the state that was read. Raises VersionMismatch."""
        state, name, version = work.state, work.state.account.name, work.state.stored.version
        try:
            if version == FOREIGN:
                taken = self._zone.add_metadata(name, _adopted(state))
            else:
                taken = self._zone.take_metadata(name, Avu(VERSION, version))
        except StorageError:
            if version == FOREIGN:
                self._withdraw(work)
            raise
        if taken:
            return
        self._withdraw(work)
        self._wait(state)
        raise VersionMismatch(f"{state.kind.resource_type.name} {state.stored.id} is no longer at {version}")

    def _withdraw(self, work: _Work) -> None:
        # A later writer removes an announcement that remains.
        with suppress(StorageError):
            self._zone.change_metadata(work.state.account.name, remove=work.announced)

    def _wait(self, state: State) -> None:
        """Return when the state that was read is over, or has its token again.

        Puts a token back that was lost with its writer; raises StorageUnavailable when it is too early for
        that.
        """
        for _ in range(LOOKS):
            now = self._accounts.state(state.kind, state.stored.id)
            if now.stored.version != state.stored.version or _has_token(now):
                return
            others = of_attribute(now.avus, WRITING)
            if all(age(avu.value) > self._zone.write_limit_s for avu in others):
                self._give_back(now, others)
                return
            time.sleep(LOOK_S)
        wait = self._zone.write_limit_s
        raise StorageUnavailable(f"a change was interrupted; the server undoes it within {wait:.0f} s")

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
                    self._give_back(work.state, work.announced)
            raise

    def _give_back(self, state: State, announced: Sequence[Avu]) -> None:
        name, version = state.account.name, state.stored.version
        if version == FOREIGN:
            self._zone.change_metadata(name, remove=[*announced, _adopted(state)])
        else:
            self._zone.change_metadata(name, remove=announced, add=[Avu(VERSION, version)])


def _work(state: State) -> _Work:
    own = mark()
    return _Work(state, own, [Avu(WRITING, f"{state.stored.version}:{own}")], time.monotonic())


def _has_token(state: State) -> bool:
    if state.stored.version == FOREIGN:
        return not of_attribute(state.avus, ADOPTED)
    return Avu(VERSION, state.stored.version) in state.avus


def _adopted(state: State) -> Avu:
    return Avu(ADOPTED, str(state.account.number))


def _not_found(state: State) -> ResourceNotFound:
    return ResourceNotFound(state.kind.resource_type.name, state.stored.id)


class _Removal:
    """Removes users and groups."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def remove(self, state: State) -> None:
        """Remove an account; its data belongs to a group afterwards."""
        name = state.account.name
        if state.account.account_type == USERS:
            homes = (f"/{self._zone.name}/home/{name}", f"/{self._zone.name}/trash/home/{name}")
            owned = self._owned(name) - set(homes)
            # The home may also hold data of others: then iRODS does not remove the account yet.
            if not owned and self._zone.remove_account(name):
                return
            self._pass_on(state, homes, [path for path in sorted(owned) if not _is_in(path, homes)])
        if not self._zone.remove_account(name):
            raise StorageUnavailable(f"iRODS does not remove account {state.account.number}: it owns data")

    def _owned(self, name: str) -> set[str]:
        """Return the paths of the collections and data objects that a user owns.

        Without the data of an earlier user of that name in a group, which has that name as its owner.
        """
        owner = [Collection.owner_name == name, Collection.owner_zone == self._zone.name]
        paths = {row[Collection.name] for row in self._zone.rows([Collection.name], *owner)}
        owner = [DataObject.owner_name == name, DataObject.owner_zone == self._zone.name]
        for row in self._zone.rows([Collection.name, DataObject.name], *owner):
            paths.add(f"{row[Collection.name]}/{row[DataObject.name]}")
        return {path for path in paths if not path.startswith(f"/{self._zone.name}/home/{_HEIR}")}

    def _content(self, home: str) -> tuple[list[str], list[str]]:
        """Return the paths of the collections and of the data objects in a collection."""
        rows = self._zone.rows([Collection.name], Collection.parent_name == home)
        collections = sorted(row[Collection.name] for row in rows)
        rows = self._zone.rows([DataObject.name], Collection.name == home)
        return collections, sorted({f"{home}/{row[DataObject.name]}" for row in rows})

    def _pass_on(self, state: State, homes: tuple[str, ...], elsewhere: list[str]) -> None:
        """Give all data to a group; after a failure, every step can be repeated."""
        account = state.account
        group = f"{_HEIR}{account.number}.{account.name}"[:63].rstrip(".")
        self._zone.add_account(group, GROUPS)
        self._zone.add_metadata(group, Avu(DELETED, account.name))
        self._zone.change_metadata(group, add=[Avu(TIMESTAMP, format_date_time(datetime.now(UTC)))])
        for path in elsewhere:
            self._zone.own(path, group)
        for number, home in enumerate(homes):
            collections, data_objects = self._content(home)
            if not collections and not data_objects:
                continue
            # To move data, or to create a collection in another, even an administrator must own it.
            self._own(home, group)
            its_home = f"/{self._zone.name}/home/{group}"
            targets = [its_home, f"{its_home}/trash"][: number + 1]
            for target in targets:
                self._zone.make_collection(target)
                self._own(target, group)
            self._zone.move(collections, data_objects, targets[-1])

    def _own(self, path: str, group: str) -> None:
        for name in (group, self._zone.username):
            self._zone.own(path, name, recursive=True)


def _is_in(path: str, collections: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{collection}/") for collection in collections)
