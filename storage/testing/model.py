"""A store filled at random, and its resources as they must be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

from schema.resource_type import ResourceType
from storage.adapter import Key, Member, Membership, StorageAdapter, StoredResource
from storage.errors import ValueRefused
from storage.testing.generating import Generator
from storage.testing.resources import GROUP, USER, stored

_USERS: Final = 24
_GROUPS: Final = 8


class Model:
    """Fills `adapter`; `resources` has, by type, id and representation of each in the order of `scan`.

    Resources that the backend refuses are left out. Documents are compared with those that were written.
    """

    def __init__(self, adapter: StorageAdapter, seed: str, omitted: str) -> None:
        self._adapter = adapter
        self._random = Random(seed)
        self._generator = Generator(self._random, omitted)
        self._written: dict[Key, StoredResource] = {}
        self._kept: dict[Key, StoredResource] = {}
        self._members: dict[str, list[Member]] = {}
        self._fill()
        self._read()
        self.resources = {
            resource_type.name: [
                (one.id, self._as_written(resource_type, one)) for one in self._of(resource_type, self._kept)
            ]
            for resource_type in (USER, GROUP)
        }

    def written(self, resource_type: ResourceType) -> Sequence[Mapping[str, Any]]:
        """Return the representations of the resources of a type, with the dates that they were given."""
        return [self._as_written(resource_type, one) for one in self._of(resource_type, self._written)]

    def represent(self, resource: StoredResource, links: bool) -> Mapping[str, Any]:
        """Return the representation of what the adapter returned, with the links that it tells."""
        resource_type = USER if "userName" in resource.document else GROUP
        shown = _without_links(resource_type, resource)
        if not links:
            return shown
        if resource_type is GROUP:
            return {**shown, "members": [_member(one) for one in self._adapter.members(GROUP, resource)]}
        above = resource.memberships
        if above is None:
            above = self._adapter.memberships(USER, [resource]).get(resource.id, ())
        return {**shown, "groups": list(map(_membership, above))}

    def _fill(self) -> None:
        for number, resource_type in enumerate([USER] * _USERS + [GROUP] * _GROUPS):
            self._write(resource_type, number)
        assert len(self._written) > (_USERS + _GROUPS) // 2, "the backend refuses most of the resources"
        for (kind, group_id) in list(self._written):
            if kind == GROUP.name:
                self._join(group_id)

    def _write(self, resource_type: ResourceType, number: int) -> None:
        """Keep a resource under an id of no order; every fourth replaces another one."""
        resource_id = f"{self._random.getrandbits(32):08x}"
        created = self._generator.date_time()
        for attempt in range(2):
            document = self._generator.document(resource_type, number)
            resource = stored(resource_id, created, **document)
            resource = replace(resource, last_modified=self._generator.date_time())
            try:
                if attempt == 0:
                    kept = self._adapter.create(resource_type, resource)
                else:
                    kept = self._adapter.replace(resource_type, resource, kept.version)
            except ValueRefused:
                return
            self._written[resource_type.name, resource_id] = resource
            if number % 4:
                return

    def _join(self, group_id: str) -> None:
        keys = self._random.sample(sorted(self._written), self._random.randint(0, 10))
        for kind, resource_id in keys:
            display = self._generator.text() if self._random.random() < 0.3 else None
            member = Member(resource_id, kind, display or None)
            try:
                self._adapter.change_members(GROUP, self._adapter.get(GROUP, group_id), [member], ())
            except ValueRefused:
                continue
            self._members.setdefault(group_id, []).append(member)

    def _read(self) -> None:
        """Take what the backend has kept; one of ours keeps documents as they were written."""
        for resource_type in (USER, GROUP):
            found = list(self._adapter.scan(resource_type))
            written = {one.id: one.document for one in self._of(resource_type, self._written)}
            assert [one.id for one in found if one.id not in written] == []
            if not self._adapter.capabilities.assigns_ids:
                assert {one.id: one.document for one in found} == written
            assert len(found) == len(written)
            places = [one.place for one in found]
            assert places == sorted(set(places)) and max(map(len, places)) <= 128
            self._kept |= {(resource_type.name, one.id): one for one in found}

    @staticmethod
    def _of(resource_type: ResourceType, resources: Mapping[Key, StoredResource]) -> list[StoredResource]:
        return [one for (kind, _), one in resources.items() if kind == resource_type.name]

    def _as_written(self, resource_type: ResourceType, resource: StoredResource) -> Mapping[str, Any]:
        """Return the representation with the links that were made."""
        shown = _without_links(resource_type, resource)
        if resource_type is GROUP:
            members = [
                replace(one, display=one.display or self._display(one.key))
                for one in self._members.get(resource.id, ())
            ]
            return {**shown, "members": list(map(_member, members))}
        key = (resource_type.name, resource.id)
        direct = self._holders({key})
        above, inner = set(direct), direct
        while inner:
            inner = self._holders({(GROUP.name, one) for one in inner}) - above
            above |= inner
        links = [
            Membership(one, GROUP.name, self._display((GROUP.name, one)), one in direct)
            for one in sorted(above)
        ]
        return {**shown, "groups": list(map(_membership, links))}

    def _holders(self, keys: set[Key]) -> set[str]:
        return {group for group, members in self._members.items() if {one.key for one in members} & keys}

    def _display(self, key: Key) -> str | None:
        resource_type = USER if key[0] == USER.name else GROUP
        return resource_type.display(self._kept[key].document)


def _without_links(resource_type: ResourceType, resource: StoredResource) -> dict[str, Any]:
    meta = {
        "resourceType": resource_type.name,
        "created": resource.created,
        "lastModified": resource.last_modified,
        "location": f"{resource_type.endpoint}/{resource.id}",
        "version": f'W/"{resource.version}"',
    }
    return {**resource.document, "meta": meta}


def _member(member: Member) -> dict[str, Any]:
    return {"value": member.resource_id, "type": member.resource_type, **_shared(member)}


def _membership(membership: Membership) -> dict[str, Any]:
    kind = "direct" if membership.direct else "indirect"
    return {"value": membership.resource_id, "type": kind, **_shared(membership)}


def _shared(link: Member | Membership) -> dict[str, Any]:
    shown = {"$ref": f"/{link.resource_type}s/{link.resource_id}"}
    return {**shown, "display": link.display} if link.display else shown
