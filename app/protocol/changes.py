"""What a write has changed: its row of the change log, and the events that say so (RFC 9967 section 2.4)."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from app.protocol.change_rows import ChangeRows
from app.protocol.context import Context
from app.protocol.differences import changed_paths, exact_paths, operations, present_paths
from app.protocol.identifiers import ordered_uuid
from app.protocol.representation import Representation, quoted
from app.protocol.write import NO_DELTA, MemberDelta, Write
from schema import urns
from schema.projection import Projection
from schema.registry import Registry
from schema.resource_type import ResourceType
from set_delivery.change_log import ChangeEntry, Values
from set_delivery.events import (
    ACTIVATE,
    CREATE,
    DEACTIVATE,
    DELETE,
    PATCH,
    PUT,
    ChangeEvents,
    Event,
    FeedMembership,
    Subject,
)
from set_delivery.streams import Publishing
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import ResourceNotFound

# With more members, or changed members, the event is a notice: receivers refuse SETs of many megabytes.
_MOST_MEMBERS: Final = 1000
# Of so many members that join or leave at once, each is looked up for its externalId.
_MOST_LOOKED_UP: Final = 100
_KINDS: Final = {"create": CREATE, "put": PUT, "patch": PATCH, "delete": DELETE}


@dataclass(frozen=True, slots=True, repr=False)
class Note:
    """What one write did: its row of the change log, and its events, None where nobody receives any.

    `values` are the changed attributes before and after it, None where they are not logged.
    """

    entry: ChangeEntry
    events: ChangeEvents | None
    values: Values | None = None


class ChangeBuilder:
    """Makes notes of what writes have done."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        representation: Representation,
        publishing: Publishing,
        rows: ChangeRows | None = None,
    ) -> None:
        self.rows = rows or ChangeRows()
        self._registry = registry
        self._adapter = adapter
        self._representation = representation
        self._publishing = publishing

    def of(
        self,
        context: Context,
        write: Write,
        stored: StoredResource | None,
        members_changed: bool,
    ) -> Note | None:
        """Return the note of a write, None if it changed nothing; `stored` is what is kept now.

        The delta of the write may be empty where nobody receives events, although `members_changed`.
        """
        resource_type, before, after = write.resource_type, write.before, write.after
        if stored is None or after is None:
            assert before is not None
            return self.deleted(context, resource_type, before, write.feeds, write.delta)
        seen = stored
        if after.secrets != stored.secrets or after.removed_secrets:
            # Not every backend gives back secrets that it was given.
            seen = replace(stored, secrets=after.secrets, removed_secrets=after.removed_secrets)
        if before is None:
            return self.created(context, resource_type, seen, write.joining)
        seen = seen if stored.version != before.version else before
        context = context.reaching(before.owner) if write.is_cascade else context
        note = self.changed(
            context, write.kind, resource_type, before, seen, write.delta, members_changed=members_changed
        )
        if write.is_cascade and note is not None and note.events is not None:
            # A removed member does not leave the feed of the group as well (RFC 9967 section 2.4.4).
            return replace(note, events=replace(note.events, feed=None, memberships=()))
        return note

    def created(
        self,
        context: Context,
        resource_type: ResourceType,
        stored: StoredResource,
        members: Sequence[Member],
    ) -> Note:
        """Return the note of a resource that was created."""
        names = present_paths(resource_type, stored)
        if members and resource_type.members is not None:
            names.append(resource_type.members.name)
        entry = self.rows.row(context, "create", resource_type, stored, names)
        joined = MemberDelta(members)
        values = self.rows.values(resource_type, None, stored, members=joined)
        if not self._publishing.is_on:
            return Note(entry, None, values)
        data = self._whole(resource_type, stored) if self._publishing.needs_data else None
        event = Event(CREATE, subject_of(resource_type, stored), entry.version, ["id", *names], data)
        return Note(entry, self._change(resource_type, stored, [event], joined, context.txn), values)

    def changed(
        self,
        context: Context,
        kind: str,
        resource_type: ResourceType,
        before: StoredResource,
        after: StoredResource,
        members: MemberDelta,
        members_changed: bool = False,
    ) -> Note | None:
        """Return the note of a PUT or PATCH (`kind` is "put" or "patch"), None if it changed nothing."""
        paths = changed_paths(resource_type, before, after)
        is_new = before.version != after.version
        # Where no attribute differs, what is displayed of a member does.
        if resource_type.members is not None and (members or members_changed or not paths and is_new):
            paths.append(resource_type.members.name)
        if not paths and not is_new:
            return None
        entry = self.rows.row(context, kind, resource_type, after, paths)
        values = self.rows.values(resource_type, before, after, paths, members)
        if not self._publishing.is_on or not set(paths) - self._publishing.ignored_attributes:
            return Note(entry, None, values)
        data = None
        if kind == "patch":
            paths = exact_paths(resource_type, before, after, paths)
        if self._publishing.needs_data and kind == "put":
            data = self._whole(resource_type, after)
        elif self._publishing.needs_data:
            data = self._operations(resource_type, after, paths, members)
        subject = subject_of(resource_type, after)
        events = [Event(_KINDS[kind], subject, entry.version, paths, data)]
        active = _activation(before.document.get("active"), after.document.get("active"))
        if active is not None:
            events.append(Event(active, subject))
        return Note(entry, self._change(resource_type, after, events, members, context.txn), values)

    def deleted(
        self,
        context: Context,
        resource_type: ResourceType,
        before: StoredResource,
        feeds: Sequence[str],
        members: MemberDelta = NO_DELTA,
    ) -> Note:
        """Return the note of a resource that was removed, and was in the feeds of these groups.

        `members` are those that it had, where values are logged.
        """
        entry = self.rows.row(context, "delete", resource_type, before, ())
        values = self.rows.values(resource_type, before, None, members=members)
        if not self._publishing.is_on:
            return Note(entry, None, values)
        event = Event(DELETE, subject_of(resource_type, before))
        return Note(entry, ChangeEvents(context.txn, [event], feeds), values)

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

    def _change(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        events: Sequence[Event],
        members: MemberDelta,
        txn: str,
    ) -> ChangeEvents:
        feed: str | None = None
        memberships: tuple[FeedMembership, ...] = ()
        if members and self._publishing.groups_are_feeds and self._publishing.membership_events:
            feed, memberships = stored.id, tuple(self._memberships(members))
        return ChangeEvents(txn, events, self.feeds(resource_type, stored), feed, memberships)

    def _memberships(self, members: MemberDelta) -> Iterable[FeedMembership]:
        are_few = len(members.joined) + len(members.left) <= _MOST_LOOKED_UP
        for joined, group in ((False, members.left), (True, members.joined)):
            for member in group:
                resource_type = self._registry.resource_type(member.resource_type)
                if resource_type is not None:
                    subject = Subject(uri_of(resource_type, member.resource_id), member.resource_id)
                    if are_few:
                        with suppress(ResourceNotFound):
                            stored = self._adapter.get(resource_type, member.resource_id)
                            subject = subject_of(resource_type, stored)
                    yield FeedMembership(subject, joined)

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
        if attribute is not None and attribute.name in paths and (members.has_displays or not members):
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


def subject_of(resource_type: ResourceType, stored: StoredResource) -> Subject:
    """Return how an event names a resource."""
    return Subject(uri_of(resource_type, stored.id), stored.id, external_id_of(stored))


def external_id_of(stored: StoredResource) -> str | None:
    """Return the externalId of a resource, None if it has none."""
    return stored.document.get("externalId") or None


def new_txn() -> str:
    """Return the name of a transaction that nobody has named yet."""
    return ordered_uuid().hex


def _activation(before: Any, after: Any) -> str | None:
    """Return the event that a change of `active` makes; to leave it out is to say nothing of it."""
    if after is True and before is not True:
        return ACTIVATE
    if after is False and before is not False:
        return DEACTIVATE
    return None


def uri_of(resource_type: ResourceType, resource_id: str) -> str:
    return f"{resource_type.endpoint}/{quoted(resource_id)}"
