"""Members and memberships, as tests change and read them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from schema.resource_type import ResourceType
from storage.adapter import Member, Membership, StorageAdapter, StoredResource
from storage.testing.resources import GROUP, USER


def members(ids: str) -> list[Member]:
    return [Member(resource_id, "User") for resource_id in ids]


def members_of(adapter: StorageAdapter, group_id: str, limit: int | None = None) -> Iterator[Member]:
    return adapter.members(GROUP, adapter.get(GROUP, group_id), limit)


def change_members(
    adapter: StorageAdapter, group_id: str, add: Iterable[Member], remove: Iterable[str] = ()
) -> bool:
    leaving = [Member(member_id, "User") for member_id in remove]
    return adapter.change_members(GROUP, adapter.get(GROUP, group_id), add, leaving)


def among(adapter: StorageAdapter, group_id: str, member_ids: Sequence[str]) -> set[str]:
    found = adapter.among_members(GROUP, adapter.get(GROUP, group_id), member_ids)
    return {member.resource_id for member in found}


def found_by_id(adapter: StorageAdapter, ids: Sequence[str]) -> dict[str, Member]:
    """Return the resources of any type with one of these ids, of which no two have the same."""
    found = adapter.find(ids)
    by_id = {member.resource_id: member for member in found}
    assert len(by_id) == len(found)
    return by_id


def memberships_of(
    adapter: StorageAdapter, ids: Sequence[str], resource_type: ResourceType = USER
) -> Mapping[str, Sequence[Membership]]:
    return adapter.memberships(resource_type, [StoredResource(one, "{}") for one in ids])
