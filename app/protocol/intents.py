"""What became of writes that nobody answered for: their resources are looked at until it is known.

An intent is kept before a write and replaced by its change after it. It stays when the process dies,
and when the backend did not say whether it made the write. A backend that is a system of its own may
make it later: "not done" is concluded only after the settling time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from app.protocol.attempts import in_transaction
from app.protocol.changes import Note
from app.protocol.context import Context, system
from app.protocol.errors import Refusal
from app.protocol.notes import Notes
from app.protocol.write import MemberDelta, planned
from schema.registry import Registry
from schema.resource_type import AttributePath, ResourceType
from schema.values import comparison_key, format_date_time, parse_date_time
from scim_filter.nodes import BoundComparison
from set_delivery.intents import Intent
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.errors import OutcomeUnknown, ResourceNotFound
from storage.search import search

# How much the clock of a backend may differ from that of this server.
_MAX_SKEW: Final = timedelta(minutes=5)
# A new resource whose id the backend chose is found by these; so many resources of one name are looked at.
_NAMES: Final = ("externalId", "userName", "displayName")
_MOST_OF_A_NAME: Final = 100

Finish = Callable[[StoredResource | None], object]
"""Completes a request; it gets the resource as it is now, None when that is gone."""


@dataclass(frozen=True)
class _Effect:
    """What a look at the backend shows of a write: whether it `took_effect`, and what is noted of it.

    `stored` is the resource as it is now. `is_clear` is False where it cannot be told from another.
    """

    took_effect: bool = False
    note: Note | None = None
    stored: StoredResource | None = None
    is_clear: bool = True


class Intents:
    """Looks at what intents are about, and puts in place of each the change that was made, if any."""

    def __init__(self, registry: Registry, adapter: StorageAdapter, notes: Notes) -> None:
        self._registry = registry
        self._adapter = adapter
        self._notes = notes
        self._builder = notes.builder
        self._table = notes.intents

    def overdue(self) -> list[Intent]:
        """Return intents whose owner is gone or does not know what became of them."""
        return self._table.overdue()

    def settle(self, intent: Intent, finish: Finish | None = None) -> bool | None:
        """Return whether a write has taken effect, None while that is not known.

        When it has, its change is noted, once, and `finish` is done in the same transaction. When it
        certainly has not, the intent goes. Otherwise it is looked at again later. Raises StorageUnavailable.
        """
        effect = self._effect(intent.plan)
        if not effect.took_effect and not (effect.is_clear and self._table.is_settled(intent)):
            self._table.look_again(intent)
            return None
        also = partial(finish, effect.stored) if finish and effect.took_effect else None
        self._notes.settle(intent.seq, effect.note, also)
        return effect.took_effect

    def resume(self, txn: str, finish: Finish) -> bool:
        """Return whether what a request wrote in an earlier attempt has taken effect; then it is finished.

        False says that the request can be carried out again. Raises OutcomeUnknown while it is not
        known, and Refusal if it never will be.
        """
        # Where writers take turns, nobody else is between the look and the end of it.
        with self._adapter.transaction():
            intents = [self._table.take_over(intent) for intent in self._table.of_txn(txn)]
            if not intents:
                return False
            # The first is the request itself; the others are of groups that it takes the resource from.
            main, *others = intents
            for other in others:
                self.settle(other)
            is_done = self.settle(main, finish)
        if is_done is not None:
            return is_done
        if self._table.is_settled(main):
            raise Refusal(504, "the storage did not confirm the change, and what became of it is not known")
        raise OutcomeUnknown(f"the storage did not confirm the change {txn}; it is looked at again")

    # -- looking

    def _effect(self, plan: Any) -> _Effect:
        resource_type = self._registry.resource_type(plan["type"])
        if resource_type is None:
            return _Effect()
        context, (before, members) = _context_of(plan), planned(plan)
        try:
            stored: StoredResource | None = self._adapter.get(resource_type, before.id)
        except ResourceNotFound:
            stored = None
        if plan["kind"] == "create":
            return self._created(context, resource_type, before, stored, members)
        if plan["kind"] == "delete":
            if stored is not None:
                return _Effect(stored=stored)
            deleted = self._builder.deleted(context, resource_type, before, plan["feeds"], members)
            return _Effect(True, deleted)
        if stored is None:
            return _Effect()
        delta = self._delta_now(resource_type, stored, members)
        if stored.version == plan["version"]:
            if not delta:
                return _Effect(stored=stored)
            stored = self._touched(resource_type, stored)
        note = self._builder.changed(context, plan["kind"], resource_type, before, stored, delta)
        return _Effect(True, note, stored)

    def _created(
        self,
        context: Context,
        resource_type: ResourceType,
        resource: StoredResource,
        stored: StoredResource | None,
        members: MemberDelta,
    ) -> _Effect:
        if stored is None and self._adapter.capabilities.assigns_ids:
            found = self._of_that_name(resource_type, resource)
            if found is None or len(found) > 1:
                return _Effect(is_clear=False)
            stored = found[0] if found else None
        if stored is None:
            return _Effect()
        joined = self._delta_now(resource_type, stored, members).joined
        return _Effect(True, self._builder.created(context, resource_type, stored, joined), stored)

    def _of_that_name(
        self, resource_type: ResourceType, resource: StoredResource
    ) -> list[StoredResource] | None:
        """Return the new resources that have the names of `resource`, None if it has none to look for."""
        names: list[tuple[AttributePath, Any]] = []
        for name in _NAMES:
            path, value = resource_type.path(name), resource.document.get(name)
            if path is not None and isinstance(value, str) and value:
                names.append((path, comparison_key(path.leaf, value)))
        # An externalId that need not be unique may be that of another one.
        usable = [n for n in names if n[0].text != "externalId" or n[0].leaf.uniqueness != "none"]
        if not usable:
            return None
        path, key = usable[0]
        node = BoundComparison(path, "eq", resource.document[path.text], key)
        page = search(self._adapter, resource_type, Selection(node, limit=_MOST_OF_A_NAME), _represent)
        earliest = format_date_time(parse_date_time(resource.created) - _MAX_SKEW)
        return [
            one
            for one in page.resources
            # Not every backend says when a resource was created.
            if (not one.created or one.created >= earliest) and _has_names(one, names)
        ]

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
            members.has_displays,
        )

    def _touched(self, resource_type: ResourceType, stored: StoredResource) -> StoredResource:
        """Give a resource the version that its change of members did not live to give it."""
        if self._adapter.capabilities.versions_members:
            return stored

        def touch() -> StoredResource:
            now = self._adapter.get(resource_type, stored.id)
            modified = format_date_time(datetime.now(UTC))
            return self._adapter.replace(resource_type, replace(now, last_modified=modified), now.version)

        return in_transaction(self._adapter, touch)


def _context_of(plan: Mapping[str, Any]) -> Context:
    """Return who made a write; release 0.2.0 and earlier did not keep that."""
    kept = plan.get("context")
    context = replace(Context.from_json(kept), origin=kept["origin"]) if kept else system()
    return replace(context, txn=plan["txn"])


def _has_names(stored: StoredResource, names: list[tuple[AttributePath, Any]]) -> bool:
    """Return whether a resource has all of the names, as far as the backend keeps them."""
    for path, key in names:
        value = stored.document.get(path.text)
        if isinstance(value, str) and comparison_key(path.leaf, value) != key:
            return False
    return True


def _represent(stored: StoredResource, links: bool) -> Any:
    return stored.document
