"""Resources of any type by id, and what they are members of (RFC 7643 sections 4.1.2 and 4.2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from schema.resource_type import ResourceType
from scim_filter.nodes import BoundComparison, Node, any_of
from storage.adapter import Member, Membership, StoredResource
from storage.batches import batches
from storage.errors import ResourceNotFound
from storage.forward.asking import NotHonoured, naming
from storage.forward.find import Search
from storage.forward.links import Links
from storage.forward.write import Exchange, Session
from storage.nesting import nested

# Resources asked for by id in one request.
_BATCH: Final = 25


@dataclass(frozen=True)
class TypeParts:
    """The parts of the adapter for one resource type; `links` are there if its resources have members."""

    exchange: Exchange
    search: Search
    links: Links | None

    @property
    def resource_type(self) -> ResourceType:
        """The resource type."""
        return self.exchange.resource_type


class Directory:
    """Finds resources by id, many in one request where the upstream filters; `types` are by name."""

    def __init__(self, session: Session, types: Mapping[str, TypeParts]) -> None:
        self._session = session
        self._types = types

    def find(self, resource_ids: Sequence[str]) -> list[Member]:
        """Return those of the ids that exist, with type and display.

        An id that one type has is not asked for in the next type: a service provider gives no id twice
        (RFC 7643 section 3.1).
        """
        found: dict[str, Member] = {}
        for name, parts in self._types.items():
            pending = [i for i in dict.fromkeys(resource_ids) if i not in found and self._is_usual(name, i)]
            for batch in batches(pending, _BATCH):
                for one in self._existing(name, batch, naming(parts.resource_type)):
                    display = parts.resource_type.display(one.document)
                    found[one.id] = Member(one.id, name, display)
                    self._session.remembered.kept["display", one.id] = display
        return list(found.values())

    def _is_usual(self, name: str, resource_id: str) -> bool:
        try:
            self._types[name].exchange.path(resource_id)
        except ResourceNotFound:
            return False
        return True

    def _existing(
        self, name: str, resource_ids: list[str], attributes: Sequence[str]
    ) -> list[StoredResource]:
        """Return those that exist, with these attributes at the least."""
        path = self._types[name].resource_type.path("id")
        assert path is not None
        if len(resource_ids) > 1:
            each: list[Node] = [BoundComparison(path, "eq", i, i) for i in resource_ids]
            try:
                found = self._types[name].search.matching(any_of(each), attributes)
                if found is not None:
                    return [one for one in found if one.id in resource_ids]
            except NotHonoured:
                pass
        one_by_one = []
        for resource_id in resource_ids:
            try:
                one_by_one.append(self._types[name].exchange.current(resource_id).stored)
            except ResourceNotFound:
                continue
        return one_by_one

    # -- memberships

    def _holding(self) -> Iterator[tuple[str, Links]]:
        """Yield the types whose resources have members."""
        return ((name, parts.links) for name, parts in self._types.items() if parts.links is not None)

    def memberships(self, name: str, stored: Sequence[StoredResource]) -> dict[str, Sequence[Membership]]:
        """Return what resources of a type are members of: as the upstream says, or found by their ids."""
        found = {one.id: one.memberships for one in stored if one.memberships is not None}
        pending = [one.id for one in stored if one.memberships is None]
        if pending:
            found |= self._looked_up(name, pending)
        return {resource_id: memberships for resource_id, memberships in found.items() if memberships}

    def _looked_up(self, name: str, resource_ids: list[str]) -> Mapping[str, Sequence[Membership]]:
        attribute = self._types[name].resource_type.memberships
        lists = False if attribute is None else self._lists_memberships(name)
        if lists is None:
            return {}
        if lists and attribute is not None:
            usual = [resource_id for resource_id in resource_ids if self._is_usual(name, resource_id)]
            return {
                one.id: one.memberships or ()
                for batch in batches(usual, _BATCH)
                for one in self._existing(name, batch, [attribute.name])
            }
        if len(resource_ids) > _BATCH:
            return self._sought(resource_ids)
        return {resource_id: self._climbed(resource_id) for resource_id in resource_ids}

    def _lists_memberships(self, name: str) -> bool | None:
        """Return whether resources come with their memberships, None when nobody is a member."""
        abilities = self._session.known()
        if abilities.lists_memberships is None:
            member = next((m for _, links in self._holding() for m in links.some(name)), None)
            if member is None:
                return None
            try:
                shown = self._types[name].exchange.read(member.resource_id).stored.memberships
            except ResourceNotFound:
                return False
            abilities.lists_memberships = bool(shown)
        return abilities.lists_memberships

    def _sought(self, resource_ids: list[str]) -> Mapping[str, Sequence[Membership]]:
        """Return the memberships of many, found by reading the members of everything that has any."""
        wanted = set(resource_ids)
        found: dict[str, list[Membership]] = {resource_id: [] for resource_id in resource_ids}
        for name, links in self._holding():
            for holder in links.all_holders():
                joined = [m.resource_id for m in links.members(holder.id) if m.resource_id in wanted]
                if not joined:
                    continue
                display = self._types[name].resource_type.display(holder.document)
                above = self._climbed(holder.id)
                for member_id in joined:
                    shown = {membership.resource_id for membership in found[member_id]}
                    direct = Membership(holder.id, name, display, True)
                    indirect = [one for one in above if one.resource_id not in shown]
                    kept = [one for one in found[member_id] if one.resource_id != holder.id]
                    new = [replace(one, direct=False) for one in indirect if one.resource_id != holder.id]
                    found[member_id] = [*kept, direct, *new]
        return found

    def _climbed(self, resource_id: str) -> list[Membership]:
        shown: dict[str, Membership] = {}

        def groups_of(ids: Sequence[str]) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for name, links in self._holding():
                for member_id in ids:
                    for holder in links.holders(member_id):
                        display = self._types[name].resource_type.display(holder.document)
                        shown.setdefault(holder.id, Membership(holder.id, name, display, False))
                        found.setdefault(member_id, []).append(holder.id)
            return found

        steps = nested(groups_of([resource_id]), groups_of).get(resource_id, {})
        return [replace(shown[group], direct=steps[group] == 1) for group in steps]
