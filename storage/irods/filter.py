"""From a filter to queries of the catalogue that find at least what matches (RFC 7644 section 3.4.2.2).

What they find is read and judged by the whole filter: GenQuery cannot look at two pieces of metadata of
one account at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from irods.column import Like
from irods.models import Group, UserMeta

from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node, all_of
from storage.irods.find import Accounts
from storage.irods.form import KEY, key_avu, key_prefix
from storage.irods.kinds import Kind, number_of
from storage.irods.links import Members
from storage.irods.names import is_plain


@dataclass(frozen=True)
class Lookup:
    """A way to the ids of accounts; that of the lowest rank finds the fewest."""

    rank: int
    ids: Callable[[], set[int]]


class LookupCompiler(FilterCompiler[Lookup]):
    """Finds look-ups for the resources of one kind; what they find includes everything that matches."""

    def __init__(self, kind: Kind, accounts: Accounts, members: Members) -> None:
        self._kind = kind
        self._accounts = accounts
        self._members = members

    def lookup(self, node: Node) -> Lookup | None:
        """Return the best way to what matches `node`, or None when everything must be read."""
        native, _ = self.split(node)
        return native

    def comparison(self, node: BoundComparison) -> Lookup:
        path, resource_type = node.path, self._kind.resource_type
        if path.text == "id" and node.operator == "eq":
            return Lookup(0, lambda: {number for i in [node.key] if (number := number_of(i)) is not None})
        if path.attribute == resource_type.members:
            member = self.linked_id(node)
            return Lookup(1, lambda: self._having(member))
        if path.attribute == resource_type.memberships:
            group = self.linked_id(node)
            return Lookup(2, lambda: self._within(group))
        if path.text not in self._kind.keys.paths or node.key == "":
            raise NotPushable(node)
        if node.operator == "eq":
            return Lookup(1, lambda: self._equal(node))
        if node.operator == "sw":
            return Lookup(3, lambda: self._beginning(node))
        raise NotPushable(node)

    def presence(self, node: BoundPresence) -> Lookup:
        text = node.path.text
        # Accounts without a document have their name all the same.
        if text not in self._kind.keys.paths or text == self._kind.naming:
            raise NotPushable(node)
        return Lookup(4, lambda: self._accounts.holding(self._kind, UserMeta.name == KEY + text))

    def value_path(self, node: BoundValuePath) -> Lookup:
        # An element that satisfies all of the filter satisfies each of its parts.
        inner = node.filter.operands if isinstance(node.filter, And) else (node.filter,)
        found = self.lookup(all_of(list(inner)))
        if found is None:
            raise NotPushable(node)
        return found

    def conjunction(self, natives: Sequence[Lookup]) -> Lookup:
        return min(natives, key=lambda native: native.rank)

    def disjunction(self, natives: Sequence[Lookup]) -> Lookup:
        rank = max(native.rank for native in natives)
        return Lookup(rank, lambda: set().union(*(native.ids() for native in natives)))

    def _equal(self, node: BoundComparison) -> set[int]:
        key = key_avu(node.path, node.key)
        wanted = (UserMeta.name == key.attribute, UserMeta.value == key.value)
        found = self._accounts.holding(self._kind, *wanted)
        if node.path.text == self._kind.naming and is_plain(node.key):
            found |= {account.number for account in self._accounts.named(node.key)}
        return found

    def _beginning(self, node: BoundComparison) -> set[int]:
        # `_` and `%` in it stand for anything: that finds more, not less.
        like = Like(UserMeta.value, f"{key_prefix(node.key)}%")
        found = self._accounts.holding(self._kind, UserMeta.name == KEY + node.path.text, like)
        if node.path.text == self._kind.naming and is_plain(node.key):
            found |= self._accounts.beginning(self._kind, node.key)
        return found

    def _having(self, member_id: str) -> set[int]:
        number = number_of(member_id)
        return set() if number is None else self._members.groups_with(number)

    def _within(self, group_id: str) -> set[int]:
        number = number_of(group_id)
        groups = set() if number is None else self._members.below([number])
        return set().union(*(self._accounts.holding(self._kind, Group.id == group) for group in groups))
