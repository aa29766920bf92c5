"""The rows that a resource has in the side tables: what it can be found by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from schema.values import lenient_key
from storage.index_keys import KEY_LENGTH, index_key, indexed_paths

IndexRow = tuple[int, str, int, str | None]
"""path number, key, element, and the whole key where it had to be shortened"""


@dataclass(frozen=True)
class _Indexed:
    """One path with index rows; `keeps_whole` says whether a long key is kept beside its beginning."""

    number: int
    path: AttributePath
    key: Callable[[Any], str | None]
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
        self._unique = [self._indexed(path.text) for path in resource_type.unique_paths]

    def _indexed(self, text: str) -> _Indexed:
        path = self.resource_type.path(text)
        assert path is not None
        is_text = path.leaf.type in ("string", "reference")
        return _Indexed(self.numbers[text], path, lenient_key(path.leaf), is_text)

    def index_rows(self, document: Mapping[str, Any], created: str, last_modified: str) -> set[IndexRow]:
        """Return the rows of scim_attribute for a canonical resource."""
        rows: set[IndexRow] = set()
        for entry, instant in zip(self._meta, (created, last_modified), strict=True):
            rows.update(_rows(entry, [instant], 0))
        for extension, space in self._spaces.items():
            holder = document if extension is None else document.get(extension)
            if isinstance(holder, dict):
                _add_rows(rows, space, holder)
        return rows

    def unique_rows(self, document: Mapping[str, Any]) -> set[tuple[int, str]]:
        """Return the rows of scim_unique, without rid, for a canonical resource."""
        return {
            (entry.number, index_key(key))
            for entry in self._unique
            for value in entry.path.values(document)
            if value != "" and (key := entry.key(value)) is not None
        }

    def unique_path(self, number: int) -> str:
        """Return the text of the unique path with that number."""
        return next(entry.path.text for entry in self._unique if entry.number == number)


def _add_rows(
    rows: set[IndexRow], space: Mapping[str, _Indexed | _IndexedComplex], holder: Mapping[str, Any]
) -> None:
    for name, value in holder.items():
        entry = space.get(name)
        if entry is None or value is None:
            continue
        elements = value if isinstance(value, list) else [value]
        if isinstance(entry, _Indexed):
            for element, item in enumerate(elements):
                rows.update(_rows(entry, [item], element))
            continue
        for element, item in enumerate(_primary_first(elements)):
            present = False
            for sub_name, sub_value in item.items():
                present = present or sub_value not in (None, "", [])
                sub_entry = entry.entries.get(sub_name)
                if sub_entry is None or sub_value is None:
                    continue
                values = sub_value if isinstance(sub_value, list) else [sub_value]
                rows.update(_rows(sub_entry, values, element))
            rows.add((entry.number, "1" if present else "", element, None))


def _primary_first(elements: list[Any]) -> list[Any]:
    # RFC 7644 section 3.4.2.3 sorts by the primary value, or else the first: element 0 is that one.
    objects = [element for element in elements if isinstance(element, dict)]
    for position, element in enumerate(objects):
        if position and element.get("primary") is True:
            return [element, *objects[:position], *objects[position + 1 :]]
    return objects


def _rows(entry: _Indexed, values: list[Any], element: int) -> list[IndexRow]:
    """Return the rows of an attribute of one element; what is not of its type satisfies no comparison."""
    rows: list[IndexRow] = []
    for key in map(entry.key, values):
        if key is not None and len(key) <= KEY_LENGTH:
            rows.append((entry.number, key, element, None))
        elif key is not None:
            rows.append((entry.number, index_key(key), element, key if entry.keeps_whole else None))
    return rows
