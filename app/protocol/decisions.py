"""From what a client sends, and what there is, to the write that makes it so; nothing is written here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import orjson

from app.protocol.context import Context
from app.protocol.mapping import AttributeMapping
from app.protocol.member_elements import MemberElements
from app.protocol.mutability import keep_immutables
from app.protocol.patch import (
    PatchPlan,
    PatchRules,
    RequestedMembers,
    apply_patch,
    plan_patch,
    read_operations,
)
from app.protocol.profiles import profile_of
from app.protocol.references import Named, NamedMember, changes_displays, take_members
from app.protocol.secrets import PlainSecrets, Secrets, may_hold_secrets, take_secrets
from app.protocol.view import View
from app.protocol.write import NO_DELTA, Kind, MemberDelta, NewResource, NewState, Write
from schema.registry import Registry
from schema.resource_type import ResourceType
from schema.validation import compile_validator
from schema.values import format_date_time
from storage.adapter import Capabilities, Key, Member, Membership, StoredResource
from storage.errors import Contention


class Decisions:
    """Computes writes; what they depend on is read through the view of the one who asks.

    `needs_delta` says that somebody wants to know which members really join and leave.
    """

    def __init__(
        self,
        registry: Registry,
        capabilities: Capabilities,
        mappings: Mapping[str, Mapping[str, str]],
        clock: Callable[[], datetime],
        secrets: PlainSecrets | Secrets,
        needs_delta: bool,
    ) -> None:
        self._registry = registry
        self._capabilities = capabilities
        self._clock = clock
        self._needs_delta = needs_delta
        self._hashing_takes_long = secrets.takes_long
        self.hashed = secrets.hashed
        types = registry.resource_types
        self._mappings = {r.name: AttributeMapping(r, mappings.get(r.name, {})) for r in types}
        self._copies_secrets = {
            r.name for r in types if self._mappings[r.name].targets & {p.text for p in r.secret_paths}
        }
        self._validator = cache(lambda name, r: compile_validator(r, profile_of(name).resources))
        self._rules = cache(lambda name, r: PatchRules(r, profile_of(name)))

    # -- what the request alone tells

    def validated(
        self, context: Context, resource_type: ResourceType, body: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Named]:
        """Return the canonical resource in a body, and its members. Raises what is wrong with it."""
        resource = self._validator(context.profile, resource_type)(body)
        self._mappings[resource_type.name].apply(resource)
        return resource, take_members(resource_type, resource)

    def planned(self, context: Context, resource_type: ResourceType, body: Mapping[str, Any]) -> PatchPlan:
        """Return what a PatchOp message asks for.

        Raises InvalidSyntax, InvalidFilter, InvalidPath and InvalidValue.
        """
        operations = read_operations(body, profile_of(context.profile))
        return plan_patch(self._rules(context.profile, resource_type), operations)

    def new(
        self,
        context: Context,
        resource_type: ResourceType,
        body: Mapping[str, Any],
        resource_id: str | None = None,
    ) -> NewResource:
        """Return the new resource in a body; `resource_id` is for one that has an id already.

        Raises InvalidValue and InvalidSyntax.
        """
        resource, members = self.validated(context, resource_type, body)
        secrets = self.hashed(take_secrets(resource_type, resource), {})
        now = format_date_time(self._clock())
        mapped = self._mappings[resource_type.name].new_id(resource)
        new_id, owner = resource_id or mapped or context.new_id(), context.principal.owner
        stored = StoredResource(
            new_id, _text(new_id, resource), created=now, last_modified=now, secrets=secrets, owner=owner
        )
        return NewResource(stored, members)

    def makes_ids(self, resource_type: ResourceType, resource: StoredResource) -> bool:
        """Return whether a mapping makes the id of a new resource."""
        return self._mappings[resource_type.name].new_id(resource.document) is not None

    def takes_long(self, resource_type: ResourceType, body: Any) -> bool:
        """Return whether keeping `body` may take hashing, which must not hold up other writers."""
        if not self._hashing_takes_long:
            return False
        return resource_type.name in self._copies_secrets or may_hold_secrets(resource_type, body)

    # -- what it makes of what there is

    def created(self, view: View, resource_type: ResourceType, new: NewResource) -> Write:
        """Return the write of a new resource. Raises InvalidValue for members that do not exist."""
        named, attribute = new.members, resource_type.members
        joining = view.references.members(attribute, named) if attribute and named else []
        delta = MemberDelta(joining) if joining else NO_DELTA
        return Write("create", resource_type, None, new.resource, joining=joining, delta=delta)

    def put(
        self, resource_type: ResourceType, before: StoredResource, body: Mapping[str, Any], members: Named
    ) -> NewState:
        """Return the new state under a PUT of a validated `body`. Raises Mutability.

        A body without members removes them all.
        """
        resource = dict(body)
        keep_immutables(resource_type, before.document, resource)
        changes = RequestedMembers(lambda: ())
        changes.clear()
        changes.add(members)
        return NewState(resource, changes, {}, before.secrets)

    def patched(
        self, view: View, resource_type: ResourceType, before: StoredResource, plan: PatchPlan
    ) -> NewState:
        """Return the new state under a PATCH. Raises as `apply_patch`."""
        elements = MemberElements(view, resource_type, before)
        members = RequestedMembers(elements.present, elements.joining, view.representation.located)
        patched = apply_patch(plan, before.document, members)
        resource = {name: value for name, value in patched.resource.items() if name != "id"}
        self._mappings[resource_type.name].apply(resource)
        known = {k: v for k, v in before.secrets.items() if k not in patched.removed_secrets}
        plain = take_secrets(resource_type, resource)
        return NewState(resource, members, plain, known, patched.removed_secrets)

    def changed(
        self,
        kind: Kind,
        view: View,
        resource_type: ResourceType,
        before: StoredResource,
        state: NewState,
        hashes: Mapping[str, str],
    ) -> Write:
        """Return the write that puts `state` in place of `before`; `hashes` are those of its secrets.

        Secrets that are not among the new ones stay: a client that sends a resource back cannot
        know the password. Raises InvalidValue for members that do not exist.
        """
        joining, leaving, delta = self._member_changes(view, resource_type, before, state.members)
        secrets = {**state.known, **hashes}
        removed = state.removed - hashes.keys() if self._capabilities.takes_secrets else frozenset()
        is_same = {**state.resource, "id": before.id} == before.document and secrets == before.secrets
        after = StoredResource(
            before.id,
            before.text if is_same else _text(before.id, state.resource),
            created=before.created,
            last_modified=format_date_time(self._clock()),
            secrets=secrets,
            place=before.place,
            removed_secrets=removed,
            source=before.source,
            owner=before.owner,
        )
        return Write(kind, resource_type, before, after, is_same and not removed, joining, leaving, delta)

    def deleted(
        self,
        view: View,
        resource_type: ResourceType,
        before: StoredResource,
        memberships: Sequence[Membership],
    ) -> Write:
        """Return the write that removes a resource, and removes it from all that have it as a member.

        `memberships` are the direct ones. `view` sees everything: what is removed leaves groups that its
        remover may not see, too.
        """
        # A group that is a member of itself goes as a whole.
        itself = resource_type.name, before.id
        direct = [m for m in memberships if (m.resource_type, m.resource_id) != itself]
        # The feed of a group goes with it, and says so.
        own = [before.id] if resource_type.members is not None else []
        member = Member(before.id, resource_type.name)
        left = [self._left(view, m.resource_type, m.resource_id, member) for m in direct]
        # A group of another program loses the member by the removal alone.
        first = [write for write in left if write.before is not None and not write.before.read_only]
        feeds = [*(m.resource_id for m in direct), *own]
        return Write("delete", resource_type, before, None, feeds=feeds, first=first)

    def _left(self, view: View, type_name: str, group_id: str, member: Member) -> Write:
        """Return the write of a group that a member leaves because it is about to be removed."""
        group_type = self._registry.resource_type(type_name)
        assert group_type is not None
        group = view.storage.get(group_type, group_id)
        return Write(
            "patch",
            group_type,
            group,
            replace(group, last_modified=format_date_time(self._clock())),
            is_same=True,
            leaving=[member],
            delta=MemberDelta((), [member]),
            is_cascade=True,
        )

    def _member_changes(
        self, view: View, resource_type: ResourceType, before: StoredResource, changes: RequestedMembers
    ) -> tuple[list[Member], list[Member], MemberDelta]:
        """Return who joins, who leaves, if they are members, and, if anybody cares, whom that concerns."""
        if resource_type.members is None:
            return [], [], NO_DELTA
        storage, had = view.storage, list[Member]()
        joining: Named = changes.added
        if changes.cleared:
            had = list(storage.members(resource_type, before))
            staying, joining = _staying(view, resource_type, had, joining)
            leaving = [member for member in had if member.key not in staying]
        else:
            types = self._registry.resource_types
            both = ((i, one.name) for i in changes.removed for one in types)
            named = [Member(i, name) for i, name in both if changes.leaves(i, name)]
            leaving = view.seen_among(resource_type, before, named)
        if not joining and not leaving:
            return [], [], NO_DELTA
        ids, along = [*joining, *changes.removed], before.read_along
        if along is not None and not along.ids.issuperset(ids):
            along = None
        members = view.references.members(resource_type.members, joining, along) if joining else []
        replaced = changes.replaced
        if not self._needs_delta and not replaced:
            return members, leaving, NO_DELTA
        coming = {member.key for member in members}
        if not changes.cleared:
            had = list(along.members if along else storage.among_members(resource_type, before, ids))
            others = (one for one in had if one.resource_id in replaced and one.key not in coming)
            leaving += [one for one in others if changes.leaves(one.resource_id, one.resource_type)]
        known = {member.key for member in had}
        gone = {member.key for member in leaving} - coming
        joined = [member for member in members if member.key not in known]
        left = [member for member in had if member.key in gone]
        return members, leaving, MemberDelta(joined, left, changes_displays(joining, members, had))


class HashedAhead:
    """The secrets of a PATCH, hashed before its transaction."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._plain: Mapping[str, str] = {}
        self._hashes: Mapping[str, str] = {}

    def hash(self, state: NewState) -> None:
        """Hash the secrets of a state."""
        self._plain = state.secrets
        self._hashes = self._decisions.hashed(state.secrets, state.known)

    def of(self, state: NewState) -> Mapping[str, str]:
        """Return the hashes of the secrets of a state. Raises Contention if they are no longer these."""
        if state.secrets != self._plain:
            raise Contention("another request changed the password at the same time")
        return self._hashes


def _staying(
    view: View, resource_type: ResourceType, had: Sequence[Member], named: Named
) -> tuple[set[Key], Named]:
    """Return which members stay as they are, of their type and shown so, and who is named beside them."""
    assert resource_type.members is not None
    staying: set[Key] = set()
    joining: dict[str, list[NamedMember]] = {}
    for member_id, one, member in view.references.among(resource_type.members, named, had):
        if member is not None and one.display in (None, member.display):
            staying.add(member.key)
        else:
            known = one if member is None else replace(one, type=member.resource_type)
            joining.setdefault(member_id, []).append(known)
    return staying, joining


def _text(resource_id: str, resource: Mapping[str, Any]) -> str:
    """Return the JSON to keep: `schemas` and `id` first, for people who read it."""
    return orjson.dumps({"schemas": resource["schemas"], "id": resource_id, **resource}).decode()
