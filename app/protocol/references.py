"""Members of groups and memberships of users: references that the service provider keeps true.

RFC 7643 sections 4.1.2 and 4.2: a client names members by id; `$ref`, `type` and `display` are
what the referenced resource says, and memberships are computed from the members.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.resource_type import ResourceType
from storage.adapter import Member, StorageAdapter


def take_members(resource_type: ResourceType, resource: dict[str, Any]) -> dict[str, str | None]:
    """Remove the members from a canonical resource and return them as `named_members` does."""
    if resource_type.members is None:
        return {}
    return named_members(resource_type.members, resource.pop(resource_type.members.name, None) or ())


def named_members(attribute: Attribute, elements: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """Return the ids that elements of a membership attribute name, in order, with their `display`.

    A member without `value` is found by the end of its `$ref`. Raises InvalidValue for one that
    has neither.
    """
    named: dict[str, str | None] = {}
    for position, element in enumerate(elements):
        member_id = element.get("value") or str(element.get("$ref") or "").rstrip("/").rpartition("/")[2]
        if not member_id:
            raise InvalidValue(f"{attribute.name}[{position}].value: is required")
        named[member_id] = element.get("display") or None
    return named


def existing_members(
    adapter: StorageAdapter, attribute: Attribute, named: Mapping[str, str | None]
) -> list[Member]:
    """Return the resources with those ids; InvalidValue names the first that cannot be a member.

    A `display` that comes with an id takes the place of the resource's own.
    """
    found = adapter.find(list(named))
    allowed = attribute.sub_attribute("$ref")
    members = []
    for position, (member_id, display) in enumerate(named.items()):
        member = found.get(member_id)
        if member is None or (allowed and member.resource_type not in allowed.reference_types):
            kinds = " or ".join(allowed.reference_types) if allowed else "resource"
            place = f"{attribute.name}[{position}].value"
            raise InvalidValue(f"{place}: there is no {kinds} with the id {member_id}")
        members.append(replace(member, display=display) if display else member)
    return members
