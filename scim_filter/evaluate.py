"""What a filter means: the answer every backend has to agree with (RFC 7644 section 3.4.2.2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schema.attribute import Attribute
from schema.resource_type import AttributePath
from schema.values import lenient_key
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPresence,
    BoundValuePath,
    Node,
    Not,
    Or,
    filter_paths,
)
from scim_filter.visitor import Visitor

Predicate = Callable[[Any], bool]
Values = Callable[[Any], Sequence[Any]]

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


def compile_predicate(node: Node) -> Callable[[Mapping[str, Any]], bool]:
    """Return the function behind `matches` for one bound filter, to be used on many resources.

    A comparison holds when any value of the attribute satisfies it; a value path, when one element
    satisfies all of it. A value that is not of the attribute's type, such as another program may
    have stored, satisfies no comparison and raises nothing.
    """
    return _OnResource().visit(node)


def compile_element_predicate(node: Node) -> Predicate:
    """Return a function that judges one element of an attribute by a filter in brackets.

    A value that is not of the type of the attribute is no element, and does not satisfy a `not` either.
    """
    holds, path = _OnElement().visit(node), next(filter_paths(node))
    if path.attribute.is_complex:
        return lambda element: isinstance(element, Mapping) and holds(element)
    key = lenient_key(path.attribute)
    return lambda element: key(element) is not None and holds(element)


def select(node: Node, elements: Sequence[Any]) -> list[int]:
    """Return the positions of the elements that satisfy a bound filter in brackets."""
    holds = compile_element_predicate(node)
    return [position for position, element in enumerate(elements) if holds(element)]


class _OnResource(Visitor[Predicate]):
    """Makes functions of a resource."""

    def values(self, path: AttributePath) -> Values:
        """Return a function that finds every value at the end of `path`."""
        elements = _elements(path)
        if path.sub_attribute is None:
            return elements
        name = path.sub_attribute.name
        return lambda resource: [v for element in elements(resource) for v in _under(element, name)]

    def bound_comparison(self, node: BoundComparison) -> Predicate:
        values, test = self.values(node.path), _comparison_test(node)
        return lambda resource: any(map(test, values(resource)))

    def bound_presence(self, node: BoundPresence) -> Predicate:
        values, test = self.values(node.path), _presence_test(node.path.leaf)
        return lambda resource: any(map(test, values(resource)))

    def bound_value_path(self, node: BoundValuePath) -> Predicate:
        elements, holds = _elements(node.path), compile_element_predicate(node.filter)
        return lambda resource: any(map(holds, elements(resource)))

    def conjunction(self, node: And) -> Predicate:
        every = [self.visit(operand) for operand in node.operands]
        return lambda value: all(holds(value) for holds in every)

    def disjunction(self, node: Or) -> Predicate:
        some = [self.visit(operand) for operand in node.operands]
        return lambda value: any(holds(value) for holds in some)

    def negation(self, node: Not) -> Predicate:
        holds = self.visit(node.operand)
        return lambda value: not holds(value)


class _OnElement(_OnResource):
    """Makes functions of one element: its sub-attributes are found without the rest of the path.

    A simple element is its own `value`.
    """

    def values(self, path: AttributePath) -> Values:
        if path.sub_attribute is None:
            return lambda element: (element,)
        name = path.sub_attribute.name
        return lambda element: _under(element, name)

    def bound_value_path(self, node: BoundValuePath) -> Predicate:
        raise TypeError("a value path within a value path")


def _elements(path: AttributePath) -> Values:
    name, extension = path.attribute.name, path.extension
    if extension is None:
        return lambda resource: _under(resource, name)
    return lambda resource: _under(resource.get(extension), name)


def _under(holder: Any, name: str) -> Sequence[Any]:
    """Return the values that `holder` has under `name`; none when it is no object."""
    value = holder.get(name) if isinstance(holder, Mapping) else None
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _comparison_test(node: BoundComparison) -> Predicate:
    leaf = node.path.leaf
    key, test, wanted = lenient_key(leaf), _TESTS[node.operator], node.key

    def holds(value: Any) -> bool:
        found = key(value)
        return found is not None and test(found, wanted)

    return holds


def _presence_test(attribute: Attribute) -> Predicate:
    """Return whether a value counts for `pr`: not null, not empty, nor made of such values only.

    Sub-attributes that are never returned do not count, lest `pr` tell that there is a secret.
    """
    if not attribute.is_complex:
        return _is_present
    shown = [(sub.name, _presence_test(sub)) for sub in attribute.sub_attributes if sub.returned != "never"]
    return lambda element: any(any(map(present, _under(element, name))) for name, present in shown)


def _is_present(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_present, value.values()))
    if isinstance(value, list):
        return any(map(_is_present, value))
    return value is not None and value != ""
