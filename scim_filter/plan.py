"""Why a backend answers a part of a filter, or leaves it to evaluation (RFC 7644 section 3.4.2.2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scim_filter.compiler import FilterCompiler, Native, NotIndexed, NotPushable
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node, Not, Or, extent

STORAGE: Final = "storage"
"""The backend answers the part exactly."""
BOTH: Final = "storage and server"
"""The backend finds all that match and perhaps more; the server evaluates the part on these."""
SERVER: Final = "server"
"""The server alone evaluates the part."""


@dataclass(frozen=True)
class Part:
    """A part of a filter, and what answers it: STORAGE, BOTH or SERVER.

    `access` says how the backend finds it, `reason` why the backend does not; neither holds a value of the
    filter. `query` is the backend's own query, with values. `unindexed` is the path of an attribute whose
    index would let the backend answer. `parts` are those of an `and`, an `or` or a `not`.
    """

    node: Node
    by: str
    access: str = ""
    reason: str = ""
    query: str = ""
    unindexed: str | None = None
    parts: "tuple[Part, ...]" = ()

    def missing(self) -> Iterator[str]:
        """Yield the paths without an index in this part and in those within it, some of them twice."""
        if self.unindexed is not None:
            yield self.unindexed
        for part in self.parts:
            yield from part.missing()


@dataclass(frozen=True)
class Plan:
    """The parts of a filter, and the path whose index would let the backend sort, None for none."""

    parts: tuple[Part, ...] = ()
    unindexed_order: str | None = None

    @property
    def missing(self) -> list[str]:
        """The paths whose index would help, each once."""
        paths = [path for part in self.parts for path in part.missing()]
        if self.unindexed_order is not None:
            paths.append(self.unindexed_order)
        return list(dict.fromkeys(paths))


def parts_of(compiler: FilterCompiler[Native], node: Node | None) -> tuple[Part, ...]:
    """Return what becomes of each operand of an `and`, or of the filter as a whole.

    A compiler that asks the backend asks again. It raises as the compiler does.
    """
    if node is None:
        return ()
    residual = compiler.split(node)[1]
    evaluated = {id(operand) for operand in _operands(residual)} if residual is not None else set()
    return tuple(
        _evaluated(compiler, operand) if id(operand) in evaluated else _part(compiler, operand)
        for operand in _operands(node)
    )


def listed(node: Node | None, reason: str) -> tuple[Part, ...]:
    """Return the parts of a filter that the server evaluates on all resources."""
    return tuple(Part(operand, SERVER, reason=reason) for operand in _operands(node)) if node else ()


def chosen(node: Node, operand: Node, by: str, access: str) -> tuple[Part, ...]:
    """Return the parts of a filter of which the backend takes one operand alone."""
    reason = "the storage looks up another part alone"
    return tuple(
        Part(one, by, access) if one is operand else Part(one, SERVER, reason=reason)
        for one in _operands(node)
    )


def _operands(node: Node) -> Sequence[Node]:
    return node.operands if isinstance(node, And) else (node,)


def _part(compiler: FilterCompiler[Native], node: Node) -> Part:
    """Return what becomes of a part that the backend may express."""
    try:
        native = compiler.compile(node)
    except NotPushable as exc:
        return _refused(compiler, node, exc)
    by = STORAGE if compiler.is_exact else BOTH
    access, query = compiler.access(native), compiler.shown(native)
    return Part(node, by, access, query=query, parts=_inner(compiler, node))


def _evaluated(compiler: FilterCompiler[Native], node: Node) -> Part:
    """Return what becomes of a part that a compiler has left to evaluation."""
    levels, terms = extent(node)
    if levels > compiler.most_levels or terms > compiler.most_terms:
        limits = f"{compiler.most_levels} levels and {compiler.most_terms} comparisons"
        return Part(node, SERVER, reason=f"the storage takes at most {limits}")
    part = _part(compiler, node)
    if part.by == SERVER or (part.by == BOTH and compiler.is_exact):
        # Narrowed, and left to evaluation all the same.
        return part
    return Part(node, SERVER, reason="the storage does not join it with the other parts")


def _refused(compiler: FilterCompiler[Native], node: Node, problem: NotPushable) -> Part:
    inner, wider = _inner(compiler, node), compiler.wider(node)
    unindexed = problem.path if isinstance(problem, NotIndexed) else None
    if wider is not None:
        reason = "" if unindexed is None else f"{unindexed} has no index"
        access, query = compiler.access(wider), compiler.shown(wider)
        return Part(node, BOTH, access, reason, query, unindexed, inner)
    if any(part.by == SERVER for part in inner):
        return Part(node, SERVER, reason="the storage answers all of it or nothing", parts=inner)
    if unindexed is not None:
        return Part(node, SERVER, reason=f"{unindexed} has no index", unindexed=unindexed)
    return Part(node, SERVER, reason=f"the storage has no query for {_kind(node)}", parts=inner)


def _inner(compiler: FilterCompiler[Native], node: Node) -> tuple[Part, ...]:
    match node:
        case And(operands=operands) | Or(operands=operands):
            return tuple(_part(compiler, operand) for operand in operands)
        case Not(operand=operand):
            return (_part(compiler, operand),)
    return ()


def _kind(node: Node) -> str:
    match node:
        case BoundComparison(path=path, operator=operator):
            return f"{path.text} {operator}"
        case BoundPresence(path=path):
            return f"{path.text} pr"
        case BoundValuePath(path=path):
            return f"this condition on {path.text}"
    return "it"
