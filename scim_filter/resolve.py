"""Binding a filter to a resource type: every path known, every literal of the right type.

RFC 7644 section 3.4.2.2: what names no attribute or does not fit it is `invalidFilter`.
"""

from typing import NoReturn

from schema.attribute import Attribute
from schema.errors import InvalidFilter, InvalidPath, ScimError
from schema.leniency import STRICT, Leniency
from schema.resource_type import AttributePath, ResourceType
from schema.values import CHECKS, check_string, comparison_key
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
from scim_filter.visitor import Visitor

_TEXT_OPERATORS = frozenset({"co", "sw", "ew"})
_ORDER_OPERATORS = frozenset({"gt", "ge", "lt", "le"})
_TEXT_TYPES = frozenset({"string", "reference", "binary"})
_UNORDERED_TYPES = frozenset({"boolean", "binary"})


def resolve(node: Node, resource_type: ResourceType, leniency: Leniency = STRICT) -> Node:
    """Return `node` with every path bound to `resource_type`.

    `ne` becomes the negation of `eq`: it holds when no value of the attribute equals the literal,
    absent ones included, for the RFC leaves open what it means for several values. `primary eq false`
    becomes the negation of `primary eq true` on the element: without `primary`, it is not. A comparison
    of a complex attribute looks at its `value`; the `value` of simple values is the attribute itself, and so
    are brackets with one condition on it. Raises InvalidFilter naming attribute and position.
    """
    return _Resolver(resource_type, InvalidFilter, leniency).visit(node)


def resolve_path(
    path: PatchPath, resource_type: ResourceType, leniency: Leniency = STRICT
) -> BoundPatchPath:
    """Return the path of a PATCH operation bound to `resource_type`.

    Raises InvalidFilter for what does not fit within brackets, and InvalidPath for the path itself.
    """
    resolver = _Resolver(resource_type, InvalidPath, leniency)
    bound = resolver.path(path.path)
    if path.filter is None and path.sub_attribute is None:
        return BoundPatchPath(bound)
    holder = resolver.holder(path.path, bound)
    inner = None if path.filter is None else resolver.within(holder).visit(path.filter)
    if path.sub_attribute is not None:
        bound = resolver.sub_path(holder, Path(path.sub_attribute, path.path.position))
    return BoundPatchPath(bound, inner)


