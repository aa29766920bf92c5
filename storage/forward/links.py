"""Members and memberships at the upstream, never more of them than is needed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from schema.resource_type import AttributePath
from schema.values import comparison_key
from scim_filter import render
from scim_filter.nodes import And, BoundComparison, BoundPresence, Comparison, Node, Path
from storage.adapter import Member, StoredResource
from storage.batches import batches
from storage.errors import (
    BadBackendAnswer,
    OutcomeUnknown,
    StorageReadOnly,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    after_write,
)
from storage.forward.asking import NotHonoured, naming
from storage.forward.find import Search
from storage.forward.form import Upstream
from storage.forward.streaming import ListReader
from storage.forward.wire import raise_refusal, read_request
from storage.forward.write import Exchange

# From this number of ids on, all members are read rather than each looked up.
_MANY: Final = 25
# Members that join or leave by one request, and by one to an upstream that has refused more.
_CHANGES: Final = 1000
_FEW_CHANGES: Final = 100
_MANY_AT_ONCE: Final = f"more than {_FEW_CHANGES} members at once"
# The scimType of a refusal that may be for the number of changes, "invalidValue" for one without any.
_ABOUT_NUMBER: Final = ("invalidValue", "invalidSyntax", "tooMany")
# After one of these, the request has changed nothing.
_REFUSALS: Final = (StorageReadOnly, UniquenessConflict, UnsupportedByBackend, ValueRefused)


class Links:
    """The members of the resources of one type, which has some."""

    def __init__(self, exchange: Exchange, search: Search) -> None:
        self._exchange = exchange
        self._search = search
        self._client = exchange.session.client
        self._known = exchange.session.known
        self._type = exchange.resource_type
        self._reader = exchange.reader
        members = self._type.members
        assert members is not None
        self.name = members.name
        self._value = AttributePath(members, members.sub_attribute("value"))

    def members(self, resource_id: str) -> Iterator[Member]:
        """Yield the members as they come from the upstream. Raises ResourceNotFound at the first."""
        request = read_request(self._exchange.path(resource_id), {"attributes": self.name})
        with self._client.stream(request) as (answer, pieces):
            if not answer.is_success:
                raise_refusal(answer, self._client.name, self._type, resource_id, {})
            try:
                for element in ListReader(pieces).elements(self.name):
                    member = self._reader.member(element)
                    if member is not None:
                        yield member
            except ValueError as exc:
                raise BadBackendAnswer(f"{self._client.name} sent an answer that is not SCIM") from exc

    def held(self, resource_id: str, member_ids: Sequence[str]) -> list[str] | None:
        """Return which of the ids are members, by a look-up of each; None where all must be read."""
        if len(member_ids) >= _MANY:
            return None
        path = self._type.path("id")
        assert path is not None
        this = BoundComparison(path, "eq", resource_id, resource_id)
        try:
            return [one for one in member_ids if self._holds(And((this, self._member_is(one))))]
        except NotHonoured:
            return None

    def _there(self, resource_id: str, member_ids: Sequence[str]) -> list[str]:
        held = self.held(resource_id, member_ids)
        if held is not None:
            return held
        present = {member.resource_id for member in self.members(resource_id)}
        return [one for one in member_ids if one in present]

    def _holds(self, node: Node) -> bool:
        found = self._search.matching(node, ["id"])
        if found is None:
            raise NotHonoured(frozenset())
        return any(True for _ in found)

    def _member_is(self, member_id: str) -> Node:
        return BoundComparison(
            self._value, "eq", member_id, comparison_key(self._value.leaf, member_id)
        )

    def holders(self, member_id: str) -> list[StoredResource]:
        """Return the resources that have this member, by name; without filters, all members are read."""
        try:
            found = self._search.matching(self._member_is(member_id), naming(self._type))
            if found is not None:
                return list(found)
        except NotHonoured as refusal:
            for what in refusal.what:
                self._known().refuse(what)
        return [
            one
            for one in self.all_holders()
            if any(m.resource_id == member_id for m in self.members(one.id))
        ]

    def all_holders(self) -> Iterator[StoredResource]:
        """Yield every resource that may have members, by name."""
        any_at_all = BoundPresence(AttributePath(self._value.attribute))
        try:
            found = self._search.matching(any_at_all, naming(self._type))
            if found is not None:
                yield from found
                return
        except NotHonoured as refusal:
            for what in refusal.what:
                self._known().refuse(what)
        yield from self._search.scan()

    def some(self, type_name: str) -> Iterator[Member]:
        """Yield members of one type: those of one resource that has any."""
        for holder in self.all_holders():
            its = (member for member in self.members(holder.id) if member.resource_type == type_name)
            first = next(its, None)
            if first is not None:
                yield first
                return

    # -- changing

    def change(self, resource_id: str, add: Iterable[Member], remove: Iterable[Member]) -> bool:
        """Add and remove members and return whether the upstream made a new version of it.

        Raises OutcomeUnknown if the upstream refuses a request after it has accepted another one.
        """
        # By their ids, which a service provider gives once, whatever the type (RFC 7643 section 3.1).
        joining, leaving = list(add), list(dict.fromkeys(member.resource_id for member in remove))
        before = self._exchange.current(resource_id)
        if not joining and not leaving:
            return False
        accepted: list[Upstream] = []
        try:
            after = self._changed(before, joining, leaving, accepted)
        except _REFUSALS as refusal:
            if not accepted:
                raise
            raise OutcomeUnknown(
                f"{self._client.name} refused a part of the changes of members after others: {refusal}"
            ) from refusal
        return after.stored.version != before.stored.version

    def _changed(
        self, before: Upstream, joining: list[Member], leaving: list[str], accepted: list[Upstream]
    ) -> Upstream:
        """Return the resource after the change; `accepted` grows by its states in between."""
        abilities = self._known()
        if abilities.patch and abilities.can("PATCH"):
            try:
                return self._patched(before, joining, leaving, accepted)
            except UnsupportedByBackend:
                if not abilities.can("PUT"):
                    raise
        return self._rewritten(before, joining, leaving)

    def _patched(
        self, before: Upstream, joining: list[Member], leaving: list[str], accepted: list[Upstream]
    ) -> Upstream:
        try:
            return self._sent(before, [*leaving, *joining], accepted)
        except ValueRefused as refusal:
            if refusal.scim_type not in ("noTarget", "invalidPath") or not leaving:
                raise
        # Some refuse to remove what is not there.
        return self._sent(before, [*self._there(before.stored.id, leaving), *joining], accepted)

    def _sent(self, before: Upstream, changes: list[Member | str], accepted: list[Upstream]) -> Upstream:
        """Send changes, in few requests where the upstream does not refuse so many at once."""
        abilities = self._known()
        if abilities.can(_MANY_AT_ONCE):
            try:
                return self._in_parts(before, changes, _CHANGES, accepted)
            except ValueRefused as refusal:
                is_number = refusal.scim_type in _ABOUT_NUMBER and len(changes) > _FEW_CHANGES
                if accepted or not is_number:
                    raise
        # The number was not the reason if so few are refused too.
        after = self._in_parts(before, changes[:_FEW_CHANGES], _FEW_CHANGES, accepted)
        if len(changes) > _FEW_CHANGES:
            abilities.refuse(_MANY_AT_ONCE)
        return self._in_parts(after, changes[_FEW_CHANGES:], _FEW_CHANGES, accepted)

    def _in_parts(
        self, before: Upstream, changes: list[Member | str], size: int, accepted: list[Upstream]
    ) -> Upstream:
        after = before
        for batch in batches(changes, size):
            with after_write(accepted):
                after = self._exchange.patch(before.stored.id, self._operations(batch), None, {})
            accepted.append(after)
        return after

    def _operations(self, changes: Sequence[Member | str]) -> list[dict[str, Any]]:
        """Return the operations by which members join, and those with one of the ids leave."""
        leaving = [change for change in changes if isinstance(change, str)]
        joining = [change for change in changes if not isinstance(change, str)]
        operations: list[dict[str, Any]] = [
            {"op": "remove", "path": f"{self.name}[{_selected(member_id)}]"} for member_id in leaving
        ]
        if joining:
            value = [self._element(member) for member in joining]
            operations.append({"op": "add", "path": self.name, "value": value})
        return operations

    def _element(self, member: Member) -> dict[str, str]:
        """Return a member to send, its display only where that is not the member's own."""
        element = {"value": member.resource_id, "type": member.resource_type}
        own = self._exchange.session.remembered.kept.get(("display", member.resource_id))
        return {**element, "display": member.display} if member.display and member.display != own else element

    def _rewritten(self, before: Upstream, joining: list[Member], leaving: list[str]) -> Upstream:
        """Change members where only the whole can be sent."""
        stored = before.stored
        gone = set(leaving)
        kept = [
            element
            for element in self._exchange.links(stored.id).get(self.name, [])
            if (member := self._reader.member(element)) is not None and member.resource_id not in gone
        ]
        had = {member.resource_id for element in kept if (member := self._reader.member(element))}
        added = [self._element(member) for member in joining if member.resource_id not in had]
        document = {**self._reader.written(stored, before), self.name: [*kept, *added]}
        return self._exchange.put(stored.id, document, before.tag)


def _selected(member_id: str) -> str:
    """Return the filter in brackets that selects the member with this id."""
    return render(Comparison(Path("value"), "eq", member_id))
