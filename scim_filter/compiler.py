"""Which part of a filter (RFC 7644 section 3.4.2.2) a backend answers itself; the rest is evaluated."""

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Node,
    Not,
    Or,
    all_of,
    extent,
)

Native = TypeVar("Native")


class NotPushable(Exception):
    """The backend cannot express `node`, or what is being made of it, exactly."""

    def __init__(self, node: Node | None = None) -> None:
        super().__init__(f"not expressible: {node!r}" if node is not None else "not expressible")
        self.node = node


class NotIndexed(NotPushable):
    """The backend could express `node` if it had an index over the attribute `path`."""

    def __init__(self, node: Node, path: str) -> None:
        super().__init__(node)
        self.path = path


class FilterCompiler(Generic[Native]):
    """Turns a bound filter into a backend's own query, as far as that can express it exactly.

    A subclass overrides a method per kind of node it can express; what it does not override, or
    raises NotPushable for, is left to evaluation, and so is what is larger than a backend takes.
    """

    # Nodes within each other, and comparisons and presence tests: every backend takes so many,
    # whatever they are (SQLite has the least: its parser has a stack of 100, and no more than 500
    # SELECTs make a union).
    most_levels: ClassVar[int] = 6
    most_terms: ClassVar[int] = 400
    # Whether a native query finds nothing but matches.
    is_exact: ClassVar[bool] = True

    def split(self, node: Node) -> tuple[Native | None, Node | None]:
        """Return (native query, residual filter); either may be None, not both.

        What matches `node` is what the native query finds and the residual lets through: the
        native part may find more, never less. Only an `and` is cut; an `or` with a branch that
        cannot be expressed is residual as a whole.
        """
        operands = node.operands if isinstance(node, And) else (node,)
        pushed: dict[int, Native] = {}
        left = self.most_terms
        for position, operand in enumerate(operands):
            levels, terms = extent(operand)
            if levels > self.most_levels or terms > left:
                continue
            try:
                pushed[position] = self.compile(operand)
            except NotPushable:
                wider = self.wider(operand)
                if wider is None:
                    continue
                # Not at its position: the operand itself remains.
                pushed[-1 - position] = wider
            left -= terms
        native = None
        if pushed:
            native, pushed = self._joined(pushed)
        residual = [operand for position, operand in enumerate(operands) if position not in pushed]
        return native, all_of(residual) if residual else None

    def _joined(self, pushed: dict[int, Native]) -> tuple[Native, dict[int, Native]]:
        """Return one query and the parts that are in it: the first alone if they cannot be joined."""
        (position, first), *others = pushed.items()
        if not others:
            return first, pushed
        try:
            return self.conjunction(list(pushed.values())), pushed
        except NotPushable:
            return first, {position: first}

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

    def wider(self, node: Node) -> Native | None:
        """Return a query that finds what matches `node` and more, None where there is none.

        `node` cannot be expressed exactly.
        """
        return None

    @staticmethod
    def linked_id(node: BoundComparison) -> str:
        """Return the id of the one resource that a comparison of a link names.

        Raises NotPushable for other comparisons. Where the `value` of links is defined without
        caseExact, several ids may be meant, for ids themselves are case-sensitive.
        """
        leaf = node.path.leaf
        if node.operator != "eq" or leaf.name != "value" or not leaf.case_exact:
            raise NotPushable(node)
        return node.key

    def access(self, native: Native) -> str:
        """Return for people how the backend finds what matches, without a value of the filter."""
        return ""

    def shown(self, native: Native) -> str:
        """Return the native query as text for people, "" where it has none."""
        return ""

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
        raise NotPushable

    def disjunction(self, natives: Sequence[Native]) -> Native:
        """Return what matches any of `natives`."""
        raise NotPushable

    def negation(self, native: Native) -> Native:
        """Return what does not match `native`, resources without the attribute included."""
        raise NotPushable
