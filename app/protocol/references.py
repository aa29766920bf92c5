"""Members of groups and memberships of users: references that the service provider keeps true.

RFC 7643 sections 4.1.2 and 4.2: a client names members by id; `$ref`, `type` and `display` are
what the referenced resource says, and memberships are computed from the members.
"""

from collections.abc import Sequence
from typing import Any

from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.resource_type import ResourceType
from storage.adapter import Member, StorageAdapter


def take_member_ids(resource_type: ResourceType, resource: dict[str, Any]) -> list[str]:
    """Remove the members from a canonical resource and return their ids, each once, in order.

    A member without `value` is found by the end of its `$ref`. Raises InvalidValue for one that
    has neither.
    """
    if resource_type.members is None:
        return []
    name = resource_type.members.name
    ids: dict[str, None] = {}
    for position, element in enumerate(resource.pop(name, None) or ()):
        member_id = element.get("value") or str(element.get("$ref") or "").rstrip("/").rpartition("/")[2]
        if not member_id:
            raise InvalidValue(f"{name}[{position}].value: is required")
        ids[member_id] = None
    return list(ids)


def existing_members(
    adapter: StorageAdapter, attribute: Attribute, member_ids: Sequence[str]
) -> list[Member]:
    """Return the resources with those ids; InvalidValue names the first that cannot be a member."""
    found = adapter.find(member_ids)
    allowed = attribute.sub_attribute("$ref")
    members = []
    for position, member_id in enumerate(member_ids):
        member = found.get(member_id)
        if member is None or (allowed and member.resource_type not in allowed.reference_types):
            kinds = " or ".join(allowed.reference_types) if allowed else "resource"
            place = f"{attribute.name}[{position}].value"
            raise InvalidValue(f"{place}: there is no {kinds} with the id {member_id}")
        members.append(member)
    return members
