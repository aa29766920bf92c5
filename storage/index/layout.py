"""The rows that a resource has in the side tables: what it can be found by."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from schema.values import key_function
from storage.adapter import StoredResource
from storage.index_keys import KEY_LENGTH, index_key, indexed_paths

IndexRow = tuple[int, str, int, str | None]
"""path number, key, element, and the whole key where it had to be shortened"""

# The columns that a statement gives values for, in its order.
RESOURCE: Final = "type, id, version, created, last_modified, display, secrets, twin"
ATTRIBUTE: Final = "path, value, rid, element, long_value"

_NOTHING: Final = StoredResource("", "{}")


@dataclass(frozen=True)
class _Indexed:
    """One path with index rows; `keeps_whole` says whether a long key is kept beside its beginning."""

    number: int
    key: Callable[[Any], str]
    keeps_whole: bool


@dataclass(frozen=True)
class _IndexedComplex:
    """A complex attribute: the number of its marker, and its sub-attributes by name."""

    number: int
    entries: dict[str, _Indexed]


class TypeLayout:
    """Where one resource type is kept, and the rows that its resources have in the side tables.

    `table` is an identifier, quoted where it must be; `numbers` maps the text of a path to its
    number in scim_path. `indexed` is as for `indexed_paths`.
    """

    def __init__(
        self,
        resource_type: ResourceType,
        type_number: int,
        table: str,
        numbers: Mapping[str, int],
        indexed: frozenset[str] | None = None,
    ) -> None:
        self.resource_type = resource_type
        self.number = type_number
        self.table = table
        self.numbers = numbers
        self._meta = [self._indexed(text) for text in ("meta.created", "meta.lastModified")]
        # By extension, then by name of attribute: a resource has few of all that it could have.
        self._spaces: dict[str | None, dict[str, _Indexed | _IndexedComplex]] = {None: {}}
        for path in indexed_paths(resource_type, indexed):
            space = self._spaces.setdefault(path.extension, {})
            if path.attribute.is_complex and path.sub_attribute is None:
                space[path.attribute.name] = _IndexedComplex(numbers[path.text], {})
                continue
            entry = self._indexed(path.text)
            holder = space.get(path.attribute.name)
            if isinstance(holder, _IndexedComplex):
                holder.entries[path.leaf.name] = entry
            else:
                space[path.attribute.name] = entry
        self._unique = {numbers[path.text]: path.text for path in resource_type.unique_paths}

    def _indexed(self, text: str) -> _Indexed:
        path = self.resource_type.path(text)
        assert path is not None
        is_text = path.leaf.type in ("string", "reference")
        return _Indexed(self.numbers[text], key_function(path.leaf), is_text)

    def index_rows(self, resource: StoredResource) -> set[IndexRow]:
        """Return the rows of scim_attribute for a canonical resource."""
        return self.changed_rows(_NOTHING, resource)[1]

    def changed_rows(
        self, before: StoredResource, after: StoredResource
    ) -> tuple[set[IndexRow], set[IndexRow]]:
        """Return the rows of scim_attribute of two states, but of attributes that differ only."""
        old_rows: set[IndexRow] = set()
        new_rows: set[IndexRow] = set()
        instants = ((before.created, after.created), (before.last_modified, after.last_modified))
        for entry, (old, new) in zip(self._meta, instants, strict=True):
            for rows, instant in ((old_rows, old), (new_rows, new)):
                if instant and old != new:
                    _add_rows(rows, entry, [instant], 0)
        documents = before.document, after.document
        for extension, space in self._spaces.items():
            holders = documents if extension is None else [d.get(extension) for d in documents]
            one, other = (holder if isinstance(holder, dict) else {} for holder in holders)
            for name in space.keys() & (one.keys() | other.keys()):
                was, now = one.get(name), other.get(name)
                # To Python, true equals 1: what is no text must be the same JSON.
                if was != now or (type(was) is not str and orjson.dumps(was) != orjson.dumps(now)):
                    _add_attribute(old_rows, space[name], was)
                    _add_attribute(new_rows, space[name], now)
        return old_rows, new_rows

    def unique_rows(self, rows: Iterable[IndexRow]) -> set[tuple[int, str]]:
        """Return the rows of scim_unique, without rid, for rows of scim_attribute: unique paths have both."""
        return {(path, key) for path, key, _, _ in rows if key != "" and path in self._unique}

    def unique_path(self, number: int) -> str:
        """Return the text of the unique path with that number."""
        return self._unique[number]


def _add_attribute(rows: set[IndexRow], entry: _Indexed | _IndexedComplex, value: Any) -> None:
    """Add the rows of an attribute: each of its values is an element."""
    elements = value if isinstance(value, list) else [] if value is None else [value]
    if isinstance(entry, _Indexed):
        for element, item in enumerate(elements):
            _add_rows(rows, entry, [item], element)
        return
    for element, item in enumerate(_primary_first(elements)):
        present = False
        for sub_name, sub_value in item.items():
            present = present or sub_value not in (None, "", [])
            sub_entry = entry.entries.get(sub_name)
            if sub_entry is not None and sub_value is not None:
                _add_rows(rows, sub_entry, sub_value if isinstance(sub_value, list) else [sub_value], element)
        rows.add((entry.number, "1" if present else "", element, None))


def _primary_first(elements: list[Any]) -> list[Any]:
    # RFC 7644 section 3.4.2.3 sorts by the primary value, or else the first: element 0 is that one.
    objects = [element for element in elements if isinstance(element, dict)]
    for position, element in enumerate(objects):
        if position and element.get("primary") is True:
            return [element, *objects[:position], *objects[position + 1 :]]
    return objects


def _add_rows(rows: set[IndexRow], entry: _Indexed, values: list[Any], element: int) -> None:
    """Add the rows of the simple values of one element."""
    for value in values:
        try:
            key = entry.key(value)
        except (TypeError, ValueError, AttributeError):
            # Another program stored it: what is not of the type satisfies no comparison.
            continue
        if len(key) <= KEY_LENGTH:
            rows.add((entry.number, key, element, None))
        else:
            rows.add((entry.number, index_key(key), element, key if entry.keeps_whole else None))
