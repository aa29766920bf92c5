"""Which part of a filter the upstream answers (RFC 7644 section 3.4.2.2)."""

from collections.abc import Iterator, Sequence

from schema.resource_type import AttributePath, ResourceType
from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Node,
    Not,
    Or,
    all_of,
    any_of,
)
from scim_filter.render import render
from storage.forward.abilities import Abilities


class ForwardFilterCompiler(FilterCompiler[Node]):
    """Leaves to evaluation what the upstream refused before, and what means something else there.

    Locations and versions are not the upstream's, and of links to other resources only the ids are
    sure to be the same. Clients may see an upstream's own instants shortened to milliseconds.
    """

    def __init__(self, resource_type: ResourceType, abilities: Abilities) -> None:
        self._type = resource_type
        self._abilities = abilities

    def access(self, native: Node) -> str:
        return "a filter of the upstream"

    def shown(self, native: Node) -> str:
        return render(native)

    def comparison(self, node: BoundComparison) -> Node:
        self._check(node, node.path, node.operator)
        if isinstance(node.value, str):
            try:
                node.value.encode()
            except UnicodeEncodeError:
                # A lone surrogate cannot be sent.
                raise NotPushable(node) from None
        return node

    def presence(self, node: BoundPresence) -> Node:
        self._check(node, node.path, "pr")
        return node

    def value_path(self, node: BoundValuePath) -> Node:
        # Few know the `value` of simple values: their refusal would be taken for one of all brackets.
        if node.path.attribute.is_complex and self._abilities.can("clause:[]"):
            self.compile(node.filter)
            return node
        raise NotPushable(node)

    def conjunction(self, natives: Sequence[Node]) -> Node:
        return all_of(list(natives))

    def disjunction(self, natives: Sequence[Node]) -> Node:
        return any_of(list(natives))

    def negation(self, native: Node) -> Node:
        return Not(native)

    def _check(self, node: Node, path: AttributePath, operator: str) -> None:
        if path.attribute in (self._type.members, self._type.memberships):
            self._check_link(node, path, operator)
        if path.attribute.name == "meta" and path.leaf.name not in ("created", "lastModified"):
            raise NotPushable(node)
        if not self._abilities.can(f"clause:{path.text} {operator}"):
            raise NotPushable(node)

    def _check_link(self, node: Node, path: AttributePath, operator: str) -> None:
        # Ids are case-sensitive: where links are not, the upstream may see them otherwise.
        by_id = path.leaf.name == "value" and operator == "eq" and path.leaf.case_exact
        any_at_all = path.sub_attribute is None and operator == "pr"
        proved = self._abilities.can(f"clause:{path.attribute.name}.value eq")
        if path.attribute == self._type.memberships:
            proved = proved and bool(self._abilities.lists_memberships)
        if not proved or not (by_id or any_at_all):
            raise NotPushable(node)


def clauses(node: Node) -> Iterator[str]:
    """Yield the name of each kind of clause in a filter, as `Abilities.refused` has it."""
    match node:
        case BoundComparison(path=path, operator=operator):
            yield f"clause:{path.text} {operator}"
        case BoundPresence(path=path):
            yield f"clause:{path.text} pr"
        case BoundValuePath(filter=inner):
            yield "clause:[]"
            yield from clauses(inner)
        case Not(operand=inner):
            yield from clauses(inner)
        case And(operands=operands) | Or(operands=operands):
            for operand in operands:
                yield from clauses(operand)
