"""The operations on resources (RFC 7644 section 3): every caller, REST or other, comes through here."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from app.protocol.attempts import in_transaction
from app.protocol.mapping import AttributeMapping
from app.protocol.mutability import keep_immutables
from app.protocol.patch import MemberChanges, apply_patch, read_operations
from app.protocol.preconditions import require_match, require_none_match
from app.protocol.references import existing_members, take_members
from app.protocol.representation import Representation
from app.protocol.secrets import Secrets, take_secrets
from app.protocol.tolerance import PROFILES
from schema.registry import Registry
from schema.resource_type import ResourceType
from schema.validation import compile_validator
from schema.values import format_date_time
from storage.adapter import Member, StorageAdapter, StoredResource


@dataclass(frozen=True)
class Conditions:
    """The conditional headers of a request (RFC 7644 section 3.14), None where absent."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, version: str) -> None:
        """Raise PreconditionFailed unless a change of `version` is wanted."""
        require_match(self.if_match, version)
        require_none_match(self.if_none_match, version)


NO_CONDITIONS: Final = Conditions()


@dataclass(frozen=True)
class NewResource:
    """A resource that is not kept yet, and its members by id, with what is shown of each."""

    resource: StoredResource
    members: Mapping[str, str | None]


class _NotHashed(Exception):
    """A change met secrets that have to be hashed first."""

    def __init__(self, plain: Mapping[str, str], known: Mapping[str, str]) -> None:
        super().__init__("secrets to be hashed")
        self.plain = plain
        self.known = known


