"""Binding a filter to a resource type: every path known, every literal of the right type.

RFC 7644 section 3.4.2.2: what names no attribute or does not fit it is `invalidFilter`.
"""

from typing import NoReturn

from schema.attribute import Attribute
from schema.errors import InvalidFilter, InvalidPath, ScimError
from schema.resource_type import AttributePath, ResourceType
from schema.values import CHECKS, comparison_key
from scim_filter.nodes import (
    And,
    BoundComparison,
    BoundPatchPath,
    BoundPresence,
    BoundValuePath,
    Comparison,
    Literal,
    Node,
    Not,
    Or,
    PatchPath,
    Path,
    Presence,
    ValuePath,
)

_TEXT_OPERATORS = frozenset({"co", "sw", "ew"})
_TEXT_TYPES = frozenset({"string", "reference", "binary"})
_UNORDERED_TYPES = frozenset({"boolean", "binary"})


def resolve(node: Node, resource_type: ResourceType) -> Node:
    """Return `node` with every path bound to `resource_type`.

    `ne` becomes the negation of `eq`: it holds when no value of the attribute equals the literal,
    absent ones included, for the RFC leaves open what it means for several values. A comparison
    of a complex attribute looks at its `value`. Raises InvalidFilter naming attribute and position.
    """
    return _Resolver(resource_type, InvalidFilter).filter(node, None)


def resolve_path(path: PatchPath, resource_type: ResourceType) -> BoundPatchPath:
    """Return the path of a PATCH operation bound to `resource_type`. Raises InvalidPath."""
    resolver = _Resolver(resource_type, InvalidPath)
    bound = resolver.path(path.path)
    if path.filter is None:
        return BoundPatchPath(bound)
    inner = resolver.filter(path.filter, resolver.holder(path.path, bound))
    if path.sub_attribute is None:
        return BoundPatchPath(bound, inner)
    sub_attribute = bound.attribute.sub_attribute(path.sub_attribute)
    if sub_attribute is None:
        resolver.refuse(path.path, f"{bound.text} has no sub-attribute {path.sub_attribute}")
    return BoundPatchPath(AttributePath(bound.attribute, sub_attribute, bound.extension), inner)


class _Resolver:
    def __init__(self, resource_type: ResourceType, error: type[ScimError]) -> None:
        self._resource_type = resource_type
        self._error = error

    def refuse(self, path: Path, problem: str) -> NoReturn:
        raise self._error(f"{problem} (at character {path.position})")

    def filter(self, node: Node, holder: AttributePath | None) -> Node:
        """Bind `node`; within brackets, `holder` is the attribute whose elements are judged."""
        match node:
            case Comparison():
                return self._comparison(node, holder)
            case Presence(path=path):
                return BoundPresence(self._filterable(path, self.path(path, holder)))
            case ValuePath(path=path, filter=inner):
                bound = self._filterable(path, self.path(path))
                return BoundValuePath(bound, self.filter(inner, self.holder(path, bound)))
            case And(operands=operands):
                return And(tuple(self.filter(operand, holder) for operand in operands))
            case Or(operands=operands):
                return Or(tuple(self.filter(operand, holder) for operand in operands))
            case Not(operand=operand):
                return Not(self.filter(operand, holder))
        return node

    def path(self, path: Path, holder: AttributePath | None = None) -> AttributePath:
        if holder is None:
            bound = self._resource_type.path(path.text)
            if bound is None:
                self.refuse(path, f"{path.text} is no attribute of {self._resource_type.name}")
            return bound
        sub_attribute = holder.attribute.sub_attribute(path.text)
        if sub_attribute is None:
            self.refuse(path, f"{path.text} is no sub-attribute of {holder.text}")
        return AttributePath(holder.attribute, sub_attribute, holder.extension)

    def holder(self, path: Path, bound: AttributePath) -> AttributePath:
        """Return `bound` as the attribute in front of brackets."""
        if bound.sub_attribute is not None or not bound.attribute.is_complex:
            self.refuse(path, f"{bound.text} has no sub-attributes to select by")
        return bound

    def _filterable(self, path: Path, bound: AttributePath) -> AttributePath:
        if bound.leaf.returned == "never":
            self.refuse(path, f"{bound.text} cannot be used in a filter")
        return bound

    def _comparison(self, node: Comparison, holder: AttributePath | None) -> Node:
        path = self._filterable(node.path, self.path(node.path, holder))
        if node.value is None:
            return self._null_comparison(node, path)
        if path.leaf.is_complex:
            compared = path.leaf.compared
            if compared is None:
                self.refuse(node.path, f"{path.text} is complex: name one of its sub-attributes")
            path = self._filterable(node.path, AttributePath(path.attribute, compared, path.extension))
        self._check_operator(node, path)
        value = self._literal(node, path)
        if node.operator in _TEXT_OPERATORS and value == "":
            # Every text contains, begins with and ends with the empty one.
            return BoundPresence(path)
        key = comparison_key(path.leaf, value)
        if node.operator == "ne":
            return Not(BoundComparison(path, "eq", value, key))
        return BoundComparison(path, node.operator, value, key)

    def _null_comparison(self, node: Comparison, path: AttributePath) -> Node:
        if node.operator == "eq":
            return Not(BoundPresence(path))
        if node.operator == "ne":
            return BoundPresence(path)
        self.refuse(node.path, f"{path.text} {node.operator} null has no meaning")

    def _check_operator(self, node: Comparison, path: AttributePath) -> None:
        kind = path.leaf.type
        if node.operator in _TEXT_OPERATORS:
            fits = kind in _TEXT_TYPES
        else:
            fits = node.operator in ("eq", "ne") or kind not in _UNORDERED_TYPES
        if not fits:
            self.refuse(node.path, f"{path.text} is {kind}: {node.operator} does not apply to it")

    def _literal(self, node: Comparison, path: AttributePath) -> Literal:
        value = _as_type(path.leaf, node.value)
        # A part of a base64 text need not be one itself.
        partial = node.operator in _TEXT_OPERATORS and isinstance(value, str)
        problem = None if partial else CHECKS[path.leaf.type](value)
        if problem is not None:
            self.refuse(node.path, f"{path.text} is compared with a value that {problem}")
        return value


def _as_type(attribute: Attribute, value: Literal) -> Literal:
    """Return the literal in the type of the attribute where it is the same value in another form."""
    if attribute.type == "boolean" and isinstance(value, str):
        # Entra ID and OneLogin write booleans as strings here, too.
        return {"true": True, "false": False}.get(value.lower(), value)
    if attribute.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
