"""From a filter to queries of the catalogue that find at least all matches (RFC 7644 section 3.4.2.2).

GenQuery cannot compare two pieces of metadata of one account at once, so the whole filter is evaluated on
the resources that a query finds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from irods.column import In, Like
from irods.models import Group, User, UserMeta

from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node, all_of
from storage.irods.find import Accounts
from storage.irods.form import KEY, Kind, is_plain, key_prefix, key_text, number_of, numbers_of


@dataclass(frozen=True)
class Lookup:
    """A query for ids of accounts; among several, the lowest rank finds the fewest."""

    rank: int
    ids: Callable[[], set[int]]


class LookupCompiler(FilterCompiler[Lookup]):
    """Finds the look-up for a filter on the resources of one kind: it finds every match, and maybe others."""

    is_exact = False

    def __init__(self, kind: Kind, accounts: Accounts) -> None:
        self._kind = kind
        self._accounts = accounts

    def access(self, native: Lookup) -> str:
        return "a query of the catalogue, if no other part finds fewer accounts"

    def lookup(self, node: Node) -> Lookup | None:
        """Return the best look-up for `node`, or None when everything must be read."""
        native, _ = self.split(node)
        return native

    def comparison(self, node: BoundComparison) -> Lookup:
        path, resource_type = node.path, self._kind.resource_type
        if path.text == "id" and node.operator == "eq":
            return Lookup(0, lambda: set(numbers_of([node.key])))
        if path.attribute == resource_type.members:
            member = self.linked_id(node)
            return Lookup(1, lambda: self._having(member))
        if path.attribute == resource_type.memberships:
            group = self.linked_id(node)
            return Lookup(2, lambda: self._within(group))
        if path.text not in self._kind.paths or node.key == "":
            raise NotPushable(node)
        if node.operator == "eq":
            return Lookup(1, lambda: self._equal(node))
        # Sealed keys compare for equality only.
        if node.operator == "sw" and not self._kind.seal.is_on:
            return Lookup(3, lambda: self._beginning(node))
        raise NotPushable(node)

    def presence(self, node: BoundPresence) -> Lookup:
        text = node.path.text
        # Accounts without a document have a name, but no key for it.
        if text not in self._kind.paths or text == self._kind.naming:
            raise NotPushable(node)
        return Lookup(4, lambda: self._accounts.matching(self._kind, UserMeta.name == KEY + text))

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
        path = node.path.text
        keys = In(UserMeta.value, self._kind.seal.digests(path, key_text(node.key)))
        found = self._accounts.matching(self._kind, UserMeta.name == KEY + path, keys)
        if node.path.text == self._kind.naming and is_plain(node.key):
            found |= {account.number for account in self._accounts.named(node.key)}
        return found

    def _beginning(self, node: BoundComparison) -> set[int]:
        # `_` and `%` in the value match any text: the query finds more, not less.
        like = Like(UserMeta.value, f"{key_prefix(node.key)}%")
        found = self._accounts.matching(self._kind, UserMeta.name == KEY + node.path.text, like)
        if node.path.text == self._kind.naming and is_plain(node.key):
            name = Like(User.name, f"{node.key}%")
            found |= self._accounts.matching(self._kind, name, ignore_case=True)
        return found

    def _having(self, member_id: str) -> set[int]:
        numbers = numbers_of([member_id])
        users, groups = self._accounts.groups_of_users(numbers), self._accounts.groups_of_groups(numbers)
        return set().union(*users.values(), *groups.values())

    def _within(self, group_id: str) -> set[int]:
        number = number_of(group_id)
        groups = set() if number is None else self._accounts.with_nested(number)
        return set().union(*(self._accounts.matching(self._kind, Group.id == group) for group in groups))
