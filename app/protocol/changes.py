"""What a write has changed, as the events that say so (RFC 9967 section 2.4)."""

import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import orjson

from app.protocol.differences import changed_paths, exact_paths, operations, present_paths
from app.protocol.representation import Representation, quoted
from app.protocol.write import MemberDelta, Write
from schema import urns
from schema.projection import Projection
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.events import (
    ACTIVATE,
    CREATE,
    DEACTIVATE,
    DELETE,
    PATCH,
    PUT,
    Change,
    Event,
    Membership,
    Subject,
)
from set_delivery.streams import Publishing
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import ResourceNotFound

# A group with more members, or members changed, goes out as a notice: a SET of many megabytes is
# refused by any receiver.
_MOST_MEMBERS: Final = 1000
# Of so many members that join or leave at once, each is looked up for its externalId.
_MOST_LOOKED_UP: Final = 100
_KINDS: Final = {"create": CREATE, "put": PUT, "patch": PATCH, "delete": DELETE}


class ChangeBuilder:
    """Makes changes of what writes have done."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        representation: Representation,
        publishing: Publishing,
    ) -> None:
        self._registry = registry
        self._adapter = adapter
        self._representation = representation
        self._publishing = publishing

    def of(
        self, write: Write, stored: StoredResource | None, delta: MemberDelta, txn: str
    ) -> Change | None:
        """Return the change that a write was, if anybody cares; `stored` is what is kept now."""
        resource_type, before, after = write.resource_type, write.before, write.after
        if stored is None or after is None:
            assert before is not None
            return self.deleted(resource_type, before, write.feeds, txn)
        # Not every backend gives back secrets that it was given.
        seen = replace(stored, secrets=after.secrets, removed_secrets=after.removed_secrets)
        if before is None:
            return self.created(resource_type, seen, delta.joined, txn)
        if write.is_cascade:
            return self.left(resource_type, before, stored, delta, txn)
        seen = seen if stored.version != before.version else before
        return self.changed(write.kind, resource_type, before, seen, delta, txn)

    def created(
        self, resource_type: ResourceType, stored: StoredResource, members: Sequence[Member], txn: str
    ) -> Change:
        """Return the change that created a resource."""
        names = ["id", *present_paths(resource_type, stored)]
        if members and resource_type.members is not None:
            names.append(resource_type.members.name)
        data = self._whole(resource_type, stored) if self._publishing.needs_data else None
        event = Event(CREATE, self.subject(resource_type, stored), _tag(stored), names, data)
        return self._change(resource_type, stored, [event], MemberDelta(members), txn)

    def changed(
        self,
        kind: str,
        resource_type: ResourceType,
        before: StoredResource,
        after: StoredResource,
        members: MemberDelta,
        txn: str,
    ) -> Change | None:
        """Return the change that a PUT or PATCH (`kind` is "put" or "patch") was, if anybody cares."""
        paths = changed_paths(resource_type, before, after)
        # Where no attribute differs, what is displayed of a member does.
        if resource_type.members is not None and (members or not paths and before.version != after.version):
            paths.append(resource_type.members.name)
        if not set(paths) - self._publishing.ignored_attributes:
            return None
        data = None
        if kind == "patch":
            paths = exact_paths(resource_type, before, after, paths)
        if self._publishing.needs_data and kind == "put":
            data = self._whole(resource_type, after)
        elif self._publishing.needs_data:
            data = self._operations(resource_type, after, paths, members)
        subject = self.subject(resource_type, after)
        events = [Event(_KINDS[kind], subject, _tag(after), paths, data)]
        active = _activation(before.document.get("active"), after.document.get("active"))
        if active is not None:
            events.append(Event(active, subject))
        return self._change(resource_type, after, events, members, txn)

    def left(
        self,
        resource_type: ResourceType,
        before: StoredResource,
        after: StoredResource,
        members: MemberDelta,
        txn: str,
    ) -> Change | None:
        """Return the change of a resource whose members have left it because they were removed.

        They do not leave its feed as well (RFC 9967 section 2.4.4).
        """
        change = self.changed("patch", resource_type, before, after, members, txn)
        return replace(change, feed=None, memberships=()) if change is not None else None

    def deleted(
        self, resource_type: ResourceType, before: StoredResource, feeds: Sequence[str], txn: str
    ) -> Change:
        """Return the change that removed a resource, which was in the feeds of these groups."""
        return Change(txn, [Event(DELETE, self.subject(resource_type, before))], feeds)

    def feeds(self, resource_type: ResourceType, stored: StoredResource) -> list[str]:
        """Return the ids of the groups whose feeds an event about a resource belongs to."""
        if not self._publishing.groups_are_feeds:
            return []
        if resource_type.members is not None:
            return [stored.id]
        memberships = self.with_memberships(resource_type, stored).memberships or ()
        return [membership.resource_id for membership in memberships if membership.direct]

    def with_memberships(
        self, resource_type: ResourceType, stored: StoredResource
    ) -> StoredResource:
        """Return a resource with its memberships where its events need them: then nobody reads them again."""
        needed = self._publishing.groups_are_feeds and resource_type.members is None
        if not needed or resource_type.memberships is None:
            return stored
        if stored.joined is False or stored.memberships is not None:
            return stored
        found = self._adapter.memberships(resource_type, [stored]).get(stored.id, ())
        return replace(stored, memberships=found)

    def subject(self, resource_type: ResourceType, stored: StoredResource) -> Subject:
        """Return how an event names a resource."""
        external_id = stored.document.get("externalId")
        return Subject(uri_of(resource_type, stored.id), stored.id, external_id or None)

    def _change(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        events: Sequence[Event],
        members: MemberDelta,
        txn: str,
    ) -> Change:
        feed: str | None = None
        memberships: tuple[Membership, ...] = ()
        if members and self._publishing.groups_are_feeds and self._publishing.membership_events:
            feed, memberships = stored.id, tuple(self._memberships(members))
        return Change(txn, events, self.feeds(resource_type, stored), feed, memberships)

    def _memberships(self, members: MemberDelta) -> Iterable[Membership]:
        are_few = len(members.joined) + len(members.left) <= _MOST_LOOKED_UP
        for joined, group in ((False, members.left), (True, members.joined)):
            for member in group:
                resource_type = self._registry.resource_type(member.resource_type)
                if resource_type is not None:
                    subject = Subject(uri_of(resource_type, member.resource_id), member.resource_id)
                    if are_few:
                        with suppress(ResourceNotFound):
                            stored = self._adapter.get(resource_type, member.resource_id)
                            subject = self.subject(resource_type, stored)
                    yield Membership(subject, joined)

    def _whole(self, resource_type: ResourceType, stored: StoredResource) -> dict[str, Any] | None:
        """Return a resource as a response would carry it, or None if it is too large."""
        document = self._representation.document(resource_type, stored, links=False)
        attribute = resource_type.members
        if attribute is not None:
            members = list(self._adapter.members(resource_type, stored, _MOST_MEMBERS + 1))
            if len(members) > _MOST_MEMBERS:
                return None
            if members:
                document[attribute.name] = [self._representation.member(member) for member in members]
        return Projection(resource_type).apply(document)

    def _operations(
        self,
        resource_type: ResourceType,
        after: StoredResource,
        paths: Sequence[str],
        members: MemberDelta,
    ) -> dict[str, Any] | None:
        """Return a PatchOp that does the same, or None if it is too large or there is none."""
        if len(members.joined) + len(members.left) > _MOST_MEMBERS:
            return None
        attribute = resource_type.members
        if attribute is not None and attribute.name in paths and not members:
            # What is displayed of members is changed by no operation.
            return None
        made = operations(resource_type, after, paths)
        if members and attribute is not None:
            made += self._member_operations(attribute.name, members)
        return {"schemas": [urns.PATCH_OP], "Operations": made} if made else None

    def _member_operations(self, name: str, members: MemberDelta) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [
            {"op": "remove", "path": f"{name}[value eq {orjson.dumps(member.resource_id).decode()}]"}
            for member in members.left
        ]
        if members.joined:
            shown = [self._representation.member(member) for member in members.joined]
            made.append({"op": "add", "path": name, "value": shown})
        return made


def new_txn() -> str:
    """Return the name of a transaction that nobody has named yet."""
    return uuid.uuid4().hex


def _activation(before: Any, after: Any) -> str | None:
    """Return the event that a change of `active` makes; to leave it out is to say nothing of it."""
    if after is True and before is not True:
        return ACTIVATE
    if after is False and before is not False:
        return DEACTIVATE
    return None


def uri_of(resource_type: ResourceType, resource_id: str) -> str:
    return f"{resource_type.endpoint}/{quoted(resource_id)}"


def _tag(stored: StoredResource) -> str:
    return f'W/"{stored.version}"'
