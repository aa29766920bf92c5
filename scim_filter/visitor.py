"""Dispatch by the class of a node (RFC 7644 section 3.4.2.2): one method for each kind."""

from typing import Generic, NoReturn, TypeVar

from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Comparison,
    Node,
    Not,
    Or,
    Presence,
    ValuePath,
)

Result = TypeVar("Result")


class Visitor(Generic[Result]):
    """Takes a tree apart; a subclass says what becomes of the kinds of node that it knows.

    A kind it does not know is a mistake of the program and raises TypeError: parsed and bound
    nodes are different kinds, so that a filter nobody resolved is never evaluated.
    """

    def visit(self, node: Node) -> Result:
        """Return what the method for the class of `node` makes of it."""
        match node:
            case Comparison():
                return self.comparison(node)
            case Presence():
                return self.presence(node)
            case ValuePath():
                return self.value_path(node)
            case BoundComparison():
                return self.bound_comparison(node)
            case BoundPresence():
                return self.bound_presence(node)
            case BoundValuePath():
                return self.bound_value_path(node)
            case And():
                return self.conjunction(node)
            case Or():
                return self.disjunction(node)
            case Not():
                return self.negation(node)

    def comparison(self, node: Comparison) -> Result:
        self._unknown(node)

    def presence(self, node: Presence) -> Result:
        self._unknown(node)

    def value_path(self, node: ValuePath) -> Result:
        self._unknown(node)

    def bound_comparison(self, node: BoundComparison) -> Result:
        self._unknown(node)

    def bound_presence(self, node: BoundPresence) -> Result:
        self._unknown(node)

    def bound_value_path(self, node: BoundValuePath) -> Result:
        self._unknown(node)

    def conjunction(self, node: And) -> Result:
        self._unknown(node)

    def disjunction(self, node: Or) -> Result:
        self._unknown(node)

    def negation(self, node: Not) -> Result:
        self._unknown(node)

    def _unknown(self, node: Node) -> NoReturn:
        raise TypeError(f"{type(self).__name__} does not take {type(node).__name__}")
