"""Carrying out writes: the only place that changes the storage, and notes what was changed.

Where the storage shares its transactions with the state database, the change is noted, and the job
completed, in the transaction of the write. Elsewhere an intent is kept before the write and replaced
by the change after it; what a crash leaves behind is found out by looking at the resource.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from app.protocol.attempts import in_transaction
from app.protocol.changes import ChangeBuilder, new_txn
from app.protocol.completions import Completions
from app.protocol.context import Context
from app.protocol.intents import Intents
from app.protocol.write import NO_DELTA, MemberDelta, Write
from schema.resource_type import ResourceType
from set_delivery.events import Change
from set_delivery.outbox import Outbox
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import (
    Contention,
    OutcomeUnknown,
    ResourceNotFound,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)

_LOG = logging.getLogger(__name__)

# After one of these, nothing was written.
_REFUSED: Final = (
    ResourceNotFound,
    StorageReadOnly,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Notes:
    """What notes changes: in `outbox`, as `builder` makes them; `intents` finds out about lost ones.

    `is_shared` says that the state database is that of the storage: what is noted commits with it.
    `require_job` raises LostJob where the job of this thread is another's by now.
    """

    builder: ChangeBuilder
    outbox: Outbox
    intents: Intents
    is_shared: bool
    require_job: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Found:
    """A write that took effect, and the resource as it is now, None if it was removed."""

    stored: StoredResource | None


@dataclass(slots=True)
class _Done:
    """What the attempts at one write have done for good.

    Without transactions members change apart from the resource, and stay changed when an attempt
    loses the race for the resource: the next one must not take that for no change.
    """

    members_changed: bool = False
    delta: MemberDelta = NO_DELTA


class Commit:
    """Carries out writes; `notes` are None where nobody wants to know of changes."""

    def __init__(
        self, adapter: StorageAdapter, notes: Notes | None, completions: Completions | None
    ) -> None:
        self._adapter = adapter
        self._notes = notes
        self._completions = completions
        # A crash between write and note leaves a write whose outcome is found out later.
        self._needs_intents = notes is not None and not notes.is_shared

    def run(
        self,
        context: Context,
        decide: Callable[[], Write],
        prepare: Callable[[], object] | None = None,
    ) -> StoredResource | None:
        """Carry out what `decide` decides, and return the resource as it is now, None if it is removed.

        `decide` reads what it needs; it is called again when another writer came in between. `prepare`
        is called before each attempt, outside the transaction. The job of the context is completed
        together with the write. Raises what `decide` and the storage raise.
        """
        named = context if context.txn else replace(context, txn=new_txn())
        done = _Done()
        return in_transaction(self._adapter, lambda: self._carry_out(named, decide(), done), prepare)

    def resume(self, context: Context) -> "Found | None":
        """Return what an attempt at a job has done without saying so, None if nothing.

        The change is noted, and the job of the context completed. Raises OutcomeUnknown while the
        outcome is not known, and Refusal if it never will be.
        """
        found: list[Found] = []

        def finish(stored: StoredResource | None) -> None:
            self._complete(context, stored)
            found.append(Found(stored))

        if self._notes is None or self._notes.is_shared:
            return None
        return found[0] if self._notes.intents.resume(context.txn, finish) else None

    # -- for imports, which make no events

    @property
    def assigns_ids(self) -> bool:
        """Whether the storage chooses the ids of new resources."""
        return self._adapter.capabilities.assigns_ids

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        """Keep new resources together. Raises UniquenessConflict, with nothing kept."""
        in_transaction(self._adapter, lambda: self._adapter.create_many(resource_type, resources))

    def create_one(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        """Keep a new resource without its members, and return it. Raises as `StorageAdapter.create`."""
        return in_transaction(self._adapter, lambda: self._adapter.create(resource_type, resource))

    def add_members(
        self, resource_type: ResourceType, resource_id: str, members: Sequence[Member]
    ) -> None:
        """Let members join a resource, whose version stays."""

        def join() -> None:
            stored = self._adapter.get(resource_type, resource_id)
            self._adapter.change_members(resource_type, stored, members, ())

        in_transaction(self._adapter, join)

    # -- for Bulk

    @property
    def has_transactions(self) -> bool:
        """Whether several writes can be one."""
        return self._adapter.capabilities.transactions

    @property
    def is_shared(self) -> bool:
        """Whether what is noted commits together with what is stored."""
        return self._notes is None or self._notes.is_shared

    def together(self, work: Callable[[], _Result]) -> _Result:
        """Run `work` in one transaction, again when another writer came in between."""
        return in_transaction(self._adapter, work)

    def part(self) -> AbstractContextManager[None]:
        """Return a context in which a part of the transaction can fail alone."""
        return self._adapter.savepoint()

    def note(self, note: Callable[[], object]) -> None:
        """Have something noted in the state database: in the transaction at hand, or once it is committed."""
        if self.is_shared:
            note()
        else:
            self._adapter.when_committed(note)

    # -- one attempt

    def _carry_out(self, context: Context, write: Write, done: _Done) -> StoredResource | None:
        if write.changes_nothing and not done.members_changed:
            self._complete(context, write.before)
            return write.before
        if self._adapter.capabilities.transactions or not done.delta:
            done.delta = write.delta
        if not self._needs_intents:
            stored, change = self._changed(context, write, done)
            self._note(context, change, stored)
            return stored
        assert self._notes is not None
        intent = self._begun(self._notes, write.plan(done.delta, context.txn))
        try:
            stored, change = self._changed(context, write, done)
        except _REFUSED:
            self._notes.outbox.confirm(intent, None)
            raise
        except BaseException as problem:
            # One step of several may have taken effect all the same.
            self._leave(self._notes, intent, isinstance(problem, (StorageUnavailable, Contention)))
            raise
        # Not before it is true: what comes together with it may still fail.
        self._adapter.when_committed(partial(self._confirm, context, intent, change, stored))
        return stored

    def _changed(
        self, context: Context, write: Write, done: _Done
    ) -> tuple[StoredResource | None, Change | None]:
        """Return the resource as it is kept, and what is noted of it."""
        stored = self._stored(context, write, done)
        if self._notes is None:
            return stored, None
        builder = self._notes.builder
        if stored is not None:
            stored = builder.with_memberships(write.resource_type, stored)
        return stored, builder.of(write, stored, done.delta, context.txn)

    def _stored(self, context: Context, write: Write, done: _Done) -> StoredResource | None:
        """Have the storage do what a write says, and return the resource as it is kept."""
        for other in write.first:
            self._carry_out(replace(context, job=None), other, _Done())
        resource_type, before, after = write.resource_type, write.before, write.after
        if after is None:
            assert before is not None
            self._adapter.delete(resource_type, before.id, before.version)
            return None
        if before is None:
            created = self._adapter.create(resource_type, after)
            return self._joined(write, created) if write.joining else created
        if write.joining or write.leaving:
            changed = self._adapter.change_members(resource_type, before, write.joining, write.leaving)
            done.members_changed = done.members_changed or changed
        return self._replaced(write, before, after, done)

    def _joined(self, write: Write, created: StoredResource) -> StoredResource:
        """Return a resource that was just created with its first members."""
        capabilities, resource_type = self._adapter.capabilities, write.resource_type
        try:
            self._adapter.change_members(resource_type, created, write.joining, ())
        except StorageError:
            if not capabilities.transactions:
                # Nothing is half created, as far as that can be helped.
                with suppress(StorageError):
                    self._adapter.delete(resource_type, created.id)
            raise
        return self._adapter.get(resource_type, created.id) if capabilities.versions_members else created

    def _replaced(
        self, write: Write, before: StoredResource, after: StoredResource, done: _Done
    ) -> StoredResource:
        """Return the new state as kept, once members are what they should be."""
        changed, capabilities = done.members_changed, self._adapter.capabilities
        if capabilities.transactions:
            # Another attempt begins from what this one began from.
            done.members_changed = False
        if changed and capabilities.versions_members:
            current = self._adapter.get(write.resource_type, before.id)
            if write.is_same:
                return current
            return self._adapter.replace(write.resource_type, after, current.version)
        if write.is_same and not changed:
            return before
        return self._adapter.replace(write.resource_type, after, before.version)

    # -- noting it

    @staticmethod
    def _begun(notes: Notes, plan: Mapping[str, Any]) -> int:
        """Keep an intent; a job that another process has taken over writes no more. Raises LostJob."""
        try:
            return notes.outbox.begin(plan, notes.require_job)
        except OutcomeUnknown as exc:
            # Whether or not it is kept, the write is not sent.
            raise StorageUnavailable(str(exc)) from exc

    @staticmethod
    def _leave(notes: Notes, intent: int, is_settled: bool) -> None:
        try:
            notes.outbox.leave(intent, is_settled)
        except StorageError as exc:
            # It is looked at all the same, when no request can be under way any more.
            _LOG.warning("the outcome of a change is looked at later: %s", exc)

    def _note(self, context: Context, change: Change | None, stored: StoredResource | None) -> None:
        """Note a change, and complete the job, in the transaction of the write if there is one."""
        if change is not None and self._notes is not None:
            self._notes.outbox.add(change)
        self._complete(context, stored)

    def _confirm(
        self, context: Context, intent: int, change: Change | None, stored: StoredResource | None
    ) -> None:
        """Put the change in place of its intent; where that fails, the sweep does it when it is due."""
        assert self._notes is not None
        complete = partial(self._complete, context, stored) if context.job else None
        try:
            self._notes.outbox.confirm(intent, change, complete)
        except (StorageUnavailable, OutcomeUnknown) as exc:
            # The write is stored, and is answered so: a client that tries again would meet itself.
            if complete is not None:
                raise
            _LOG.warning("a change is stored, but its event is published later: %s", exc)

    def _complete(self, context: Context, stored: StoredResource | None) -> None:
        if context.job is not None:
            assert self._completions is not None
            self._completions.complete(context, context.job, stored)
