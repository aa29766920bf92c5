"""What a filter means: the answer every backend has to agree with (RFC 7644 section 3.4.2.2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schema.attribute import Attribute
from schema.values import key_function
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Node,
    Not,
    Or,
)

Predicate = Callable[[Mapping[str, Any]], bool]

_TESTS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda found, wanted: found == wanted,
    "co": lambda found, wanted: wanted in found,
    "sw": lambda found, wanted: found.startswith(wanted),
    "ew": lambda found, wanted: found.endswith(wanted),
    "gt": lambda found, wanted: found > wanted,
    "ge": lambda found, wanted: found >= wanted,
    "lt": lambda found, wanted: found < wanted,
    "le": lambda found, wanted: found <= wanted,
}


def matches(node: Node, resource: Mapping[str, Any]) -> bool:
    """Return whether a canonical resource satisfies a bound filter."""
    return compile_predicate(node)(resource)


def compile_predicate(node: Node) -> Predicate:
    """Return the function behind `matches` for one bound filter.

    A comparison holds when any value of the attribute satisfies it; a value path, when one element
    satisfies all of it. Values that are not of the attribute's type satisfy no comparison.
    """
    match node:
        case BoundComparison(path=path):
            test = _value_test(node)
            return lambda resource: any(map(test, path.values(resource)))
        case BoundPresence(path=path):
            return lambda resource: any(map(is_present, path.values(resource)))
        case BoundValuePath(path=path, filter=inner):
            holds = compile_element_predicate(inner)
            return lambda resource: any(map(holds, path.elements(resource)))
    return _logical(node, compile_predicate)


def compile_element_predicate(node: Node) -> Callable[[Any], bool]:
    """Return a function that judges one element of a complex attribute by a filter in brackets."""
    match node:
        case BoundComparison(path=path):
            test, leaf = _value_test(node), path.leaf
            return lambda element: any(map(test, _sub_values(element, leaf)))
        case BoundPresence(path=path):
            leaf = path.leaf
            return lambda element: any(map(is_present, _sub_values(element, leaf)))
    return _logical(node, compile_element_predicate)


def select(node: Node, elements: Sequence[Any]) -> list[int]:
    """Return the positions of the elements that satisfy a bound filter in brackets."""
    holds = compile_element_predicate(node)
    return [position for position, element in enumerate(elements) if holds(element)]


def is_present(value: Any) -> bool:
    """Return whether a value counts for `pr`: not null, not empty, nor made of such values only."""
    if isinstance(value, Mapping):
        return any(map(is_present, value.values()))
    if isinstance(value, list):
        return any(map(is_present, value))
    return value is not None and value != ""


def _logical(node: Node, compiled: Callable[[Node], Callable[[Any], bool]]) -> Callable[[Any], bool]:
    match node:
        case And(operands=operands):
            every = [compiled(operand) for operand in operands]
            return lambda value: all(holds(value) for holds in every)
        case Or(operands=operands):
            some = [compiled(operand) for operand in operands]
            return lambda value: any(holds(value) for holds in some)
        case Not(operand=operand):
            holds = compiled(operand)
            return lambda value: not holds(value)
    raise TypeError(f"not a bound filter: {node!r}")


def _value_test(node: BoundComparison) -> Callable[[Any], bool]:
    key, test, wanted = key_function(node.path.leaf), _TESTS[node.operator], node.key

    def holds(value: Any) -> bool:
        try:
            return test(key(value), wanted)
        except (TypeError, ValueError, AttributeError):
            return False

    return holds


def _sub_values(element: Any, leaf: Attribute) -> list[Any]:
    value = element.get(leaf.name) if isinstance(element, Mapping) else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
