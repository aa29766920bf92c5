"""Noting what writes change, so that no change is lost and no event tells of one that never was.

Where the storage has transactions, the change is noted in the transaction of the write. Elsewhere an
intent is kept before the write and replaced by the change after it; what a crash leaves behind is
judged by looking at the resource.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

from app.protocol.changes import ChangeBuilder, MemberDelta, planned
from schema.registry import Registry
from schema.resource_type import ResourceType
from schema.values import comparison_key, format_date_time, parse_date_time
from scim_filter.nodes import BoundComparison
from set_delivery.events import Change
from set_delivery.outbox import Intent, Outbox
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.errors import (
    ResourceNotFound,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from storage.search import search

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
_MAX_SKEW: Final = timedelta(minutes=5)

Make = Callable[[ChangeBuilder], Change | None]
Also = Callable[[], object]


class Done(Protocol):
    """Called once a write has taken effect."""

    def __call__(self, make: Make, also: Also | None = None) -> None:
        """Note the change that `make` makes, and do `also` in the same transaction."""


class NoRecorder:
    """Notes nothing: nobody receives events, and the storage's transaction is all there is."""

    is_on = False

    @property
    def is_transactional(self) -> bool:
        """Whether what is noted commits together with what is stored."""
        return True

    @contextmanager
    def write(self, make_plan: Callable[[], Mapping[str, Any]]) -> Iterator[Done]:
        """Return the context of one write."""
        yield _only_also

    def note(self, changes: Iterable[Change], also: Also) -> None:
        """Note changes of nothing that is stored, and do `also` in the same transaction."""
        also()

    def resume(self, txn: str, finish: Callable[[StoredResource | None], object]) -> bool:
        """Return whether a write whose process died has taken effect.

        Then it is noted, and `finish` is told the resource, None where it was removed.
        """
        return False


def _only_also(make: Make, also: Also | None = None) -> None:
    if also is not None:
        also()


class Recorder(NoRecorder):
    """Notes changes in `outbox`; `transactional` says that it commits together with the storage."""

    is_on = True

    def __init__(
        self,
        builder: ChangeBuilder,
        outbox: Outbox,
        adapter: StorageAdapter,
        judge: "IntentJudge",
        transactional: bool,
    ) -> None:
        self._builder = builder
        self._outbox = outbox
        self._adapter = adapter
        self._judge = judge
        self._transactional = transactional

    @property
    def is_transactional(self) -> bool:
        return self._transactional

    @contextmanager
    def write(self, make_plan: Callable[[], Mapping[str, Any]]) -> Iterator[Done]:
        """Return the context of one write; `make_plan` is asked for the intent where there is to be one.

        A write that is `done` with None, or never, has changed nothing.
        """
        if self._transactional:
            yield self._done
            return
        intent = self._outbox.begin(make_plan())
        made: list[tuple[Change | None, Also | None]] = []

        def done(make: Make, also: Also | None = None) -> None:
            made.append((make(self._builder), also))

        try:
            yield done
        except _REFUSED:
            self._outbox.confirm(intent, None)
            raise
        except BaseException:
            # It may have taken effect all the same.
            self._outbox.leave(intent)
            raise
        change, also = made[0] if made else (None, None)
        # Not before it is true: what comes together with it may still fail.
        self._adapter.when_committed(partial(self._confirm, intent, change, also))

    def _confirm(self, intent: int, change: Change | None, also: Also | None) -> None:
        """Put the change in place of its intent; where that fails, the intent is judged when it is due."""
        try:
            self._outbox.confirm(intent, change, also)
        except StorageUnavailable as exc:
            # The write is stored, and is answered so: a client that tries again would be told of itself.
            if also is not None:
                raise
            _LOG.warning("a change is stored, but its event is published later: %s", exc)

    def _done(self, make: Make, also: Also | None = None) -> None:
        change = make(self._builder)
        if change is not None:
            self._outbox.add(change)
        if also is not None:
            also()

    def note(self, changes: Iterable[Change], also: Also) -> None:
        with self._outbox.transaction():
            for change in changes:
                self._outbox.add(change)
            also()

    def resume(self, txn: str, finish: Callable[[StoredResource | None], object]) -> bool:
        for intent in () if self._transactional else self._outbox.of_txn(txn):
            change, stored = self._judge.judge(intent)
            also = partial(finish, stored) if change is not None else None
            self._outbox.confirm(intent.seq, change, also)
            if change is not None:
                return True
        return False


