"""Which of the values of an attribute have a key, kept true while they change."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any

from schema.attribute import Attribute
from schema.values import lenient_key

Keys = Callable[[Any], Iterable[Hashable]]


class Index:
    """From a key to the numbers of the values that have it.

    With `part`, keys follow from that sub-attribute alone.
    """

    def __init__(self, keys: Keys, part: str | None = None) -> None:
        self._keys = keys
        self._part = part
        self._numbers: dict[Hashable, dict[int, None]] = {}

    def find(self, key: Hashable) -> Collection[int]:
        """Return the numbers of the values with that key."""
        return self._numbers.get(key, ())

    def put(self, number: int, value: Any) -> None:
        for key in self._keys(value):
            self._numbers.setdefault(key, {})[number] = None

    def drop(self, number: int, value: Any) -> None:
        for key in self._keys(value):
            numbers = self._numbers.get(key, {})
            numbers.pop(number, None)
            if not numbers:
                self._numbers.pop(key, None)

    def move(self, number: int, old: Any, new: Any) -> None:
        """Take note that `new` is in the place of `old`."""
        if self._part is not None and _part(old, self._part) is _part(new, self._part):
            return
        self.drop(number, old)
        self.put(number, new)


def part_index(attribute: Attribute) -> Index:
    """Return an index by what elements have under a sub-attribute, compared as that is."""
    key, name = lenient_key(attribute), attribute.name

    def keys(element: Any) -> Iterable[Hashable]:
        return _comparison_keys(key, _part(element, name))

    return Index(keys, name)


def value_index(attribute: Attribute) -> Index:
    """Return an index of the values of a simple attribute, compared as that is."""
    key = lenient_key(attribute)
    return Index(lambda value: _comparison_keys(key, value))


def identity_index() -> Index:
    """Return an index by the whole value: what is equal to Python has the same key."""
    return Index(lambda value: (frozen(value),))


def primary_index() -> Index:
    """Return an index whose key True finds the primary elements."""
    return Index(lambda element: (True,) if is_primary(element) else (), "primary")


def is_primary(element: Any) -> bool:
    return _part(element, "primary") is True


def frozen(value: Any) -> Hashable:
    """Return what stands for a JSON value as a key."""
    if isinstance(value, Mapping):
        return frozenset((name, frozen(item)) for name, item in value.items())
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def _part(element: Any, name: str) -> Any:
    return element.get(name) if isinstance(element, Mapping) else None


def _comparison_keys(key: Callable[[Any], str | None], value: Any) -> Iterable[Hashable]:
    # No comparison finds None, nor what another program has stored.
    found = map(key, value if isinstance(value, list) else (value,))
    return (one for one in found if one is not None)