class _Resolver(Visitor[Node]):
    """Binds nodes; within brackets, `holder` is the attribute whose elements are judged."""

    def __init__(
        self,
        resource_type: ResourceType,
        error: type[ScimError],
        leniency: Leniency,
        holder: AttributePath | None = None,
    ) -> None:
        self._resource_type = resource_type
        self._error = error
        self._leniency = leniency
        self._holder = holder

    def within(self, holder: AttributePath) -> "_Resolver":
        """Return the resolver for the filter in brackets behind `holder`."""
        return _Resolver(self._resource_type, InvalidFilter, self._leniency, holder)

    def refuse(self, path: Path, problem: str) -> NoReturn:
        raise self._error(f"{problem} (at character {path.position})")

    def presence(self, node: Presence) -> Node:
        return BoundPresence(self._filterable(node.path, self.path(node.path)))

    def value_path(self, node: ValuePath) -> Node:
        if self._holder is not None:
            self.refuse(node.path, f"{node.path.text}: brackets within brackets")
        bound = self.holder(node.path, self._filterable(node.path, self.path(node.path)))
        inner = self.within(bound).visit(node.filter)
        if bound.attribute.has_simple_values and isinstance(inner, BoundComparison | BoundPresence):
            return inner
        return BoundValuePath(bound, inner)

    def conjunction(self, node: And) -> Node:
        return And(tuple(map(self.visit, node.operands)))

    def disjunction(self, node: Or) -> Node:
        return Or(tuple(map(self.visit, node.operands)))

    def negation(self, node: Not) -> Node:
        return Not(self.visit(node.operand))

    def path(self, path: Path) -> AttributePath:
        """Return what `path` names, within the element when in brackets."""
        if self._holder is not None:
            return self.sub_path(self._holder, path)
        text = self._leniency.canonical(path.text, self._resource_type)
        if text.lower() == self._resource_type.schema.id.lower():
            self.refuse(path, f"{path.text} is a schema: name one of its attributes")
        bound = self._resource_type.path(text)
        if bound is None:
            self.refuse(path, f"{path.text} is not an attribute of {self._resource_type.name}")
        return bound

    def sub_path(self, holder: AttributePath, path: Path) -> AttributePath:
        """Return the sub-attribute of `holder` that `path` names."""
        bound = holder.sub_path(path.text)
        if bound is None:
            self.refuse(path, f"{path.text} is not a sub-attribute of {holder.text}")
        return bound

    def holder(self, path: Path, bound: AttributePath) -> AttributePath:
        """Return `bound` as the attribute in front of brackets."""
        if self._resource_type.extension(bound.text) is not None:
            self.refuse(path, f"{bound.text} is a schema: brackets follow one of its attributes")
        attribute = bound.attribute
        # `tags.value` is bound to `tags`.
        is_part = bound.sub_attribute or not path.text.lower().endswith(attribute.name.lower())
        if is_part or not (attribute.is_complex or attribute.has_simple_values):
            self.refuse(path, f"{path.text} has no sub-attributes to select by")
        return bound

    def _filterable(self, path: Path, bound: AttributePath) -> AttributePath:
        # A filter tells as much about a value as its return would.
        if "never" in (bound.attribute.returned, bound.leaf.returned):
            self.refuse(path, f"{bound.text} cannot be used in a filter")
        return bound

    def comparison(self, node: Comparison) -> Node:
        path = self._filterable(node.path, self.path(node.path))
        if node.value is None:
            return self._null_comparison(node, path)
        if path.leaf.is_complex:
            path = self._compared(node, path)
        self._check_operator(node, path)
        value = self._literal(node, path)
        if node.operator in _TEXT_OPERATORS and value == "":
            # Every text contains, begins with and ends with the empty one.
            return BoundPresence(path)
        if value is False and _is_primary(path):
            return self._not_primary(node, path)
        key = comparison_key(path.leaf, value)
        if node.operator == "ne":
            return Not(BoundComparison(path, "eq", value, key))
        return BoundComparison(path, node.operator, value, key)

    def _not_primary(self, node: Comparison, path: AttributePath) -> Node:
        """Return what holds for elements that are not primary: absent is false (RFC 7643 section 2.4)."""
        primary = BoundComparison(path, "eq", True, comparison_key(path.leaf, True))
        if self._holder is not None:
            return primary if node.operator == "ne" else Not(primary)
        holder = AttributePath(path.attribute, None, path.extension)
        other = BoundValuePath(holder, Not(primary))
        return Not(other) if node.operator == "ne" else other

    def _compared(self, node: Comparison, path: AttributePath) -> AttributePath:
        """Return the path of the `value` that stands for a complex attribute."""
        compared = path.leaf.compared
        if compared is None or path.sub_attribute is not None:
            self.refuse(node.path, f"{path.text} is complex: name one of its sub-attributes")
        if node.operator in _ORDER_OPERATORS:
            self.refuse(node.path, f"{path.text} is complex: {node.operator} does not apply to it")
        return self._filterable(node.path, AttributePath(path.attribute, compared, path.extension))

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
            fits = node.operator not in _ORDER_OPERATORS or kind not in _UNORDERED_TYPES
        if not fits:
            self.refuse(node.path, f"{path.text} is {kind}: {node.operator} does not apply to it")

    def _literal(self, node: Comparison, path: AttributePath) -> Literal:
        # A part of a base64 text need not be one itself.
        check = check_string if node.operator in _TEXT_OPERATORS else CHECKS[path.leaf.type]
        value = _as_type(path.leaf, node.value)
        problem = check(value)
        if problem is not None:
            value = self._leniency.coercion(path.leaf, value)
            if value is None or check(value) is not None:
                self.refuse(node.path, f"{path.text} is {path.leaf.type}: the value {problem}")
        return value


def _is_primary(path: AttributePath) -> bool:
    sub = path.sub_attribute
    is_primary = sub is not None and sub.type == "boolean" and sub.name.lower() == "primary"
    return is_primary and path.attribute.multi_valued


def _as_type(attribute: Attribute, value: Literal) -> Literal:
    """Return the literal in the type of the attribute where it is the same number in another form."""
    if attribute.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
