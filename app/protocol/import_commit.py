"""Writes of an import: many at a time, and no events of them."""

from collections.abc import Sequence
from dataclasses import replace

from app.protocol.attempts import in_transaction
from app.protocol.changes import entry_of, new_txn
from app.protocol.context import Context
from app.protocol.differences import present_paths
from app.protocol.notes import Notes
from schema.resource_type import ResourceType
from storage.adapter import Member, StorageAdapter, StoredResource


class ImportCommit:
    """Carries out the writes of an import; `notes` are None where nobody wants to know of changes.

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
        self, context: Context, resource_type: ResourceType, resource_id: str, members: Sequence[Member]
    ) -> None:
        """Let members join a resource, whose version stays."""

        def join() -> None:
            stored = self._adapter.get(resource_type, resource_id)
            if self._adapter.change_members(resource_type, stored, members, ()):
                self._note(context, "patch", resource_type, [stored])

        in_transaction(self._adapter, join)

    def _note(
        self, context: Context, kind: str, resource_type: ResourceType, resources: Sequence[StoredResource]
    ) -> None:
        if self._notes is None or not self._notes.keeps_history or not resources:
            return
        named = replace(context, txn=new_txn())
        changed = None if kind == "create" or resource_type.members is None else [resource_type.members.name]
        self._notes.log.append_many(
            [
                entry_of(named, kind, resource_type, one, changed or present_paths(resource_type, one))
                for one in resources
            ]
        )
