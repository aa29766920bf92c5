"""Writes of an operator at the command line: an import and an adoption. No events tell of them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from app.protocol.attempts import in_transaction
from app.protocol.changes import new_txn
from app.protocol.context import Context
from app.protocol.differences import present_paths
from app.protocol.notes import Notes
from app.protocol.write import NO_DELTA, MemberDelta
from schema.resource_type import ResourceType
from schema.values import format_date_time
from storage.adapter import Member, StorageAdapter, StoredResource


class ImportCommit:
    """Carries out these writes; `notes` are None where nobody wants to know of changes.

    Rows of the change log are written together, in the transaction of their resources where there is
    one. Elsewhere they come after it: an import that is killed in between leaves resources without.
    """

    def __init__(self, adapter: StorageAdapter, notes: Notes | None) -> None:
        self._adapter = adapter
        self._notes = notes

    @property
    def assigns_ids(self) -> bool:
        """Whether the storage chooses the ids of new resources."""
        return self._adapter.capabilities.assigns_ids

    def create_many(
        self, context: Context, resource_type: ResourceType, resources: Sequence[StoredResource]
    ) -> None:
        """Keep new resources together. Raises UniquenessConflict, with nothing kept."""

        def create() -> None:
            self._adapter.create_many(resource_type, resources)
            self._note(context, "create", resource_type, resources)

        in_transaction(self._adapter, create)

    def create_one(
        self, context: Context, resource_type: ResourceType, resource: StoredResource
    ) -> StoredResource:
        """Keep a new resource without its members, and return it. Raises as `StorageAdapter.create`."""

        def create() -> StoredResource:
            created = self._adapter.create(resource_type, resource)
            self._note(context, "create", resource_type, [created])
            return created

        return in_transaction(self._adapter, create)

    def add_members(
        self,
        context: Context,
        resource_type: ResourceType,
        resource_id: str,
        find: Callable[[], tuple[Sequence[Member], Collection[str]]],
    ) -> Collection[str]:
        """Let members join a resource, whose version stays: those that `find` returns.

        Return what is missing, which `find` returns behind them.
        """

        def join() -> Collection[str]:
            stored = self._adapter.get(resource_type, resource_id)
            members, missing = find()
            joined = MemberDelta(self._new_members(resource_type, stored, members))
            if self._adapter.change_members(resource_type, stored, members, ()):
                changed = [resource_type.members.name] if resource_type.members is not None else []
                self._note(context, "patch", resource_type, [stored], changed, joined)
            return missing

        return in_transaction(self._adapter, join)

    def _new_members(
        self, resource_type: ResourceType, stored: StoredResource, members: Sequence[Member]
    ) -> Sequence[Member]:
        """Return which of `members` a resource does not have, where values are logged."""
        if self._notes is None or not self._notes.builder.rows.has_values:
            return ()
        ids = [member.resource_id for member in members]
        known = {one.key for one in self._adapter.among_members(resource_type, stored, ids)}
        return [member for member in members if member.key not in known]

    def adopt(
        self, context: Context, resource_type: ResourceType, stored: StoredResource
    ) -> StoredResource:
        """Make an entry of another program one of this server, under a new version, and return it.

        Its attributes stay. Raises as `StorageAdapter.replace`.
        """
        now = format_date_time(datetime.now(UTC))
        taken = self._adapter.replace(
            resource_type, replace(stored, last_modified=now, read_only=False), stored.version
        )
        self._note(context, "adopt", resource_type, [taken], [])
        return taken

    def hand_over(
        self, context: Context, resource_type: ResourceType, stored: StoredResource, owner: str | None
    ) -> StoredResource:
        """Make `owner` the owner of a resource, under a new version, and return it; None is for nobody.

        Its attributes stay. Raises as `StorageAdapter.replace`.
        """

        def give() -> StoredResource:
            given = self._adapter.replace(resource_type, replace(stored, owner=owner), stored.version)
            self._note(context, "hand-over", resource_type, [given], [])
            return given

        return in_transaction(self._adapter, give)

    def _note(
        self,
        context: Context,
        kind: str,
        resource_type: ResourceType,
        resources: Sequence[StoredResource],
        changed: Sequence[str] | None = None,
        members: MemberDelta = NO_DELTA,
    ) -> None:
        """Append a row for each resource; `changed` has the changed paths, None stands for all."""
        if self._notes is None or not self._notes.keeps_history or not resources:
            return
        named, rows = replace(context, txn=new_txn()), self._notes.builder.rows
        entries, values = [], []
        for one in resources:
            paths = present_paths(resource_type, one) if changed is None else changed
            entries.append(rows.row(named, kind, resource_type, one, paths))
            before = None if changed is None else one
            values.append(rows.values(resource_type, before, one, paths, members))
        self._notes.log.append_many(entries, values if rows.has_values else ())
