"""From a tree back to text, for logs and for forwarding a filter to another service provider."""

import json

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


def render(node: Node) -> str:
    """Return a filter whose tree is `node`, in its shortest spelling."""
    match node:
        case Comparison() | BoundComparison():
            literal = json.dumps(node.value, ensure_ascii=False)
            return f"{node.path.text} {node.operator} {literal}"
        case Presence() | BoundPresence():
            return f"{node.path.text} pr"
        case ValuePath(path=path, filter=inner):
            return f"{path.text}[{render(inner)}]"
        case BoundValuePath(path=path, filter=inner):
            # Within brackets a sub-attribute stands alone.
            return f"{path.text}[{render(_within(inner))}]"
        case And(operands=operands):
            return " and ".join(f"({render(o)})" if isinstance(o, Or) else render(o) for o in operands)
        case Or(operands=operands):
            return " or ".join(map(render, operands))
        case Not(operand=operand):
            return f"not ({render(operand)})"


def _within(node: Node) -> Node:
    from scim_filter.nodes import Path

    match node:
        case BoundComparison():
            return Comparison(Path(node.path.leaf.name), node.operator, node.value)
        case BoundPresence():
            return Presence(Path(node.path.leaf.name))
        case And(operands=operands):
            return And(tuple(map(_within, operands)))
        case Or(operands=operands):
            return Or(tuple(map(_within, operands)))
        case Not(operand=operand):
            return Not(_within(operand))
    return node
