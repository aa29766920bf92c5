"""Binding a filter to several resource types at once (RFC 7644 section 3.4.2.1).

To a type that does not have an attribute, it is an attribute without a value.
"""

from collections.abc import Callable, Iterator, Sequence

from schema.errors import InvalidFilter
from schema.leniency import STRICT, Leniency
from schema.resource_type import ResourceType
from scim_filter.nodes import And, Comparison, Node, Not, Or, Presence, ValuePath
from scim_filter.resolve import resolve
from scim_filter.visitor import Visitor


def resolve_each(
    node: Node, resource_types: Sequence[ResourceType], leniency: Leniency = STRICT
) -> list[Node | bool]:
    """Return `node` bound to each of `resource_types`, True or False where it holds for all or for none.

    Raises InvalidFilter for an attribute that none of them has, or that none of them can compare so.
    """
    bound = [_bound(node, one, leniency) for one in resource_types]
    if all(one is None for one in bound):
        for leaf in _Leaves().visit(node):
            if all(_bound(leaf, one, leniency) is None for one in resource_types):
                # For its text.
                resolve(leaf, resource_types[-1], leniency)
    return [
        _known_part(node, resource_type, leniency) if found is None else found
        for found, resource_type in zip(bound, resource_types, strict=True)
    ]


def _bound(node: Node, resource_type: ResourceType, leniency: Leniency) -> Node | None:
    try:
        return resolve(node, resource_type, leniency)
    except InvalidFilter:
        return None


def _known_part(node: Node, resource_type: ResourceType, leniency: Leniency) -> Node | bool:
    """Return what is left of a filter when the attributes that a type does not have are without a value."""
    part = _KnownPart(lambda leaf: _bound(leaf, resource_type, leniency)).visit(node)
    return part if isinstance(part, bool) else resolve(part, resource_type, leniency)


class _Leaves(Visitor[Iterator[Node]]):
    """Yields the parts of a filter that name attributes."""

    def comparison(self, node: Comparison) -> Iterator[Node]:
        yield node

    def presence(self, node: Presence) -> Iterator[Node]:
        yield node

    def value_path(self, node: ValuePath) -> Iterator[Node]:
        yield node

    def conjunction(self, node: And) -> Iterator[Node]:
        for operand in node.operands:
            yield from self.visit(operand)

    def disjunction(self, node: Or) -> Iterator[Node]:
        for operand in node.operands:
            yield from self.visit(operand)

    def negation(self, node: Not) -> Iterator[Node]:
        yield from self.visit(node.operand)


class _KnownPart(Visitor[Node | bool]):
    """Leaves out what `bound` returns None for, as if the attribute had no value."""

    def __init__(self, bound: Callable[[Node], Node | None]) -> None:
        self._bound = bound

    def comparison(self, node: Comparison) -> Node | bool:
        # As `resolve` has it, `ne` holds for what is absent, and null is what is absent.
        of_nothing = node.operator == ("eq" if node.value is None else "ne")
        return of_nothing if self._bound(node) is None else node

    def presence(self, node: Presence) -> Node | bool:
        return False if self._bound(node) is None else node

    def value_path(self, node: ValuePath) -> Node | bool:
        return False if self._bound(node) is None else node

    def conjunction(self, node: And) -> Node | bool:
        operands = [part for part in map(self.visit, node.operands) if part is not True]
        if False in operands:
            return False
        return _joined(And, operands) if operands else True

    def disjunction(self, node: Or) -> Node | bool:
        operands = [part for part in map(self.visit, node.operands) if part is not False]
        if True in operands:
            return True
        return _joined(Or, operands) if operands else False

    def negation(self, node: Not) -> Node | bool:
        part = self.visit(node.operand)
        return not part if isinstance(part, bool) else Not(part)


def _joined(kind: type[And] | type[Or], operands: Sequence[Node | bool]) -> Node:
    nodes = tuple(one for one in operands if not isinstance(one, bool))
    return nodes[0] if len(nodes) == 1 else kind(nodes)
