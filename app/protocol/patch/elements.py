"""The values of a multi-valued attribute while a PATCH changes them, found by what they hold."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from app.protocol.patch.index import (
    Index,
    frozen,
    identity_index,
    is_primary,
    part_index,
    primary_index,
    value_index,
)
from app.protocol.patch.meter import Meter, weight
from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.values import key_function
from scim_filter.evaluate import compile_element_predicate
from scim_filter.nodes import And, BoundComparison, Node, Or, filter_paths

# The steps that a changed element costs beside one that is looked at.
_CHANGE: Final = 4


class Elements:
    """Values by number, in order; a value keeps its number whatever is added and removed.

    An index is made when it is first needed and kept true afterwards, so that an operation costs
    what it selects and not what there is. Values are replaced, never changed in place.
    """

    def __init__(self, attribute: Attribute, values: Iterable[Any], meter: Meter) -> None:
        self._attribute = attribute
        self._meter = meter
        self.replace_all(values)
        meter.admit(len(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values.values())

    def __getitem__(self, number: int) -> Any:
        return self._values[number]

    def get(self, number: int) -> Any:
        """Return the value with that number, None when it is there no more."""
        return self._values.get(number)

    # -- finding

    def numbers(self) -> list[int]:
        """Return the number of every value, in order."""
        self._meter.spend(self._total_weight())
        return list(self._values)

    def select(self, condition: Node) -> list[int]:
        """Return the numbers of the elements that satisfy a bound filter in brackets, in order."""
        holds = compile_element_predicate(condition)
        terms = sum(1 for _ in filter_paths(condition))
        found = self._candidates(condition)
        if found is None:
            self._meter.spend(self._total_weight() * terms)
            return [number for number, value in self._values.items() if holds(value)]
        self._meter.spend(sum(weight(self._values[number]) for number in found) * terms)
        return sorted(number for number in found if holds(self._values[number]))

    def equal_to(self, value: Any) -> list[int]:
        """Return the numbers of the values of a simple attribute that are equal to `value`."""
        return sorted(self._by_value().find(key_function(self._attribute)(value)))

    def can_change(self, number: int) -> bool:
        """Return whether a value is an element: one of a complex attribute that is no object is foreign."""
        return not self._attribute.is_complex or isinstance(self._values[number], Mapping)

    def _candidates(self, node: Node) -> Collection[int] | None:
        """Return the numbers of all that may satisfy `node`, or None when no index tells."""
        match node:
            # An element without `primary` is as good as one that is not primary: no key says so.
            case BoundComparison(operator="eq") if node.value is not False:
                leaf = node.path.leaf
                if leaf is self._attribute:
                    return self._by_value().find(node.key)
                return self._index(f".{leaf.name}", lambda: part_index(leaf)).find(node.key)
            case And(operands=operands):
                known = [found for found in map(self._candidates, operands) if found is not None]
                return min(known, key=len) if known else None
            case Or(operands=operands):
                united: dict[int, None] = {}
                for found in map(self._candidates, operands):
                    if found is None:
                        return None
                    united |= dict.fromkeys(found)
                return united
        return None

    # -- changing

    def replace_all(self, values: Iterable[Any]) -> None:
        """Put `values` in the place of all that there are."""
        self._values: dict[int, Any] = dict(enumerate(values))
        self._next = len(self._values)
        self._weight: int | None = None
        self._indexes: dict[str, Index] = {}

    def append(self, value: Any) -> int:
        """Add a value at the end and return its number."""
        number = self._next
        self._next += 1
        self._values[number] = value
        self._grow(weight(value))
        for index in self._indexes.values():
            index.put(number, value)
        return number

    def change(self, number: int, value: Any) -> None:
        """Put an element in the place of another; an empty one removes it."""
        if value is None or value == {}:
            self.remove(number)
            return
        self._meter.spend(_CHANGE * weight(value))
        old, self._values[number] = self._values[number], value
        self._grow(weight(value) - weight(old))
        for index in self._indexes.values():
            index.move(number, old, value)

    def remove(self, number: int) -> None:
        """Remove the value with that number."""
        value = self._values.pop(number)
        self._grow(-weight(value))
        for index in self._indexes.values():
            index.drop(number, value)

    def add_missing(self, values: Iterable[Any]) -> list[int]:
        """Append those of `values` that are not there yet, and return their numbers."""
        known = self._index("identity", identity_index)
        return [self.append(value) for value in values if not known.find(frozen(value))]

    def remove_repeated(self, changed: Iterable[int]) -> None:
        """Leave one of equal values where changes made them equal (RFC 7643 section 2.4)."""
        for number in changed if len(self._values) > 1 else ():
            if number in self._values:
                same = self._index("identity", identity_index).find(frozen(self._values[number]))
                for other in sorted(same)[1:]:
                    self.remove(other)

    def keep_one_primary(self, changed: Iterable[int]) -> None:
        """Let a primary value among the `changed` ones be the only one (RFC 7644 section 3.5.2)."""
        chosen = [number for number in changed if is_primary(self._values.get(number))]
        if not chosen:
            return
        if len(chosen) > 1:
            raise InvalidValue(f"{self._attribute.name}: only one value may be primary")
        primaries = self._index("primary", primary_index).find(True)
        others = [number for number in primaries if number != chosen[0]]
        for number in others:
            self.change(number, {**self._values[number], "primary": False})
        self.remove_repeated(others)

    def _by_value(self) -> Index:
        return self._index("value", lambda: value_index(self._attribute))

    def _index(self, name: str, make: Callable[[], Index]) -> Index:
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = make()
            for number, value in self._values.items():
                index.put(number, value)
        return index

    def _total_weight(self) -> int:
        if self._weight is None:
            self._weight = sum(map(weight, self._values.values()))
        return self._weight

    def _grow(self, difference: int) -> None:
        if self._weight is not None:
            self._weight += difference
