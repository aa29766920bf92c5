"""Carrying out writes: the only place that changes the storage, and notes what was changed.

Where the storage shares its transactions with the state database, the change is noted, and the job
completed, in the transaction of the write. Elsewhere an intent is kept before the write and replaced
by the change after it; what a crash leaves behind is found out by looking at the resource.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from app.protocol.attempts import in_transaction
from app.protocol.changes import Note, new_txn
from app.protocol.completions import Completions
from app.protocol.context import Context
from app.protocol.deprovisioning import DeprovisioningGuard, DeprovisionRefused
from app.protocol.intents import Intents
from app.protocol.notes import Notes
from app.protocol.write import NO_DELTA, MemberDelta, Write
from storage.adapter import StorageAdapter, StoredResource
from storage.attempts import own_limit
from storage.errors import (
    Contention,
    ForeignEntry,
    OutcomeUnknown,
    ResourceNotFound,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from telemetry.tracing import note as note_in_trace

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


@dataclass(frozen=True, slots=True)
class Found:
    """A write that took effect, and the resource as it is now, None if it was removed."""

    stored: StoredResource | None


@dataclass(slots=True)
class _Done:
    """What the attempts at one write have done for good.

    Without transactions members change apart from the resource, and stay changed when an attempt
    loses the race for the resource: the next one must not take that for no change, and tells of it.
    """

    members_changed: bool = False
    delta: MemberDelta = NO_DELTA
    feeds: Sequence[str] = ()

    def add_to(self, write: Write) -> Write:
        """Return a write that tells of what was done before it, too; it is done from now on."""
        if self.delta or self.delta.has_displays or self.feeds:
            feeds = [*dict.fromkeys([*self.feeds, *write.feeds])]
            write = replace(write, delta=self.delta.then(write.delta), feeds=feeds)
        self.delta, self.feeds = write.delta, write.feeds
        return write


class Commit:
    """Carries out writes; `notes` are None where nobody wants to know of changes.

    `intents` find out what became of writes that nobody answered for. `guard` refuses removals when there
    are too many, None refuses none.
    """

    def __init__(
        self,
        adapter: StorageAdapter,
        notes: Notes | None,
        intents: Intents,
        completions: Completions,
        guard: DeprovisioningGuard | None = None,
    ) -> None:
        self._guard = guard
        self._adapter = adapter
        self.pipelined = adapter.pipelined
        self._notes = notes
        self._intents = intents
        self._completions = completions

    def run(
        self,
        context: Context,
        decide: Callable[[], Write],
        prepare: Callable[[], object] | None = None,
    ) -> StoredResource | None:
        """Carry out what `decide` decides, and return the resource as it is now, None if it is removed.

        `decide` reads what it needs; it is called again when another writer came in between. `prepare`
        is called before each attempt, outside the transaction. The job of the context is completed
        together with the write. Raises what `decide`, the guard and the storage raise.
        """
        named = context if context.txn else replace(context, txn=new_txn())
        note_in_trace("scim.txn", named.txn)
        done = _Done()

        def attempt() -> StoredResource | None:
            # With transactions, each attempt begins from what the one before it began from.
            write, guard = decide(), self._guard
            if guard is not None:
                guard.admit(named, write)
            stored = self._carry_out(named, write, _Done() if self.has_transactions else done)
            if guard is not None:
                # The next operation of a Bulk request counts on it.
                guard.count(named, write)
            return stored

        try:
            return in_transaction(self._adapter, attempt, prepare)
        except DeprovisionRefused as refusal:
            # A part of a Bulk request is undone with all that is written in it.
            if not self._adapter.in_transaction:
                self.close_guard(named, refusal)
            raise

    def close_guard(self, context: Context, refusal: Exception) -> None:
        """Close the guard of a client if it is what refused a write."""
        if isinstance(refusal, DeprovisionRefused) and self._guard is not None:
            self._guard.close(context, refusal.resource_type)

    def resume(self, context: Context) -> "Found | None":
        """Return what an attempt at a job has done without saying so, None if nothing.

        The change is noted, and the job of the context completed. Raises OutcomeUnknown while the
        outcome is not known, and Refusal if it never will be.
        """
        found: list[Found] = []

        def finish(stored: StoredResource | None) -> None:
            if context.job is not None:
                self._completions.complete(context, context.job, stored)
            found.append(Found(stored))

        if self._notes is None or self._notes.is_shared:
            return None
        return found[0] if self._intents.resume(context.txn, finish) else None

    @property
    def has_transactions(self) -> bool:
        """Whether several writes can be one."""
        return self._adapter.capabilities.transactions

    @property
    def is_shared(self) -> bool:
        """Whether what is noted commits together with what is stored."""
        return self._notes is None or self._notes.is_shared

    @property
    def undoes_all(self) -> bool:
        """Whether a transaction that is undone leaves nothing of what was noted and counted either."""
        return self.has_transactions and self.is_shared and self._guard is None

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
            self._complete(context, write, write.before)
            return write.before
        if write.before is not None and write.before.read_only:
            raise ForeignEntry(write.resource_type.name, write.before.id)
        write = done.add_to(self._with_members(write))
        if self._notes is None or self._notes.is_shared:
            stored, note = self._changed(context, write, done)
            if self._notes is not None:
                self._notes.add(note)
            self._complete(context, write, stored)
            return stored
        intent = self._notes.begin(context, write.plan(context))
        try:
            stored, note = self._changed(context, write, done)
        except _REFUSED:
            self._notes.confirm(intent, None)
            raise
        except BaseException as problem:
            # One step of several may have taken effect all the same.
            self._notes.leave(intent, isinstance(problem, (StorageUnavailable, Contention)))
            raise
        # Not before it is true: what comes together with it may still fail.
        self._adapter.when_committed(partial(self._confirm, context, write, intent, note, stored))
        return stored

    def _with_members(self, write: Write) -> Write:
        """Return a write with the members of the resource that it removes, where values are logged."""
        resource_type, before = write.resource_type, write.before
        if self._notes is None or not self._notes.builder.rows.has_values:
            return write
        if before is None or write.after is not None or resource_type.members is None:
            return write
        members = list(self._adapter.members(resource_type, before))
        return replace(write, delta=MemberDelta((), members))

    def _changed(
        self, context: Context, write: Write, done: _Done
    ) -> tuple[StoredResource | None, Note | None]:
        """Return the resource as it is kept, and what is noted of it."""
        stored = self._stored(context, write, done)
        if self._notes is None:
            return stored, None
        builder = self._notes.builder
        if stored is not None:
            stored = builder.with_memberships(write.resource_type, stored)
        return stored, builder.of(context, write, stored, done.members_changed)

    def _stored(self, context: Context, write: Write, done: _Done) -> StoredResource | None:
        """Have the storage do what a write says, and return the resource as it is kept."""
        for other in write.first:
            with own_limit():
                self._carry_out(context, other, _Done())
        resource_type, before, after = write.resource_type, write.before, write.after
        if after is None:
            assert before is not None
            self._adapter.delete(resource_type, before.id, before.version)
            return None
        if before is None:
            if write.joining:
                return self._adapter.create_with_members(resource_type, after, write.joining)
            return self._adapter.create(resource_type, after)
        if write.joining or write.leaving:
            changed = self._adapter.change_members(resource_type, before, write.joining, write.leaving)
            done.members_changed = done.members_changed or changed
        return self._replaced(write, before, after, done)

    def _replaced(
        self, write: Write, before: StoredResource, after: StoredResource, done: _Done
    ) -> StoredResource:
        """Return the new state as kept, once members are what they should be."""
        changed = done.members_changed
        if changed and self._adapter.capabilities.versions_members:
            current = self._adapter.get(write.resource_type, before.id)
            if write.is_same:
                return current
            return self._adapter.replace(write.resource_type, after, current.version)
        if write.is_same and not changed:
            return before
        return self._adapter.replace(write.resource_type, after, before.version)

    # -- noting it

    def _confirm(
        self,
        context: Context,
        write: Write,
        intent: int,
        note: Note | None,
        stored: StoredResource | None,
    ) -> None:
        """Put the note in place of its intent; where that fails, the sweep does it when it is due."""
        assert self._notes is not None
        completes = context.job is not None and not write.is_cascade
        complete = partial(self._complete, context, write, stored) if completes else None
        try:
            self._notes.confirm(intent, note, complete)
        except (StorageUnavailable, OutcomeUnknown, Contention) as exc:
            # The write is stored, and is answered so: a client that tries again would meet itself.
            if completes:
                raise
            _LOG.warning("a change is stored, but its event is published later: %s", exc)

    def _complete(self, context: Context, write: Write, stored: StoredResource | None) -> None:
        # A resource that others leave because it is removed is one request, not several.
        if context.job is not None and not write.is_cascade:
            self._completions.complete(context, context.job, stored)
