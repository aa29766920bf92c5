"""The rows that a resource has in the side tables: what it can be found by."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from schema.resource_type import ResourceType
from storage.adapter import StoredResource
from storage.index_keys import KEY_LENGTH, IndexedAttribute, IndexWalk, index_key, with_dates
from storage.owners import PER_OWNER

IndexRow = tuple[int, str, int, str | None]
"""path number, key, element, and the whole key where it had to be shortened"""

UniqueRow = tuple[int, str, str]
"""path number, key, and the owner among whose resources the key is unique, empty for all resources"""

# The columns that a statement gives values for, in its order.
RESOURCE: Final = "type, id, version, created, last_modified, display, secrets, twin, indexed_version, owner"
UNIQUE: Final = "path, value, owner, rid"
ATTRIBUTE: Final = "path, value, rid, element, long_value"

LISTED: Final = 2
"""in scim_path.ready, what 1 is, and that scim_lacking has every resource of the type without a value"""

_NOTHING: Final = StoredResource("", "{}")


class TypeLayout:
    """Where one resource type is kept, and the rows that its resources have in the side tables.

    `table` is an identifier, quoted where it must be; `numbers` maps the text of each path with rows to its
    number in scim_path. `listed` are those for which a write lists resources without a value, and `grown`
    counts what this process has added to each list (`storage.index.lacking`). `generation` is the one in
    which the rows of this layout are right, `readable` one in which what is found by its paths is.
    """

    def __init__(
        self,
        resource_type: ResourceType,
        type_number: int,
        table: str,
        numbers: Mapping[str, int],
    ) -> None:
        self.resource_type = resource_type
        self.number = type_number
        self.table = table
        self._walk = IndexWalk(resource_type, numbers)
        unique = [path.text for path in resource_type.unique_paths]
        self._unique_walk = IndexWalk(resource_type, unique)
        self.grown: dict[int, int] = {}
        self.follow(0, numbers, ())

    def follow(self, generation: int, numbers: Mapping[str, int], listed: Iterable[int]) -> None:
        """Go on in a generation with the same paths and rules, where the paths may have other numbers."""
        self.numbers = numbers
        self._unique = {numbers[path.text]: path.text for path in self.resource_type.unique_paths}
        self.listed = set(listed)
        # Last: other threads compare with it what they find by the numbers.
        self.generation = self.readable = generation

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
                if attribute.is_present is not None:
                    present = attribute.is_present({attribute.path.text: element})
                else:
                    has_key = bool(keys and keys[0][1])
                    present = has_key or any(one not in (None, "", []) for one in element.values())
                rows.add((marker, "1" if present else "", number, None))

    def unique_rows(self, rows: Iterable[IndexRow], owner: str | None = None) -> set[UniqueRow]:
        """Return the rows of scim_unique, without rid, of the unique values in rows of scim_attribute."""
        within = {PER_OWNER: owner or ""}
        unique = self._unique
        present = {(path, key) for path, key, _, _ in rows if key != "" and path in unique}
        return {(path, key, within.get(unique[path], "")) for path, key in present}

    def unique_rows_of(self, resource: StoredResource) -> set[UniqueRow]:
        """Return the rows of scim_unique, without rid, for a canonical resource."""
        rows: set[IndexRow] = set()
        for attribute, _, value in self._unique_walk.changed({}, resource.document):
            self._add_rows(rows, attribute, value)
        return self.unique_rows(rows, resource.owner)

    def lacking(self, rows: Iterable[IndexRow]) -> set[int]:
        """Return the paths of `listed` that a resource with these rows has no value of."""
        return self.listed - {path for path, _, element, _ in rows if element == 0}

    def unique_path(self, number: int) -> str:
        """Return the text of the unique path with that number."""
        return self._unique[number]