class ResourceOperations:
    """Create, get, replace, patch and delete resources of every type."""

    def __init__(
        self,
        registry: Registry,
        adapter: StorageAdapter,
        representation: Representation,
        *,
        mappings: Mapping[str, Mapping[str, str]] | None = None,
        secrets: Secrets | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.registry = registry
        self.representation = representation
        self._adapter = adapter
        self._secrets = secrets or Secrets()
        self._clock = clock
        self._mappings = {
            r.name: AttributeMapping(r, (mappings or {}).get(r.name, {})) for r in registry.resource_types
        }
        self._validators = {
            (name, resource_type.name): compile_validator(resource_type, profile.resources)
            for name, profile in PROFILES.items()
            for resource_type in registry.resource_types
        }

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        """Return a resource. Raises ResourceNotFound."""
        return self._adapter.get(resource_type, resource_id)

    def create(
        self, resource_type: ResourceType, body: Mapping[str, Any], profile: str = "default"
    ) -> StoredResource:
        """Keep a new resource (RFC 7644 section 3.3) and return it.

        Raises InvalidValue, InvalidSyntax or UniquenessConflict, and has then changed nothing.
        """
        new = self.new(resource_type, body, profile)

        def change() -> StoredResource:
            joining = self._existing(resource_type, new.members)
            created = self._adapter.create(resource_type, new.resource)
            if joining:
                self._adapter.change_members(resource_type, created.id, joining, ())
            return created

        return in_transaction(self._adapter, change)

    def new(
        self,
        resource_type: ResourceType,
        body: Mapping[str, Any],
        profile: str = "default",
        resource_id: str | None = None,
    ) -> NewResource:
        """Return what `create` would keep, without keeping it; `resource_id` is for one that has an id.

        Raises InvalidValue and InvalidSyntax.
        """
        resource = self._validated(resource_type, body, profile)
        members = take_members(resource_type, resource)
        secrets = self._secrets.hashed(take_secrets(resource_type, resource), {})
        now = format_date_time(self._clock())
        mapped = self._mappings[resource_type.name].new_id(resource)
        new_id = resource_id or mapped or str(uuid.uuid4())
        stored = StoredResource(
            new_id, _text(new_id, resource), created=now, last_modified=now, secrets=secrets
        )
        return NewResource(stored, members)

    def replace(
        self,
        resource_type: ResourceType,
        resource_id: str,
        body: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
        profile: str = "default",
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

        def change() -> StoredResource:
            before = self._adapter.get(resource_type, resource_id)
            conditions.check(before.version)
            return self._put(resource_type, before, dict(resource), members, secrets)

        return in_transaction(self._adapter, change)

    def patch(
        self,
        resource_type: ResourceType,
        resource_id: str,
        body: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
        profile: str = "default",
    ) -> StoredResource:
        """Change parts of a resource (RFC 7644 section 3.5.2) and return what is kept.

        All operations take effect or none. A PATCH that changes nothing makes no new version.
        Raises as `replace` does, and InvalidPath and NoTarget.
        """
        granted = PROFILES[profile]
        operations = read_operations(body, granted)

        def change() -> StoredResource:
            before = self._adapter.get(resource_type, resource_id)
            conditions.check(before.version)
            members = MemberChanges(lambda: self._member_elements(resource_type, resource_id))
            patched = apply_patch(resource_type, before.document, operations, granted, members)
            resource = {name: value for name, value in patched.resource.items() if name != "id"}
            self._mappings[resource_type.name].apply(resource)
            known = {k: v for k, v in before.secrets.items() if k not in patched.removed_secrets}
            plain = take_secrets(resource_type, resource)
            if not plain.keys() <= hashed.keys():
                raise _NotHashed(plain, known)
            return self._keep(resource_type, before, resource, {**known, **hashed}, members)

        # Hashing is slow on purpose: it must not hold up other writers.
        hashed: dict[str, str] = {}
        try:
            return in_transaction(self._adapter, change)
        except _NotHashed as pending:
            hashed = self._secrets.hashed(pending.plain, pending.known)
            return in_transaction(self._adapter, change)

    def delete(
        self, resource_type: ResourceType, resource_id: str, conditions: Conditions = NO_CONDITIONS
    ) -> None:
        """Remove a resource, and remove it from all that have it as a member (RFC 7644 section 3.6).

        Raises ResourceNotFound and PreconditionFailed.
        """

        def change() -> None:
            before = self._adapter.get(resource_type, resource_id)
            conditions.check(before.version)
            for membership in self._adapter.memberships(resource_type, [resource_id]).get(resource_id, ()):
                if membership.direct:
                    self._leave(membership.resource_type, membership.resource_id, resource_id)
            self._adapter.delete(resource_type, resource_id, before.version)

        in_transaction(self._adapter, change)

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
        members: Mapping[str, str | None],
        new_secrets: Mapping[str, str],
    ) -> StoredResource:
        """Make `resource` the new state of `before`, within a transaction.

        Secrets that are not among the new ones stay: a client that sends a resource back cannot
        know the password.
        """
        keep_immutables(resource_type, before.document, resource)
        changes = MemberChanges(lambda: ())
        changes.clear()
        changes.add(members)
        return self._keep(resource_type, before, resource, {**before.secrets, **new_secrets}, changes)

    def _keep(
        self,
        resource_type: ResourceType,
        before: StoredResource,
        resource: dict[str, Any],
        secrets: dict[str, str],
        members: MemberChanges,
    ) -> StoredResource:
        """Store the new state of `before` if it differs, within a transaction."""
        changed = self._change_members(resource_type, before.id, members)
        document = {**resource, "id": before.id}
        if not changed and document == before.document and secrets == before.secrets:
            return before
        return self._adapter.replace(
            resource_type,
            StoredResource(
                before.id,
                _text(before.id, resource),
                created=before.created,
                last_modified=format_date_time(self._clock()),
                secrets=secrets,
            ),
            before.version,
        )

    def _change_members(
        self, resource_type: ResourceType, resource_id: str, changes: MemberChanges
    ) -> bool:
        if resource_type.members is None:
            return False
        joining = dict(changes.added)
        leaving = set(changes.removed)
        if changes.cleared:
            had = {m.resource_id: m.display for m in self._adapter.members(resource_type, resource_id)}
            leaving = {i for i in had if i not in joining or joining[i] not in (None, had[i])}
            joining = {i: display for i, display in joining.items() if i not in had or i in leaving}
        if not joining and not leaving:
            return False
        members = self._existing(resource_type, joining)
        return self._adapter.change_members(resource_type, resource_id, members, leaving)

    def _member_elements(self, resource_type: ResourceType, resource_id: str) -> Iterator[dict[str, Any]]:
        for member in self._adapter.members(resource_type, resource_id):
            element = {"value": member.resource_id, "type": member.resource_type}
            yield {**element, "display": member.display} if member.display else element

    def _leave(self, type_name: str, group_id: str, member_id: str) -> None:
        group_type = self.registry.resource_type(type_name)
        assert group_type is not None
        group = self._adapter.get(group_type, group_id)
        self._adapter.change_members(group_type, group_id, (), (member_id,))
        touched = StoredResource(
            group.id,
            group.text,
            created=group.created,
            last_modified=format_date_time(self._clock()),
            secrets=group.secrets,
        )
        self._adapter.replace(group_type, touched, group.version)

    def _existing(self, resource_type: ResourceType, named: Mapping[str, str | None]) -> list[Member]:
        if resource_type.members is None or not named:
            return []
        return existing_members(self._adapter, resource_type.members, named)


def _text(resource_id: str, resource: Mapping[str, Any]) -> str:
    """Return the JSON to keep: `schemas` and `id` first, for people who read it."""
    return orjson.dumps({"schemas": resource["schemas"], "id": resource_id, **resource}).decode()
