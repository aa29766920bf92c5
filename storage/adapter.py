"""The storage contract: what the service provider needs of a backend, and what it may offer more.

Five methods make an adapter: `get`, `create`, `replace`, `delete` and `scan`. What else it can do
it declares in `Capabilities`; what it does not declare is done for it, once, in `storage.search`
and `storage.complete`. An undeclared ability costs speed, never correctness.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final

from schema.resource_type import ResourceType
from storage.errors import StorageError, UnsupportedByBackend
from storage.resource import Adoptable, Key, Member, Membership, ReadAlong, StoredResource
from storage.selection import Found, Page, Position, Selection, Sort

__all__ = [
    "Adoptable",
    "CONTRACT_VERSION",
    "Capabilities",
    "Found",
    "Key",
    "Member",
    "Membership",
    "Page",
    "Position",
    "ReadAlong",
    "Selection",
    "Sort",
    "StorageAdapter",
    "StoredResource",
]

CONTRACT_VERSION: Final = 1
"""Raised when an adapter that fulfilled the contract may fulfil it no longer (docs/writing-a-backend.md)."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend does by itself.

    `native_uniqueness`: unique attributes are enforced by the backend, races included.
    `transactions`: `transaction()` makes several calls one. `members`: memberships are kept apart
    from the resource that has them, and the methods from `members` on work.

    `exclusive`: `exclusive()` lets one writer in, of all processes. A backend without `members` or without
    `native_uniqueness` needs it where several processes use it: `storage.complete` has writers take
    turns, so that its `create`, `replace` and `delete` are called by one of them at a time.

    Of a backend that is a system of its own: `assigns_ids`: `create` returns the resource under an
    id of the backend's choice. `versions_members`: a change of members makes a new version of the
    resource by itself. `takes_secrets`: `StoredResource.secrets` of what is written holds the values
    as the client sent them, for the backend to keep as it does; none means no change, and those in
    `StoredResource.removed_secrets` are kept no longer.
    `asked_at_start`: the start may ask whether it takes changes; it may be down for long otherwise.
    `mends`: `mend` has something to do.
    `owners`: `StoredResource.owner` is kept, the filter `storage.owners.owned_by` is answered by an index,
    and an `externalId` that is unique is unique among the resources of one owner.
    """

    native_uniqueness: bool = False
    transactions: bool = False
    members: bool = False
    exclusive: bool = False
    assigns_ids: bool = False
    versions_members: bool = False
    takes_secrets: bool = False
    asked_at_start: bool = True
    mends: bool = False
    owners: bool = False


class StorageAdapter(ABC):
    """A backend. Instances are shared by threads, never across a fork; construction does no I/O.

    Of a backend that is a system of its own, what changes something may raise OutcomeUnknown, as may the
    end of a transaction. StorageUnavailable from there says that nothing was changed, nor will be.
    """

    capabilities = Capabilities()

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        """Make what the backend needs to hold these types; does nothing when it is there."""

    def to_adopt(self, resource_types: Sequence[ResourceType]) -> Iterable[Adoptable]:
        """Return each document of another program that `prepare` would make a resource of these types.

        Called in place of `prepare`. Writes nothing.
        """
        return ()

    def check(self) -> None:
        """Return when the backend answers; raise StorageUnavailable otherwise."""

    def check_writable(self) -> None:
        """Return when the backend takes changes; where only a change would tell, when it answers.

        Raises StorageReadOnly where it is meant to take none, StorageUnavailable where it cannot.
        """
        self.check()

    def mend(self) -> int:
        """Make right what processes with other settings, or of other releases, have written meanwhile.

        A process calls it every few seconds beside requests. Return how many resources were mended.
        """
        return 0

    def count_hidden(self, resource_type: ResourceType) -> int | None:
        """Return how many entries of other programs the backend leaves out, None if that takes many calls."""
        return 0

    def close(self) -> None:
        """Give back the connections of this process; the adapter opens new ones when used again."""

    @property
    def state_database(self) -> Any:
        """The SQL database whose transactions this adapter shares, None where there is none.

        What is written there within `transaction()` is committed together with resources.
        """
        return None

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which all calls take effect together or, on an exception, not at all.

        Only with the capability `transactions`; without it, every call stands alone. Any call may
        raise Contention: then the whole has been undone, and may be tried again from its beginning.
        """
        return nullcontext()

    def exclusive(self) -> AbstractContextManager[None]:
        """Return a context in which one thread of all processes is at a time; reading goes on meanwhile.

        Only with the capability `exclusive`. A process that dies is no longer in it. No thread enters it
        twice. Raises StorageUnavailable where nobody can tell that no other thread is in it.
        """
        return nullcontext()

    def when_committed(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the caller's transaction is committed; at once where there is none."""
        callback()

    @property
    def in_transaction(self) -> bool:
        """Whether the caller is within `transaction()`; never without the capability."""
        return False

    def savepoint(self) -> AbstractContextManager[None]:
        """Return a context in which all calls within a transaction take effect together or not at all.

        Unlike the transaction around it, it can fail alone.
        """
        return self.transaction()

    def pipelined(self) -> AbstractContextManager[None]:
        """Return a context within a transaction; what `create` raises, its end may raise, or a later call."""
        return nullcontext()

    @abstractmethod
    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        """Return the resource; within a transaction, nobody else changes it until that ends.

        Raises ResourceNotFound.
        """

    def get_to_patch(
        self, resource_type: ResourceType, resource_id: str, member_ids: Sequence[str]
    ) -> StoredResource:
        """Return a resource as `get` does; a client names these ids to change its members.

        It has `read_along` about them where one call of the backend reads all of that. Needs `members`.
        """
        return self.get(resource_type, resource_id)

    def get_to_delete(
        self, resource_type: ResourceType, resource_id: str
    ) -> tuple[StoredResource, Sequence[Membership]]:
        """Return a resource that is about to be deleted, and the groups that it is directly in.

        Within a transaction, nobody else changes any of them until that ends. A backend with locks takes
        those of groups first: so does a change of members. Needs `members`. Raises ResourceNotFound.
        """
        stored = self.get(resource_type, resource_id)
        memberships = self.memberships(resource_type, [stored]).get(stored.id, ())
        return stored, [one for one in memberships if one.direct]

    @abstractmethod
    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        """Keep a new resource and return it as kept, with its version, durably.

        Raises UniquenessConflict, also for an `id` that exists, be it of another type.
        """

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        """Keep new resources, as `create` does with each; all of them or none with `transactions`.

        Raises UniquenessConflict, which need not tell the attribute.
        """
        with self.transaction():
            for resource in resources:
                self.create(resource_type, resource)

    @abstractmethod
    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        """Keep `resource` in place of what has its id, and return it with its new version.

        What `resource` does not hold is gone. With `if_version`, raises VersionMismatch unless
        the resource is still at that version. `resource.source` may be that of the resource as this adapter
        returned it before. Raises ResourceNotFound, UniquenessConflict.
        """

    @abstractmethod
    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        """Remove the resource. Raises ResourceNotFound, and VersionMismatch as `replace` does."""

    @abstractmethod
    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        """Yield every resource of the type in a total order that does not change while nothing does."""

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        """Return what may be selected, found as well as the backend can; `storage.search` does the rest."""
        return Found(self.scan(resource_type), selection.filter)

    # What follows needs the capability `members`. Resources are given as this adapter returned them. An
    # adapter does not read again what it finds in them, but writes only where that is still so.

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        """Yield the members of a resource in a stable order, without holding them all.

        With `limit`, no more than that are read.
        """
        raise UnsupportedByBackend(f"{type(self).__name__} keeps members in the resource")

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        """Return the members of a resource with one of these ids, better without reading all members.

        `display` may be None where a backend would have to read it.
        """
        wanted = frozenset(member_ids)
        found = self.members(resource_type, stored) if wanted else ()
        return [member for member in found if member.resource_id in wanted]

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        """Add and remove members and return whether that changed anything.

        Those in `remove`, of which only type and id count, leave before the others join. Adding a
        member twice and removing one that is none is no change. A backend with transactions may raise
        Contention where a resource in `add` does not exist any more. A `display` other than the member's
        own is kept and shown in its place. The version of the resource is left to the caller: where a
        `replace` follows in the transaction, the change may wait for it.
        """
        raise UnsupportedByBackend(f"{type(self).__name__} keeps members in the resource")

    def create_with_members(
        self, resource_type: ResourceType, resource: StoredResource, members: Sequence[Member]
    ) -> StoredResource:
        """Keep a new resource with its first members, as `create` does.

        Nothing is half created, as far as that can be helped.
        """
        created = self.create(resource_type, resource)
        try:
            self.change_members(resource_type, created, members, ())
        except StorageError:
            if not self.capabilities.transactions:
                with suppress(StorageError):
                    self.delete(resource_type, created.id)
            raise
        return self.get(resource_type, created.id) if self.capabilities.versions_members else created

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        """Return, by id, what each resource that is a member is a member of, nested ones included."""
        raise UnsupportedByBackend(f"{type(self).__name__} keeps members in the resource")

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        """Return every resource that has one of the ids, with its display.

        Resources of one id come in the order of the resource types that `prepare` was given. A backend
        where no two resources have one id may stop at the first.
        """
        raise UnsupportedByBackend(f"{type(self).__name__} keeps members in the resource")
