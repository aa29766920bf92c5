"""The rows that a resource has in the side tables: what it can be found by."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from schema.values import key_function

# Values longer than this are indexed by their beginning and a digest, so that an index entry
# stays below the limits of every database (MariaDB allows 3,072 bytes).
KEY_LENGTH = 256
LAST_CHARACTER = "\U0010ffff"

IndexRow = tuple[int, str, int, str | None]
"""path number, key, element, and the whole key where it had to be shortened"""


def index_key(key: str) -> str:
    """Return a comparison key short enough for an index; equal keys stay equal, others differ."""
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[:KEY_LENGTH]}{LAST_CHARACTER}{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True)
class _Indexed:
    """One path with index rows; `keeps_whole` says whether a long key is kept beside its beginning."""

    number: int
    path: AttributePath
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
        self._unique = [self._indexed(path.text) for path in resource_type.unique_paths]

    def _indexed(self, text: str) -> _Indexed:
        path = self.resource_type.path(text)
        assert path is not None
        is_text = path.leaf.type in ("string", "reference")
        return _Indexed(self.numbers[text], path, key_function(path.leaf), is_text)

    def index_rows(self, document: Mapping[str, Any], created: str, last_modified: str) -> set[IndexRow]:
        """Return the rows of scim_attribute for a canonical resource."""
        rows: set[IndexRow] = set()
        for entry, instant in zip(self._meta, (created, last_modified), strict=True):
            rows.add(_row(entry, instant, 0))
        for extension, space in self._spaces.items():
            holder = document if extension is None else document.get(extension)
            if holder:
                _add_rows(rows, space, holder)
        return rows

    def unique_rows(self, document: Mapping[str, Any]) -> set[tuple[int, str]]:
        """Return the rows of scim_unique, without rid, for a canonical resource."""
        return {
            (entry.number, index_key(entry.key(value)))
            for entry in self._unique
            for value in entry.path.values(document)
            if value != ""
        }

    def unique_path(self, number: int) -> str:
        """Return the text of the unique path with that number."""
        return next(entry.path.text for entry in self._unique if entry.number == number)


def indexed_paths(
    resource_type: ResourceType, indexed: frozenset[str] | None = None
) -> Iterator[AttributePath]:
    """Yield the paths with rows in scim_attribute, complex attributes before their sub-attributes.

    A complex attribute has a row per element: it says that the element is there. Links between
    resources are found in scim_member, `id` in scim_resource; `schemas` are left to evaluation.
    `indexed` holds the paths to index, a complex attribute or the URN of an extension for all that
    is in it; unique attributes are indexed anyway. None is for everything.
    """
    links = (resource_type.members, resource_type.memberships)
    wanted = {path.text for path in resource_type.unique_paths}
    wanted |= {path.text for name in indexed or () if (path := resource_type.path(name)) is not None}
    seen: set[str] = set()
    for path in resource_type.simple_paths:
        if path.attribute in links or path.text in ("id", "schemas") or path.leaf.returned == "never":
            continue
        if path.attribute.name == "meta":
            continue
        holder = AttributePath(path.attribute, None, path.extension)
        if indexed is not None and not wanted & {path.text, holder.text, path.extension}:
            continue
        if path.sub_attribute is not None and holder.text not in seen:
            seen.add(holder.text)
            yield holder
        yield path


def numbered_paths(resource_type: ResourceType, indexed: frozenset[str] | None = None) -> list[str]:
    """Return the text of every path of the type that needs a number."""
    texts = ["meta.created", "meta.lastModified"]
    texts += [path.text for path in indexed_paths(resource_type, indexed)]
    texts += [path.text for path in resource_type.unique_paths]
    return list(dict.fromkeys(texts))


def signature(resource_type: ResourceType, text: str) -> str:
    """Return what the rows of a path are made by: when it changes, they must be made again."""
    path = resource_type.path(text)
    assert path is not None
    leaf = path.leaf
    names = sorted(sub.name for sub in leaf.sub_attributes)
    parts = (leaf.type, leaf.case_exact, leaf.uniqueness, path.attribute.multi_valued, *names)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _add_rows(
    rows: set[IndexRow], space: Mapping[str, _Indexed | _IndexedComplex], holder: Mapping[str, Any]
) -> None:
    for name, value in holder.items():
        entry = space.get(name)
        if entry is None or value is None:
            continue
        elements = value if isinstance(value, list) else [value]
        if isinstance(entry, _Indexed):
            rows.update([_row(entry, item, element) for element, item in enumerate(elements)])
            continue
        for element, item in enumerate(_primary_first(elements)):
            present = False
            for sub_name, sub_value in item.items():
                present = present or sub_value not in (None, "", [])
                sub_entry = entry.entries.get(sub_name)
                if sub_entry is None or sub_value is None:
                    continue
                for single in sub_value if isinstance(sub_value, list) else (sub_value,):
                    rows.add(_row(sub_entry, single, element))
            rows.add((entry.number, "1" if present else "", element, None))


def _primary_first(elements: list[Any]) -> list[Any]:
    # RFC 7644 section 3.4.2.3 sorts by the primary value, or else the first: element 0 is that one.
    objects = [element for element in elements if isinstance(element, dict)]
    for position, element in enumerate(objects):
        if position and element.get("primary") is True:
            return [element, *objects[:position], *objects[position + 1 :]]
    return objects


def _row(entry: _Indexed, value: Any, element: int) -> IndexRow:
    key = entry.key(value)
    if len(key) <= KEY_LENGTH:
        return entry.number, key, element, None
    return entry.number, index_key(key), element, key if entry.keeps_whole else None
