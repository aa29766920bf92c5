"""Members of groups and memberships of users: references that the service provider keeps true.

RFC 7643 sections 4.1.2 and 4.2: a client names members by id; `$ref`, `type` and `display` are
what the referenced resource says, and memberships are computed from the members. A `type` that the
client gives must be that of a resource with the id, and so must the one in a `$ref` to a resource of
this service provider; any other `$ref` says nothing. Data of others may have one id in two types:
both can be members, each with its type.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.registry import Registry
from schema.resource_type import ResourceType
from storage.adapter import Key, Member, ReadAlong, StorageAdapter
from storage.batches import batches

# How many members are looked up at a time: a group may have very many.
_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class NamedMember:
    """What a client says of a member beside its id; None or empty where it says nothing."""

    display: str | None = None
    type: str | None = None
    ref: str = ""

    def may_be(self, type_name: str | None) -> bool:
        """Return whether a member of that type may be meant; one without a type always may."""
        return not self.type or not type_name or self.type.lower() == type_name.lower()


Named = Mapping[str, Sequence[NamedMember]]
"""Members by id: one for each id, more only where each has a type or `$ref` of its own."""


def take_members(
    resource_type: ResourceType, resource: dict[str, Any]
) -> dict[str, Sequence[NamedMember]]:
    """Remove the members from a canonical resource and return them as `named_members` does."""
    if resource_type.members is None:
        return {}
    return named_members(resource_type.members, resource.pop(resource_type.members.name, None) or ())


def named_members(
    attribute: Attribute, elements: Iterable[Mapping[str, Any]]
) -> dict[str, Sequence[NamedMember]]:
    """Return the ids that elements of a membership attribute name, in order, with what is said of each.

    A member without `value` is found by the end of its `$ref`. Raises InvalidValue for one that
    has neither.
    """
    named: dict[str, Sequence[NamedMember]] = {}
    for position, element in enumerate(elements):
        ref = str(element.get("$ref") or "").rstrip("/")
        member_id = element.get("value") or ref.rpartition("/")[2]
        if not member_id:
            raise InvalidValue(f"{attribute.name}[{position}].value: is required")
        one = NamedMember(element.get("display") or None, element.get("type") or None, ref)
        before = named.get(member_id)
        named[member_id] = (one,) if before is None else with_named(before, one)
    return named


def changes_displays(named: Named, members: Iterable[Member], known: Iterable[Member]) -> bool:
    """Return whether a client that names `members` so has one of those `known` displayed in another way."""
    displays = {member.key: member.display for member in known}
    return any(
        member.display != displays.get(member.key, member.display)
        and any(one.display for one in named.get(member.resource_id, ()))
        for member in members
    )


def with_named(names: Sequence[NamedMember], one: NamedMember) -> Sequence[NamedMember]:
    """Return the members of one id with another that a client names, or names once more.

    Without a type, the member is the one that was named already.
    """
    for number, other in enumerate(names):
        refs_differ = one.ref and other.ref and one.ref != other.ref
        if other.may_be(one.type) and (one.type or other.type or not refs_differ):
            known = one if one.type else replace(one, type=other.type, ref=one.ref or other.ref)
            return [*names[:number], known, *names[number + 1 :]]
    return [*names, one]


class References:
    """Finds the resources that members are; `prefix` precedes the endpoint in every location."""

    def __init__(self, registry: Registry, adapter: StorageAdapter, prefix: str) -> None:
        self._registry = registry
        self._adapter = adapter
        path = "/" + prefix.partition("://")[2].partition("/")[2] if "://" in prefix else prefix
        self._prefixes = frozenset({"", "..", prefix.lower(), path.rstrip("/").lower()})

    def members(
        self, attribute: Attribute, named: Named, read_along: ReadAlong | None = None
    ) -> list[Member]:
        """Return the resources with those ids; InvalidValue names the first that cannot be a member.

        A `display` that comes with an id takes the place of the resource's own. `read_along` is about all of
        the ids.
        """
        found, missing = self.existing(attribute, named, read_along)
        if not missing:
            return found
        every = ((member_id, one) for member_id, names in named.items() for one in names)
        position, member_id = next(
            (position, member_id)
            for position, (member_id, one) in enumerate(every)
            if member_id in missing and self.says(one, member_id) in (None, missing[member_id])
        )
        place = f"{attribute.name}[{position}].value"
        raise InvalidValue(f"{place}: there is no {missing[member_id]} with the id {member_id}")

    def existing(
        self, attribute: Attribute, named: Named, read_along: ReadAlong | None = None
    ) -> tuple[list[Member], dict[str, str]]:
        """Return those of the resources that can be members, and by id what there is none of."""
        allowed = _allowed(attribute)
        members: list[Member] = []
        missing: dict[str, str] = {}
        for ids in batches(named, _AT_ONCE):
            part = {member_id: named[member_id] for member_id in ids}
            found = read_along.existing if read_along else self._adapter.find(ids)
            for member_id, one, member in self.among(attribute, part, found):
                if member is None or (allowed and member.resource_type not in allowed):
                    kind = self.says(one, member_id) or " or ".join(allowed) or "resource"
                    missing.setdefault(member_id, kind)
                else:
                    # The text of the client, which is there already, in place of that of the storage.
                    display = one.display or member.display
                    members.append(replace(member, resource_id=member_id, display=display))
        return members, missing

    def among(
        self, attribute: Attribute, named: Named, found: Iterable[Member]
    ) -> Iterator[tuple[str, NamedMember, Member | None]]:
        """Yield each member that a client names, with its id, and which one of `found` it is, if any.

        Without a type, the first one is meant of the types that can be members.
        """
        by_id: dict[str, Member] = {}
        twins: dict[Key, Member] = {}
        for member in found:
            first = by_id.setdefault(member.resource_id, member)
            if first is not member:
                twins |= {first.key: first, member.key: member}
        types = (*_allowed(attribute), *(one.name for one in self._registry.resource_types))
        taken: set[Key] = set()
        for member_id, names in named.items():
            for one in names:
                meant = by_id.get(member_id)
                is_usual = meant is not None and one.type == meant.resource_type
                kind = one.type if is_usual else self.says(one, member_id)
                if twins and meant is not None and meant.key in twins:
                    keys = ((name, member_id) for name in (types if kind is None else (kind,)))
                    meant = next((twins[key] for key in keys if key in twins), None)
                elif meant is not None and kind not in (None, meant.resource_type):
                    meant = None
                if len(names) > 1 and meant is not None:
                    if meant.key in taken:
                        continue
                    taken.add(meant.key)
                yield member_id, one, meant

    def says(self, named: NamedMember, member_id: str) -> str | None:
        """Return the resource type that a client gives a member, None where it gives none."""
        if named.type:
            resource_type = self._registry.resource_type(named.type)
            return resource_type.name if resource_type else named.type
        return self._type_in(named.ref, member_id)

    def _type_in(self, ref: str, member_id: str) -> str | None:
        """Return the type in the URI of a member if it is one of this service provider."""
        if not ref.endswith(f"/{member_id}"):
            return None
        rest, _, endpoint = ref.removesuffix(f"/{member_id}").rpartition("/")
        resource_type = self._registry.by_endpoint(f"/{endpoint}")
        return resource_type.name if resource_type and rest.lower() in self._prefixes else None


def _allowed(attribute: Attribute) -> Sequence[str]:
    """Return the types of resources that can be members, empty for any."""
    reference = attribute.sub_attribute("$ref")
    return reference.reference_types if reference else ()
