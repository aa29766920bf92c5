"""How a backend says which part of a filter it answers itself: the rest is evaluated here."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Node,
    Not,
    Or,
    all_of,
)

Native = TypeVar("Native")


class NotPushable(Exception):
    """The backend cannot express this node exactly."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"not expressible: {node!r}")


class FilterCompiler(Generic[Native]):
    """Turns a bound filter into a backend's own query, as far as that can express it exactly.

    A subclass overrides a method per kind of node it can express; what it does not override, or
    raises NotPushable for, is left to evaluation.
    """

    def split(self, node: Node) -> tuple[Native | None, Node | None]:
        """Return (native query, residual filter); either may be None, not both.

        What matches `node` is what the native query finds and the residual lets through: the
        native part may find more, never less.
        """
        operands = node.operands if isinstance(node, And) else (node,)
        natives: list[Native] = []
        residual: list[Node] = []
        for operand in operands:
            try:
                natives.append(self.compile(operand))
            except NotPushable:
                residual.append(operand)
        native = None
        if natives:
            native = natives[0] if len(natives) == 1 else self.conjunction(natives)
        return native, all_of(residual) if residual else None

    def compile(self, node: Node) -> Native:
        """Return the native form of all of `node`. Raises NotPushable."""
        match node:
            case BoundComparison():
                return self.comparison(node)
            case BoundPresence():
                return self.presence(node)
            case BoundValuePath():
                return self.value_path(node)
            case And(operands=operands):
                return self.conjunction([self.compile(operand) for operand in operands])
            case Or(operands=operands):
                return self.disjunction([self.compile(operand) for operand in operands])
            case Not(operand=operand):
                return self.negation(self.compile(operand))
        raise NotPushable(node)

    def comparison(self, node: BoundComparison) -> Native:
        """Return the native form of a comparison."""
        raise NotPushable(node)

    def presence(self, node: BoundPresence) -> Native:
        """Return the native form of a presence test."""
        raise NotPushable(node)

    def value_path(self, node: BoundValuePath) -> Native:
        """Return the native form of a value path."""
        raise NotPushable(node)

    def conjunction(self, natives: Sequence[Native]) -> Native:
        """Return what matches all of `natives`."""
        raise TypeError(f"{type(self).__name__} does not join queries")

    def disjunction(self, natives: Sequence[Native]) -> Native:
        """Return what matches any of `natives`."""
        raise TypeError(f"{type(self).__name__} does not join queries")

    def negation(self, native: Native) -> Native:
        """Return what does not match `native`."""
        raise TypeError(f"{type(self).__name__} does not negate queries")