class IntentJudge:
    """Finds out what became of writes whose process did not live to say."""

    def __init__(self, registry: Registry, adapter: StorageAdapter, builder: ChangeBuilder) -> None:
        self._registry = registry
        self._adapter = adapter
        self._builder = builder

    def judge(self, intent: Intent) -> tuple[Change | None, StoredResource | None]:
        """Return the change that was made, None when none was, and the resource as it is now.

        Raises StorageUnavailable.
        """
        plan = intent.plan
        resource_type = self._registry.resource_type(plan["type"])
        if resource_type is None:
            return None, None
        before, members = planned(plan)
        try:
            stored: StoredResource | None = self._adapter.get(resource_type, before.id)
        except ResourceNotFound:
            stored = None
        if plan["kind"] == "delete":
            if stored is not None:
                return None, stored
            return self._builder.deleted(resource_type, before, plan["feeds"], plan["txn"]), None
        if plan["kind"] == "create":
            return self._created(resource_type, before, stored, members, plan["txn"])
        if stored is None:
            return None, None
        delta = self._delta_now(resource_type, stored, members)
        if stored.version == plan["version"]:
            if not delta:
                return None, stored
            stored = self._touched(resource_type, stored)
        changed = self._builder.changed(plan["kind"], resource_type, before, stored, delta, plan["txn"])
        # It took effect, whether or not anybody cares.
        return changed or Change(plan["txn"], ()), stored

    def _created(
        self,
        resource_type: ResourceType,
        resource: StoredResource,
        stored: StoredResource | None,
        members: MemberDelta,
        txn: str,
    ) -> tuple[Change | None, StoredResource | None]:
        if stored is None and self._adapter.capabilities.assigns_ids:
            stored = self._found_by_name(resource_type, resource)
        if stored is None:
            return None, None
        joined = self._delta_now(resource_type, stored, members).joined
        return self._builder.created(resource_type, stored, joined, txn), stored

    def _found_by_name(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource | None:
        """Return what was created under an id that only the backend knew, by its names."""
        earliest = format_date_time(parse_date_time(resource.created) - _MAX_SKEW)
        for name in ("externalId", "userName", "displayName"):
            path, value = resource_type.path(name), resource.document.get(name)
            if path is None or not isinstance(value, str) or not value:
                continue
            if name == "externalId" and path.leaf.uniqueness == "none":
                # It may be that of another one.
                continue
            node = BoundComparison(path, "eq", value, comparison_key(path.leaf, value))
            page = search(self._adapter, resource_type, Selection(node, limit=2), _represent)
            fresh = [one for one in page.resources if one.created >= earliest]
            return fresh[0] if len(fresh) == 1 else None
        return None

    def _delta_now(
        self, resource_type: ResourceType, stored: StoredResource, members: MemberDelta
    ) -> MemberDelta:
        """Return which of the members did join or leave."""
        if not members:
            return members
        ids = [member.resource_id for member in (*members.joined, *members.left)]
        among = self._adapter.among_members(resource_type, stored.id, ids)
        return MemberDelta(
            [member for member in members.joined if member.resource_id in among],
            [member for member in members.left if member.resource_id not in among],
        )

    def _touched(self, resource_type: ResourceType, stored: StoredResource) -> StoredResource:
        """Give a resource the version that its change of members did not live to give it."""
        if self._adapter.capabilities.versions_members:
            return stored
        modified = format_date_time(datetime.now(UTC))
        return self._adapter.replace(
            resource_type, replace(stored, last_modified=modified), stored.version
        )


def _represent(stored: StoredResource, links: bool) -> Mapping[str, Any]:
    return stored.document
