"""Random selections of the resources of a type: a filter of depth 3, an order, and the edges of a page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schema.attribute import Attribute
from schema.resource_type import AttributePath, ResourceType
from scim_filter import parse_filter, resolve
from scim_filter.nodes import Node
from storage.adapter import Sort
from storage.testing.generating import Generator

_DEPTH: Final = 3
_TEXT_OPERATORS: Final = ("co", "sw", "ew")
_ORDERINGS: Final = ("gt", "ge", "lt", "le")
_OPERATORS: Final[Mapping[str, Sequence[str]]] = {
    "boolean": ("eq", "ne"),
    "binary": ("eq", "ne", *_TEXT_OPERATORS),
    "integer": ("eq", "ne", *_ORDERINGS),
    "decimal": ("eq", "ne", *_ORDERINGS),
    "dateTime": ("eq", "ne", *_ORDERINGS),
}
_EVERY: Final = ("eq", "ne", *_TEXT_OPERATORS, *_ORDERINGS)


@dataclass(frozen=True)
class Case:
    """One question: `text` is the filter, `offset` and `limit` the page, `step` the size of others."""

    number: int
    resource_type: ResourceType
    text: str
    sort: Sort | None
    offset: int
    limit: int
    step: int

    def __str__(self) -> str:
        order = "unsorted"
        if self.sort is not None:
            order = f"by {self.sort.path.text} {'descending' if self.sort.descending else 'ascending'}"
        page = f"offset {self.offset}, limit {self.limit}, steps of {self.step}"
        return f"{self.resource_type.name}s {order}, {page}, filter {self.text!r}"

    @property
    def filter(self) -> Node | None:
        """The filter, bound to the type."""
        if not self.text:
            return None
        return resolve(parse_filter(self.text, max_length=100_000), self.resource_type)


class Selector:
    """Makes cases about resources of one type, of which it knows the representations."""

    def __init__(
        self, generator: Generator, resource_type: ResourceType, resources: Sequence[Mapping[str, Any]]
    ) -> None:
        self._random = generator.random
        self._generator = generator
        self._type = resource_type
        self._resources = resources
        shown = [path for path in resource_type.simple_paths if path.leaf.returned != "never"]
        self._paths = [path for path in shown if path.attribute.returned != "never"]
        links = (resource_type.members, resource_type.memberships)
        # Links have no first value: their order is the backend's.
        self._sortable = [path for path in self._paths if path.attribute not in links]

    def case(self, number: int) -> Case:
        """Return the case of a number."""
        text = "" if self._random.random() < 0.1 else self._filter(_DEPTH)
        sort = None
        if self._random.random() < 0.7:
            sort = Sort(self._some(self._sortable), self._random.random() < 0.5)
        count = len(self._resources)
        offset, limit = self._random.randint(0, count + 1), self._random.randint(0, 6)
        step = 1 if self._random.random() < 0.05 else self._random.randint(1 + count // 3, 1 + count)
        return Case(number, self._type, text, sort, offset, limit, step)

    def _some(self, paths: Sequence[AttributePath]) -> AttributePath:
        """Return one of the paths, mostly one that resources have values at."""
        for _ in range(4):
            path = self._random.choice(paths)
            if self._kept(path):
                break
        return path

    def _kept(self, path: AttributePath) -> list[Any]:
        values = [value for resource in self._resources for value in path.values(resource)]
        return [one for value in values for one in (value if isinstance(value, list) else [value])]

    def _filter(self, depth: int) -> str:
        dice = self._random.random()
        if depth == 0 or dice < 0.2:
            return self._term()
        if dice < 0.4:
            return f"not ({self._filter(depth - 1)})"
        word = " and " if dice < 0.7 else " or "
        operands = [self._filter(depth - 1) for _ in range(self._random.randint(2, 3))]
        return f"({word.join(operands)})"

    def _term(self) -> str:
        path = self._some(self._paths)
        holder = AttributePath(path.attribute, None, path.extension)
        dice, is_simple = self._random.random(), path.attribute.has_simple_values
        if (path.sub_attribute is not None or is_simple) and dice < 0.35:
            return f"{holder.text}[{self._in_brackets(holder, 2)}]"
        if is_simple and dice < 0.5:
            return self._test(f"{path.text}.value", path)
        if path.sub_attribute is not None and dice < 0.5:
            return self._about_holder(holder)
        return self._test(path.text, path)

    def _in_brackets(self, holder: AttributePath, depth: int) -> str:
        dice = self._random.random()
        if depth and dice < 0.15:
            return f"not ({self._in_brackets(holder, depth - 1)})"
        if depth and dice < 0.5:
            word = self._random.choice((" and ", " or "))
            return "(" + word.join(self._in_brackets(holder, depth - 1) for _ in range(2)) + ")"
        subs = [sub.name for sub in holder.attribute.sub_attributes if sub.returned != "never"]
        name = self._random.choice(subs or ["value"])
        return self._test(name, holder.sub_path(name) or holder)

    def _about_holder(self, holder: AttributePath) -> str:
        compared = holder.attribute.compared
        if compared is None or compared.returned == "never" or self._random.random() < 0.5:
            return f"{holder.text} pr"
        operators = [word for word in self._operators(compared) if word not in _ORDERINGS]
        value = AttributePath(holder.attribute, compared, holder.extension)
        return self._comparison(holder.text, value, operators)

    def _operators(self, attribute: Attribute) -> Sequence[str]:
        return _OPERATORS.get(attribute.type, _EVERY)

    def _test(self, text: str, path: AttributePath) -> str:
        dice = self._random.random()
        if dice < 0.12:
            return f"{text} pr"
        if dice < 0.16:
            return f"{text} {self._random.choice(('eq', 'ne'))} null"
        return self._comparison(text, path, self._operators(path.leaf))

    def _comparison(self, text: str, path: AttributePath, operators: Sequence[str]) -> str:
        operator = self._random.choice(operators)
        kept = self._kept(path)
        value = self._random.choice(kept) if kept and self._random.random() < 0.75 else None
        if value is None:
            value = self._generator.simple(path.leaf)
        if isinstance(value, str) and path.leaf.type != "dateTime":
            value = self._changed(value, operator)
            if path.leaf.type == "binary" and operator not in _TEXT_OPERATORS:
                value = self._random.choice(kept) if kept else "QUJD"
        return f"{text} {operator} {json.dumps(value, ensure_ascii=self._random.random() < 0.5)}"

    def _changed(self, value: str, operator: str) -> str:
        """Return the text, part of it where the operator is about parts, or the same in another case."""
        if operator in _TEXT_OPERATORS and len(value) > 1 and self._random.random() < 0.8:
            length = self._random.randint(1, len(value))
            start = self._random.randint(0, len(value) - length)
            start = {"sw": 0, "ew": len(value) - length}.get(operator, start)
            value = value[start : start + length]
        change = self._random.choice((str, str, str.upper, str.lower, str.swapcase))
        return change(value)
