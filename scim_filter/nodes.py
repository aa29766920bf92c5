"""The syntax tree of a filter (RFC 7644 section 3.4.2.2), as parsed and as bound to a resource type.

Nodes are frozen: they compare, hash, and cannot be changed by who compiles them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from schema.resource_type import AttributePath

Literal = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Path:
    """An attribute path as written, and where: `position` counts characters from 1."""

    text: str
    position: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`; the operator is in lower case."""

    path: Path
    operator: str
    value: Literal
    # To Python 1, 1.0 and True are equal, but they are different literals.
    _kind: type = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kind", type(self.value))


@dataclass(frozen=True, slots=True)
class Presence:
    """`path pr`."""

    path: Path


@dataclass(frozen=True, slots=True)
class ValuePath:
    """`path[filter]`: some element of the attribute satisfies the whole filter."""

    path: Path
    filter: "Node"


@dataclass(frozen=True, slots=True)
class BoundComparison:
    """A comparison whose path is known; `key` stands for the value (`schema.values.comparison_key`)."""

    path: AttributePath
    operator: str
    value: Literal
    key: str


@dataclass(frozen=True, slots=True)
class BoundPresence:
    """A presence test whose path is known."""

    path: AttributePath


@dataclass(frozen=True, slots=True)
class BoundValuePath:
    """A value path whose path is known; the paths in `filter` begin at the resource as well."""

    path: AttributePath
    filter: "Node"


@dataclass(frozen=True, slots=True)
class And:
    """All operands hold; none of them is an And."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one operand holds; none of them is an Or."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The operand does not hold."""

    operand: "Node"


Node = (
    Comparison | Presence | ValuePath | BoundComparison | BoundPresence | BoundValuePath | And | Or | Not
)
BoundFilter = BoundComparison | BoundPresence | BoundValuePath | And | Or | Not


@dataclass(frozen=True, slots=True)
class PatchPath:
    """The path of a PATCH operation as parsed (RFC 7644 section 3.5.2): `path[filter].sub`."""

    path: Path
    filter: Node | None = None
    sub_attribute: str | None = None


@dataclass(frozen=True, slots=True)
class BoundPatchPath:
    """The path of a PATCH operation bound to a resource type.

    `path` names the attribute and, whether or not there is a filter, the sub-attribute.
    """

    path: AttributePath
    filter: Node | None = None


def all_of(operands: list[Node]) -> Node:
    """Return the conjunction of `operands`, those of inner conjunctions taken in."""
    flat: list[Node] = []
    for operand in operands:
        flat += operand.operands if isinstance(operand, And) else (operand,)
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(operands: list[Node]) -> Node:
    """Return the disjunction of `operands`, those of inner disjunctions taken in."""
    flat: list[Node] = []
    for operand in operands:
        flat += operand.operands if isinstance(operand, Or) else (operand,)
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def extent(node: Node) -> tuple[int, int]:
    """Return how many nodes are within each other, and how many comparisons and presence tests there are."""
    match node:
        case BoundValuePath(filter=inner) | ValuePath(filter=inner) | Not(operand=inner):
            levels, terms = extent(inner)
            return levels + 1, terms
        case And(operands=operands) | Or(operands=operands):
            parts = list(map(extent, operands))
            return 1 + max(levels for levels, _ in parts), sum(terms for _, terms in parts)
    return 1, 1


def filter_paths(node: Node) -> Iterator[AttributePath]:
    """Yield the path of every comparison and presence test in a bound filter."""
    match node:
        case BoundComparison(path=path) | BoundPresence(path=path):
            yield path
        case BoundValuePath(filter=inner) | Not(operand=inner):
            yield from filter_paths(inner)
        case And(operands=operands) | Or(operands=operands):
            for operand in operands:
                yield from filter_paths(operand)
