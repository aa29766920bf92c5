"""Members of groups and memberships of users: references that the service provider keeps true.

RFC 7643 sections 4.1.2 and 4.2: a client names members by id; `$ref`, `type` and `display` are
what the referenced resource says, and memberships are computed from the members. A `type` that the
client gives must be that of a resource with the id, and so must the one in a `$ref` to a resource of
this service provider; any other `$ref` says nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.registry import Registry
from schema.resource_type import ResourceType
from storage.adapter import Member, StorageAdapter
from storage.errors import ResourceNotFound


@dataclass(frozen=True)
class NamedMember:
    """What a client says of a member beside its id; None or empty where it says nothing."""

    display: str | None = None
    type: str | None = None
    ref: str = ""


Named = Mapping[str, NamedMember]
"""members by id"""


def take_members(resource_type: ResourceType, resource: dict[str, Any]) -> dict[str, NamedMember]:
    """Remove the members from a canonical resource and return them as `named_members` does."""
    if resource_type.members is None:
        return {}
    return named_members(resource_type.members, resource.pop(resource_type.members.name, None) or ())


def named_members(attribute: Attribute, elements: Iterable[Mapping[str, Any]]) -> dict[str, NamedMember]:
    """Return the ids that elements of a membership attribute name, in order, with what is said of each.

    A member without `value` is found by the end of its `$ref`. Raises InvalidValue for one that
    has neither, and for one that comes with two types.
    """
    named: dict[str, NamedMember] = {}
    for position, element in enumerate(elements):
        ref = str(element.get("$ref") or "").rstrip("/")
        member_id = element.get("value") or ref.rpartition("/")[2]
        if not member_id:
            raise InvalidValue(f"{attribute.name}[{position}].value: is required")
        one = NamedMember(element.get("display") or None, element.get("type") or None, ref)
        before = named.get(member_id)
        if before is not None and before.type and one.type and before.type.lower() != one.type.lower():
            raise InvalidValue(f"{attribute.name}[{position}].type: {member_id} has two different types")
        named[member_id] = one if before is None or one.type else replace(one, type=before.type)
    return named


class References:
    """Finds the resources that members are; `prefix` precedes the endpoint in every location."""

    def __init__(self, registry: Registry, adapter: StorageAdapter, prefix: str) -> None:
        self._registry = registry
        self._adapter = adapter
        path = "/" + prefix.partition("://")[2].partition("/")[2] if "://" in prefix else prefix
        self._prefixes = frozenset({"", "..", prefix.lower(), path.rstrip("/").lower()})

    def members(self, attribute: Attribute, named: Named) -> list[Member]:
        """Return the resources with those ids; InvalidValue names the first that cannot be a member.

        A `display` that comes with an id takes the place of the resource's own.
        """
        found, missing = self.existing(attribute, named)
        for position, member_id in enumerate(named):
            if member_id in missing:
                place = f"{attribute.name}[{position}].value"
                raise InvalidValue(f"{place}: there is no {missing[member_id]} with the id {member_id}")
        return found

    def existing(self, attribute: Attribute, named: Named) -> tuple[list[Member], dict[str, str]]:
        """Return those of the resources that can be members, and by id what there is none of."""
        known = self._adapter.find(list(named))
        reference = attribute.sub_attribute("$ref")
        allowed = reference.reference_types if reference else ()
        members, missing = [], {}
        for member_id, one in named.items():
            kind = self.says(one, member_id)
            member = self._of_type(known.get(member_id), kind)
            if member is None or (allowed and member.resource_type not in allowed):
                missing[member_id] = kind or " or ".join(allowed) or "resource"
            else:
                members.append(replace(member, display=one.display) if one.display else member)
        return members, missing

    def says(self, named: NamedMember, member_id: str) -> str | None:
        """Return the resource type that a client gives a member, None where it gives none."""
        if named.type:
            resource_type = self._registry.resource_type(named.type)
            return resource_type.name if resource_type else named.type
        return self._type_in(named.ref, member_id)

    def _of_type(self, member: Member | None, kind: str | None) -> Member | None:
        """Return a member if it is of that type, or the resource of the type that has the same id."""
        if member is None or kind is None or member.resource_type == kind:
            return member
        resource_type = self._registry.resource_type(kind)
        if resource_type is None:
            return None
        try:
            # Data of others may have two resources of one id.
            stored = self._adapter.get(resource_type, member.resource_id)
        except ResourceNotFound:
            return None
        return Member(stored.id, resource_type.name, resource_type.display(stored.document))

    def _type_in(self, ref: str, member_id: str) -> str | None:
        """Return the type in the URI of a member if it is one of this service provider."""
        if not ref.endswith(f"/{member_id}"):
            return None
        rest, _, endpoint = ref.removesuffix(f"/{member_id}").rpartition("/")
        resource_type = self._registry.by_endpoint(f"/{endpoint}")
        return resource_type.name if resource_type and rest.lower() in self._prefixes else None
