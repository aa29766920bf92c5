"""The tables of the SQL adapter and the index rows of a resource.

    "Users"(id, details)                     a table per resource type: the documents
    scim_resource(rid, type, id, ...)        a narrow row per resource, the key of all that follows
    scim_attribute(path, value, rid, ...)    a row per filterable value
    scim_unique(path, value, rid)            its primary key is the uniqueness constraint
    scim_member(group_rid, member_rid, ...)  memberships, keyed both ways
    scim_path(number, type, path)            what the numbers in `path` stand for
    scim_type(number, name, total)           what the numbers in `type` stand for, and how many there are
"""

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

SIDE_TABLES = (
    "CREATE TABLE IF NOT EXISTS scim_type ("
    "number INTEGER PRIMARY KEY, name VARCHAR(190) NOT NULL UNIQUE, total BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS scim_path ("
    "number INTEGER PRIMARY KEY, type SMALLINT NOT NULL, path VARCHAR(500) NOT NULL, UNIQUE (type, path))",
    "CREATE TABLE IF NOT EXISTS scim_resource ("
    "rid INTEGER PRIMARY KEY, type SMALLINT NOT NULL, id VARCHAR(255) NOT NULL, version BIGINT NOT NULL, "
    "created CHAR(24) NOT NULL, last_modified CHAR(24) NOT NULL, display TEXT, secrets TEXT, "
    "UNIQUE (id, type))",
    "CREATE INDEX IF NOT EXISTS scim_resource_type ON scim_resource (type, rid)",
    "CREATE TABLE IF NOT EXISTS scim_attribute ("
    "path SMALLINT NOT NULL, value TEXT NOT NULL, rid INTEGER NOT NULL, element INTEGER NOT NULL, "
    "long_value TEXT, PRIMARY KEY (path, value, rid, element)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS scim_unique ("
    "path SMALLINT NOT NULL, value TEXT NOT NULL, rid INTEGER NOT NULL, "
    "PRIMARY KEY (path, value)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS scim_member ("
    "group_rid INTEGER NOT NULL, member_rid INTEGER NOT NULL, display TEXT, "
    "PRIMARY KEY (group_rid, member_rid)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS scim_member_of ON scim_member (member_rid, group_rid)",
)


def quoted(name: str) -> str:
    """Return a table name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def index_key(key: str) -> str:
    """Return a comparison key short enough for an index; equal keys stay equal, others differ."""
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[:KEY_LENGTH]}{LAST_CHARACTER}{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True)
class _Indexed:
    """One path with index rows: its number, and that of the row which marks its element present."""

    number: int
    path: AttributePath
    key: Callable[[Any], str]
    keeps_whole: bool


class TypeLayout:
    """Where one resource type is kept, and the rows that its resources have in the side tables.

    `numbers` maps the text of a path to its number in scim_path.
    """

    def __init__(
        self, resource_type: ResourceType, type_number: int, table: str, numbers: Mapping[str, int]
    ) -> None:
        self.resource_type = resource_type
        self.number = type_number
        self.table = quoted(table)
        self.numbers = numbers
        self._meta = [self._indexed(text) for text in ("meta.created", "meta.lastModified")]
        self._simple: list[_Indexed] = []
        self._complex: dict[str, list[_Indexed]] = {}
        self._complex_paths: dict[str, AttributePath] = {}
        for path in indexed_paths(resource_type):
            if path.attribute.is_complex and path.sub_attribute is None:
                self._complex[path.text] = []
                self._complex_paths[path.text] = path
                continue
            entry = self._indexed(path.text)
            if path.sub_attribute is None:
                self._simple.append(entry)
            else:
                holder = AttributePath(path.attribute, None, path.extension).text
                self._complex[holder].append(entry)
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
        for entry in self._simple:
            value = entry.path.holder(document).get(entry.path.attribute.name)
            if value is None:
                continue
            if isinstance(value, list):
                for element, item in enumerate(value):
                    rows.add(_row(entry, item, element))
            else:
                rows.add(_row(entry, value, 0))
        for text, entries in self._complex.items():
            rows.update(self._complex_rows(document, self._complex_paths[text], entries))
        return rows

    def _complex_rows(
        self, document: Mapping[str, Any], path: AttributePath, entries: list[_Indexed]
    ) -> Iterator[IndexRow]:
        number = self.numbers[path.text]
        for element, item in enumerate(_primary_first(path.elements(document))):
            present = False
            for entry in entries:
                name = entry.path.leaf.name
                value = item.get(name)
                if value is None:
                    continue
                present = present or value != ""
                for single in value if isinstance(value, list) else (value,):
                    yield _row(entry, single, element)
            yield number, "1" if present else "", element, None

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


def indexed_paths(resource_type: ResourceType) -> Iterator[AttributePath]:
    """Yield the paths with rows in scim_attribute, complex attributes before their sub-attributes.

    A complex attribute has a row per element: it says that the element is there. Links between
    resources are found in scim_member, `id` in scim_resource; `schemas` are left to evaluation.
    """
    links = (resource_type.members, resource_type.memberships)
    seen: set[str] = set()
    for path in resource_type.simple_paths:
        if path.attribute in links or path.text in ("id", "schemas") or path.leaf.returned == "never":
            continue
        if path.attribute.name == "meta":
            continue
        if path.sub_attribute is not None:
            holder = AttributePath(path.attribute, None, path.extension)
            if holder.text not in seen:
                seen.add(holder.text)
                yield holder
        yield path


def numbered_paths(resource_type: ResourceType) -> list[str]:
    """Return the text of every path of the type that needs a number."""
    texts = ["meta.created", "meta.lastModified"]
    texts += [path.text for path in indexed_paths(resource_type)]
    texts += [path.text for path in resource_type.unique_paths]
    return list(dict.fromkeys(texts))


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
