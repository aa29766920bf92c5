"""The rows that a resource has in the side tables: what it can be found by."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from schema.resource_type import ResourceType
from storage.adapter import StoredResource
from storage.index_keys import KEY_LENGTH, IndexedAttribute, IndexWalk, index_key, with_dates

IndexRow = tuple[int, str, int, str | None]
"""path number, key, element, and the whole key where it had to be shortened"""

# The columns that a statement gives values for, in its order.
RESOURCE: Final = "type, id, version, created, last_modified, display, secrets, twin"
ATTRIBUTE: Final = "path, value, rid, element, long_value"

_NOTHING: Final = StoredResource("", "{}")


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
        self._walk = IndexWalk(resource_type, indexed)
        self._unique = {numbers[path.text]: path.text for path in resource_type.unique_paths}

    def index_rows(self, resource: StoredResource) -> set[IndexRow]:
        """Return the rows of scim_attribute for a canonical resource."""
        return self.changed_rows(_NOTHING, resource)[1]

    def changed_rows(
        self, before: StoredResource, after: StoredResource
    ) -> tuple[set[IndexRow], set[IndexRow]]:
        """Return the rows of scim_attribute of two states, but of attributes that differ only."""
        old_rows: set[IndexRow] = set()
        new_rows: set[IndexRow] = set()
        created, modified = before.created != after.created, before.last_modified != after.last_modified
        documents = [
            with_dates(one.document, one.created if created else "", one.last_modified if modified else "")
            for one in (before, after)
        ]
        for attribute, was, now in self._walk.changed(*documents):
            for rows, value in ((old_rows, was), (new_rows, now)):
                if value is not None:
                    self._add_rows(rows, attribute, value)
        return old_rows, new_rows

    def _add_rows(self, rows: set[IndexRow], attribute: IndexedAttribute, value: Any) -> None:
        numbers = self.numbers
        # Of an element; `meta` has none.
        marker = None if attribute.is_simple else numbers.get(attribute.path.text)
        for number, (element, keys) in enumerate(attribute.elements(value)):
            for path, key in keys:
                if len(key) <= KEY_LENGTH:
                    rows.add((numbers[path.text], key, number, None))
                else:
                    rows.add((numbers[path.text], index_key(key), number, key if path.is_text else None))
            if marker is not None:
                present = (keys and keys[0][1]) or any(one not in (None, "", []) for one in element.values())
                rows.add((marker, "1" if present else "", number, None))

    def unique_rows(self, rows: Iterable[IndexRow]) -> set[tuple[int, str]]:
        """Return the rows of scim_unique, without rid, for rows of scim_attribute: unique paths have both."""
        return {(path, key) for path, key, _, _ in rows if key != "" and path in self._unique}

    def unique_path(self, number: int) -> str:
        """Return the text of the unique path with that number."""
        return self._unique[number]
