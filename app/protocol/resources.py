"""The operations on resources (RFC 7644 section 3): every caller, REST or other, comes through here."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import orjson

from app.protocol.attempts import in_transaction
from app.protocol.changes import NO_DELTA, MemberDelta, new_txn, plan
from app.protocol.mapping import AttributeMapping
from app.protocol.mutability import keep_immutables
from app.protocol.patch import (
    IgnoredPaths,
    MemberChanges,
    PatchPlan,
    apply_patch,
    plan_patch,
    read_operations,
)
from app.protocol.preconditions import require_match, require_none_match
from app.protocol.recording import NoRecorder
from app.protocol.references import Named, References, take_members
from app.protocol.representation import Representation
from app.protocol.secrets import PlainSecrets, Secrets, may_hold_secrets, take_secrets
from app.protocol.tolerance import PROFILES
from schema.registry import Registry
from schema.resource_type import ResourceType
from schema.validation import compile_validator
from schema.values import format_date_time
from storage.adapter import Member, StorageAdapter, StoredResource
from storage.errors import Contention, StorageError


@dataclass(frozen=True)
class Conditions:
    """The versions in the conditional headers of a request (RFC 7644 section 3.14), None where absent."""

    if_match: Sequence[str] | None = None
    if_none_match: Sequence[str] | None = None

    def check(self, version: str) -> None:
        """Raise PreconditionFailed unless a change of `version` is wanted."""
        require_match(self.if_match, version)
        require_none_match(self.if_none_match, version)


NO_CONDITIONS: Final = Conditions()

Also = Callable[[StoredResource | None], object] | None
"""What is done in the transaction of a change; it is told the resource, None when that was removed."""


@dataclass(frozen=True)
class NewResource:
    """A resource that is not kept yet, and its members by id."""

    resource: StoredResource
    members: Named


@dataclass
class _Attempts:
    """The attempts at one PUT or PATCH (`kind`), and what they have done for good.

    Without transactions, members change apart from the resource, and stay changed.
    """

    kind: str
    txn: str
    also: Also = None
    members_changed: bool = False
    members: MemberDelta = NO_DELTA
    removed_secrets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Patched:
    """What a PATCH makes of a resource: its secrets stand beside it, plain as they came."""

    resource: dict[str, Any]
    members: MemberChanges
    plain: dict[str, str]
    known: dict[str, str]
    removed: frozenset[str]


class ResourceOperations:
    """Create, get, replace, patch and delete resources of every type."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        representation: Representation,
        *,
        mappings: Mapping[str, Mapping[str, str]] | None = None,
        secrets: Secrets | PlainSecrets | None = None,
        recorder: NoRecorder | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.registry = registry
        self.representation = representation
        self.references = References(registry, adapter, representation.prefix)
        self._adapter = adapter
        self._secrets = secrets or (PlainSecrets() if adapter.capabilities.takes_secrets else Secrets())
        self._recorder = recorder or NoRecorder()
        self._clock = clock
        self.ignored_paths = IgnoredPaths()
        self._mappings = {
            r.name: AttributeMapping(r, (mappings or {}).get(r.name, {})) for r in registry.resource_types
        }
        self._validators = {
            (name, resource_type.name): compile_validator(resource_type, profile.resources)
            for name, profile in PROFILES.items()
            for resource_type in registry.resource_types
        }

    def check(self, resource_type: ResourceType, body: Mapping[str, Any], profile: str) -> None:
        """Raise what is wrong with the body of a POST or PUT, whatever is stored."""
        take_members(resource_type, self._validated(resource_type, body, profile))

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        """Return a resource. Raises ResourceNotFound."""
        return self._adapter.get(resource_type, resource_id)

    def create(
        self,
        resource_type: ResourceType,
        body: Mapping[str, Any],
        profile: str = "default",
        txn: str | None = None,
        also: Also = None,
        spare_id: str | None = None,
    ) -> StoredResource:
        """Keep a new resource (RFC 7644 section 3.3) and return it.

        `txn` names the transaction in its events; `also` is done in it, as for all that change
        something. `resource_id` is used as the id, unless the backend chooses ids.

        Raises InvalidValue, InvalidSyntax or UniquenessConflict, and has then changed nothing.
        """
        new = self.new(resource_type, body, profile, spare_id=spare_id)
        name = txn or new_txn()

        def told(created: StoredResource) -> StoredResource:
            # Not every backend gives back secrets that it was given.
            return replace(created, secrets=new.resource.secrets)

        def change() -> StoredResource:
            joining = self._existing(resource_type, new.members)
            delta = MemberDelta(joining)
            intent = partial(plan, "create", resource_type, None, new.resource, delta, (), name)
            with self._recorder.write(intent) as done:
                created = self._adapter.create(resource_type, new.resource)
                if joining:
                    created = self._joined(resource_type, created, joining)
                done(
                    lambda builder: builder.created(resource_type, told(created), joining, name),
                    partial(also, created) if also else None,
                )
            return created

        return in_transaction(self._adapter, change)

    def _joined(
        self, resource_type: ResourceType, created: StoredResource, joining: Sequence[Member]
    ) -> StoredResource:
        """Return a resource that was just created with its first members."""
        capabilities = self._adapter.capabilities
        try:
            self._adapter.change_members(resource_type, created.id, joining, ())
        except StorageError:
            if not capabilities.transactions:
                # Nothing is half created, as far as that can be helped.
                with suppress(StorageError):
                    self._adapter.delete(resource_type, created.id)
            raise
        return self._adapter.get(resource_type, created.id) if capabilities.versions_members else created

    def new(
        self,
        resource_type: ResourceType,
        body: Mapping[str, Any],
        profile: str = "default",
        resource_id: str | None = None,
        spare_id: str | None = None,
    ) -> NewResource:
        """Return what `create` would keep, without keeping it; `resource_id` is for one that has an id.

        Raises InvalidValue and InvalidSyntax.
        """
        resource = self._validated(resource_type, body, profile)
        members = take_members(resource_type, resource)
        secrets = self._secrets.hashed(take_secrets(resource_type, resource), {})
        now = format_date_time(self._clock())
        mapped = self._mappings[resource_type.name].new_id(resource)
        new_id = resource_id or mapped or spare_id or str(uuid.uuid4())
        stored = StoredResource(
            new_id, _text(new_id, resource), created=now, last_modified=now, secrets=secrets
        )
        return NewResource(stored, members)

    def makes_ids(self, resource_type: ResourceType, resource: StoredResource) -> bool:
        """Return whether a mapping makes the id of a new resource."""
        return self._mappings[resource_type.name].new_id(resource.document) is not None

    def replace(
        self,
        resource_type: ResourceType,
        resource_id: str,
        body: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
        profile: str = "default",
        txn: str | None = None,
        also: Also = None,
    ) -> StoredResource:
        """Put `body` in place of a resource (RFC 7644 section 3.5.1) and return what is kept.

        A body that changes nothing makes no new version. Raises as `create` does, and
        ResourceNotFound, PreconditionFailed and Mutability.
        """
        resource = self._validated(resource_type, body, profile)
        members = take_members(resource_type, resource)
        plain = take_secrets(resource_type, resource)
        # Hashing is slow on purpose: it must not hold up other writers.
        secrets = self._secrets.hashed(plain, self.get(resource_type, resource_id).secrets) if plain else {}
        attempts = _Attempts("put", txn or new_txn(), also)

        def change() -> StoredResource:
            before = self._adapter.get(resource_type, resource_id)
            conditions.check(before.version)
            return self._put(resource_type, before, dict(resource), members, secrets, attempts)

        return in_transaction(self._adapter, change)

    def patch(
        self,
        resource_type: ResourceType,
        resource_id: str,
        body: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
        profile: str = "default",
        txn: str | None = None,
        also: Also = None,
    ) -> StoredResource:
        """Change parts of a resource (RFC 7644 section 3.5.2) and return what is kept.

        All operations take effect or none. A PATCH that changes nothing makes no new version.
        Raises as `replace` does, and InvalidPath and NoTarget.
        """
        granted = PROFILES[profile]
        # Nothing that depends on the request alone is done while other writers wait.
        planned = plan_patch(resource_type, read_operations(body, granted), granted)

        attempts = _Attempts("patch", txn or new_txn(), also)
        ahead: dict[str, str] = {}
        hashed: dict[str, str] = {}

        def patched() -> tuple[StoredResource, _Patched]:
            before = self._adapter.get(resource_type, resource_id)
            conditions.check(before.version)
            return before, self._patched(resource_type, before, planned)

        def hash_ahead() -> None:
            nonlocal ahead, hashed
            found = patched()[1]
            ahead, hashed = found.plain, self._secrets.hashed(found.plain, found.known)

        def change() -> StoredResource:
            before, found = patched()
            if found.plain != ahead and self._secrets.takes_long:
                raise Contention("another request changed the password at the same time")
            secrets = hashed if found.plain == ahead else self._secrets.hashed(found.plain, found.known)
            attempts.removed_secrets = self._removable(found.removed - secrets.keys())
            kept = {**found.known, **secrets}
            return self._keep(resource_type, before, found.resource, kept, found.members, attempts)

        slow = self.takes_long(resource_type, body)
        stored = in_transaction(self._adapter, change, hash_ahead if slow else None)
        self.ignored_paths.note(resource_type.name, planned.ignored)
        return stored

    def takes_long(self, resource_type: ResourceType, body: Any) -> bool:
        """Return whether keeping `body` may take hashing, which must not hold up other writers."""
        if not self._secrets.takes_long:
            return False
        copied = self._mappings[resource_type.name].targets
        mapped = any(path.text in copied for path in resource_type.secret_paths)
        return mapped or may_hold_secrets(resource_type, body)

    def _patched(self, resource_type: ResourceType, before: StoredResource, planned: PatchPlan) -> _Patched:
        members = MemberChanges(lambda: self._member_elements(resource_type, before.id))
        patched = apply_patch(planned, before.document, members)
        resource = {name: value for name, value in patched.resource.items() if name != "id"}
        self._mappings[resource_type.name].apply(resource)
        known = {k: v for k, v in before.secrets.items() if k not in patched.removed_secrets}
        plain = take_secrets(resource_type, resource)
        return _Patched(resource, members, plain, known, patched.removed_secrets)

    def delete(
        self,
        resource_type: ResourceType,
        resource_id: str,
        conditions: Conditions = NO_CONDITIONS,
        txn: str | None = None,
        also: Also = None,
    ) -> None:
        """Remove a resource, and remove it from all that have it as a member (RFC 7644 section 3.6).

        Raises ResourceNotFound and PreconditionFailed.
        """
        name = txn or new_txn()

        def change() -> None:
            before = self._adapter.get(resource_type, resource_id)
            conditions.check(before.version)
            memberships = self._adapter.memberships(resource_type, [resource_id]).get(resource_id, ())
            # A group that is a member of itself goes as a whole.
            itself = resource_type.name, resource_id
            direct = [m for m in memberships if m.direct and (m.resource_type, m.resource_id) != itself]
            # The feed of a group goes with it, and says so.
            feeds = [m.resource_id for m in direct]
            if resource_type.members is not None:
                feeds.append(resource_id)
            intent = partial(plan, "delete", resource_type, before, None, NO_DELTA, feeds, name)
            with self._recorder.write(intent) as done:
                for membership in direct:
                    member = Member(resource_id, resource_type.name)
                    self._leave(membership.resource_type, membership.resource_id, member, name)
                self._adapter.delete(resource_type, resource_id, before.version)
                done(
                    lambda builder: builder.deleted(resource_type, before, feeds, name),
                    partial(also, None) if also else None,
                )

        in_transaction(self._adapter, change)

    def _removable(self, secrets: frozenset[str]) -> frozenset[str]:
        """Return `secrets`, or none where they go with what is kept of them."""
        return secrets if self._adapter.capabilities.removes_secrets else frozenset()

    def _validated(
        self, resource_type: ResourceType, body: Mapping[str, Any], profile: str
    ) -> dict[str, Any]:
        resource = self._validators[profile, resource_type.name](body)
        self._mappings[resource_type.name].apply(resource)
        return resource

    def _put(
        self,
        resource_type: ResourceType,
        before: StoredResource,
        resource: dict[str, Any],
        members: Named,
        new_secrets: Mapping[str, str],
        attempts: _Attempts,
    ) -> StoredResource:
        """Make `resource` the new state of `before`, within a transaction.

        Secrets that are not among the new ones stay: a client that sends a resource back cannot
        know the password.
        """
        keep_immutables(resource_type, before.document, resource)
        changes = MemberChanges(lambda: ())
        changes.clear()
        changes.add(members)
        secrets = {**before.secrets, **new_secrets}
        return self._keep(resource_type, before, resource, secrets, changes, attempts)

    def _keep(
        self,
        resource_type: ResourceType,
        before: StoredResource,
        resource: dict[str, Any],
        secrets: dict[str, str],
        members: MemberChanges,
        attempts: _Attempts,
    ) -> StoredResource:
        """Store the new state of `before` if it differs, within a transaction."""
        joining, leaving, delta = self._member_changes(resource_type, before.id, members)
        same = {**resource, "id": before.id} == before.document and secrets == before.secrets
        same = same and not attempts.removed_secrets
        if same and not joining and not leaving and not attempts.members_changed:
            if attempts.also is not None:
                attempts.also(before)
            return before
        if self._adapter.capabilities.transactions or not attempts.members:
            attempts.members = delta
        new = StoredResource(
            before.id,
            _text(before.id, resource),
            created=before.created,
            last_modified=format_date_time(self._clock()),
            secrets=secrets,
            removed_secrets=attempts.removed_secrets,
        )
        kind, done_members, txn = attempts.kind, attempts.members, attempts.txn
        intent = partial(plan, kind, resource_type, before, None, done_members, (), txn)
        with self._recorder.write(intent) as done:
            if joining or leaving:
                changed = self._adapter.change_members(resource_type, before.id, joining, leaving)
                attempts.members_changed = attempts.members_changed or changed
            after = self._replaced(resource_type, before, new, same, attempts)
            seen = _told(after, new) if after.version != before.version else before
            done(
                lambda b: b.changed(kind, resource_type, before, seen, done_members, txn),
                partial(attempts.also, after) if attempts.also else None,
            )
        return after

    def _replaced(
        self,
        resource_type: ResourceType,
        before: StoredResource,
        new: StoredResource,
        same: bool,
        attempts: _Attempts,
    ) -> StoredResource:
        """Return `new` as kept in place of `before`, once members are what they should be."""
        changed, capabilities = attempts.members_changed, self._adapter.capabilities
        if capabilities.transactions:
            # Another attempt begins from what this one began from.
            attempts.members_changed = False
        if changed and capabilities.versions_members:
            current = self._adapter.get(resource_type, before.id)
            if same:
                return current
            return self._adapter.replace(resource_type, new, current.version)
        if same and not changed:
            return before
        return self._adapter.replace(resource_type, new, before.version)

    def _member_changes(
        self, resource_type: ResourceType, resource_id: str, changes: MemberChanges
    ) -> tuple[list[Member], set[str], MemberDelta]:
        """Return who joins, the ids of those who leave, and, if anybody cares, whom that concerns."""
        if resource_type.members is None:
            return [], set(), NO_DELTA
        joining, leaving = dict(changes.added), set(changes.removed)
        had: dict[str, Member] = {}
        if changes.cleared:
            had = {m.resource_id: m for m in self._adapter.members(resource_type, resource_id)}
            shown = {i: member.display for i, member in had.items()}
            leaving = {i for i in had if i not in joining or joining[i].display not in (None, shown[i])}
            said = self.references.says
            # Members that stay must be of the type that the client gives, too.
            joining = {
                i: named
                for i, named in joining.items()
                if i not in had or i in leaving or said(named, i) not in (None, had[i].resource_type)
            }
        if not joining and not leaving:
            return [], set(), NO_DELTA
        members = self._existing(resource_type, joining)
        if not self._recorder.is_on:
            return members, leaving, NO_DELTA
        if not changes.cleared:
            ids = [*joining, *leaving]
            among = self._adapter.among_members(resource_type, resource_id, ids)
            had = dict(self._adapter.find(list(among)))
        delta = MemberDelta(
            [member for member in members if member.resource_id not in had],
            [had[i] for i in leaving if i in had and i not in joining],
        )
        return members, leaving, delta

    def _member_elements(self, resource_type: ResourceType, resource_id: str) -> Iterator[dict[str, Any]]:
        for member in self._adapter.members(resource_type, resource_id):
            element = {"value": member.resource_id, "type": member.resource_type}
            yield {**element, "display": member.display} if member.display else element

    def _leave(self, type_name: str, group_id: str, member: Member, txn: str) -> None:
        """Remove a member that is about to be removed itself."""
        group_type = self.registry.resource_type(type_name)
        assert group_type is not None
        if self._adapter.capabilities.versions_members and not self._recorder.is_on:
            self._adapter.change_members(group_type, group_id, (), (member.resource_id,))
            return
        group = self._adapter.get(group_type, group_id)
        delta = MemberDelta((), [member])
        with self._recorder.write(
            partial(plan, "patch", group_type, group, None, delta, (), txn)
        ) as done:
            self._adapter.change_members(group_type, group_id, (), (member.resource_id,))
            if self._adapter.capabilities.versions_members:
                touched = self._adapter.get(group_type, group_id)
            else:
                modified = format_date_time(self._clock())
                touched = self._adapter.replace(
                    group_type, replace(group, last_modified=modified), group.version
                )
            done(lambda builder: builder.left(group_type, group, touched, delta, txn))

    def _existing(self, resource_type: ResourceType, named: Named) -> list[Member]:
        if resource_type.members is None or not named:
            return []
        return self.references.members(resource_type.members, named)


def _told(kept: StoredResource, new: StoredResource) -> StoredResource:
    """Return what is kept with the secrets of `new`: not every backend gives back what it was given."""
    return replace(kept, secrets=new.secrets, removed_secrets=new.removed_secrets)


def _text(resource_id: str, resource: Mapping[str, Any]) -> str:
    """Return the JSON to keep: `schemas` and `id` first, for people who read it."""
    return orjson.dumps({"schemas": resource["schemas"], "id": resource_id, **resource}).decode()
