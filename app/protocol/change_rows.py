"""Rows of the change log: who made a change, and as much of its attributes as AUDIT_VALUES allows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import orjson

from app.protocol.context import Context
from app.protocol.differences import present_paths, value_at
from app.protocol.preconditions import entity_tag
from app.protocol.write import NO_DELTA, MemberDelta
from schema.attribute import Attribute
from schema.resource_type import ResourceType
from set_delivery.change_log import ChangeEntry, Values
from set_delivery.clock import now_ms
from storage.adapter import StoredResource

Detail = Literal["none", "names", "values"]
"""Whether a row has the names of the changed attributes, and their values too."""

_NEVER: Final = "never"


class ChangeRows:
    """Makes rows of the change log.

    `ignored` are paths whose values are not logged. `copies` are, by the name of a resource type, the
    attributes that a mapping copies a `returned: never` value to: their values are not logged either.
    """

    def __init__(
        self,
        detail: Detail = "names",
        ignored: frozenset[str] = frozenset(),
        copies: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._detail = detail
        self._ignored = ignored
        self._copies = copies or {}

    @property
    def has_values(self) -> bool:
        """Whether values of attributes are logged."""
        return self._detail == "values"

    def row(
        self,
        context: Context,
        kind: str,
        resource_type: ResourceType,
        stored: StoredResource,
        paths: Sequence[str],
    ) -> ChangeEntry:
        """Return the row for a write that a context made; a removed resource has no version."""
        principal = context.principal
        named = paths if self._detail != "none" else ()
        return ChangeEntry(
            now_ms(),
            resource_type.name,
            stored.id,
            self._external_id(resource_type, stored),
            kind,
            None if kind == "delete" else entity_tag(stored.version),
            orjson.dumps(named).decode(),
            principal.id,
            principal.credential,
            context.address,
            context.origin,
            context.txn,
            context.request_id,
        )

    def values(
        self,
        resource_type: ResourceType,
        before: StoredResource | None,
        after: StoredResource | None,
        paths: Sequence[str] | None = None,
        members: MemberDelta = NO_DELTA,
    ) -> Values | None:
        """Return what the attributes at `paths` were and are, None where no values are logged.

        Without `paths`, those are the attributes of the resource that was created or removed. Members are
        the ids of those that joined and left.
        """
        if not self.has_values:
            return None
        if paths is None:
            known = after or before
            paths = present_paths(resource_type, known) if known is not None else ()
        logged = [path for path in paths if path not in self._unlogged(resource_type)]
        joined, left = ([one.resource_id for one in some] for some in (members.joined, members.left))
        return (
            self._object(resource_type, before, logged, {"removed": left}),
            self._object(resource_type, after, logged, {"added": joined}),
        )

    def _external_id(self, resource_type: ResourceType, stored: StoredResource) -> str | None:
        if "externalId" in self._copies.get(resource_type.name, ()):
            return None
        return stored.document.get("externalId") or None

    def _unlogged(self, resource_type: ResourceType) -> frozenset[str]:
        return self._ignored | self._copies.get(resource_type.name, frozenset())

    def _object(
        self,
        resource_type: ResourceType,
        stored: StoredResource | None,
        paths: Sequence[str],
        members: Mapping[str, Sequence[str]],
    ) -> str | None:
        """Return the values of a state of a resource as a JSON object, None where there is no resource."""
        if stored is None:
            return None
        found: dict[str, Any] = {}
        for text in paths:
            path = resource_type.path(text)
            if path is None or path.attribute == resource_type.members or path.leaf.returned == _NEVER:
                continue
            value = _without_secrets(path.leaf, value_at(path, stored.document))
            if value is not None:
                found[text] = value
        if resource_type.members is not None and any(members.values()):
            found[resource_type.members.name] = members
        return orjson.dumps(found).decode()


def _without_secrets(attribute: Attribute, value: Any) -> Any:
    """Return the value of an attribute without sub-attributes that are never returned."""
    if isinstance(value, list):
        return [_without_secrets(attribute, element) for element in value]
    if isinstance(value, Mapping):
        secret = {sub.name for sub in attribute.sub_attributes if sub.returned == _NEVER}
        return {name: part for name, part in value.items() if name not in secret}
    return value
