"""Finding out what became of writes whose process did not live to say."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.protocol.changes import ChangeBuilder
from app.protocol.write import MemberDelta, planned
from schema.registry import Registry
from schema.resource_type import ResourceType
from schema.values import comparison_key, format_date_time, parse_date_time
from scim_filter.nodes import BoundComparison
from set_delivery.events import Change
from set_delivery.outbox import Intent
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.errors import ResourceNotFound
from storage.search import search

# Clocks of the server and of a backend that dates resources itself may differ by this much.
_MAX_SKEW: Final = timedelta(minutes=5)


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
        among = {member.key for member in self._adapter.among_members(resource_type, stored, ids)}
        return MemberDelta(
            [member for member in members.joined if member.key in among],
            [member for member in members.left if member.key not in among],
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
