"""Index entries of a resource: texts of `path=key`, in one array with one index.

Keys are those of `schema.values`: equal values have equal keys, and values sort as their keys do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schema.resource_type import AttributePath, ResourceType
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import BoundPresence
from storage.claims import UniqueValue
from storage.index_keys import KEY_LENGTH, IndexedAttribute, IndexedPath, IndexWalk, index_key, with_dates
from storage.index_paths import EVERYTHING, entry_paths, indexed_paths, rules_digest, rules_of
from storage.owners import OWNER, PER_OWNER
from storage.resource import StoredResource
from storage.search import sort_key
from storage.uniqueness import unique_values

# In `path=key`. `path>` sorts after all keys of a path; the entry `path~` marks a long value.
EQUALS, BEHIND, LONG = "=", ">", "~"

# Raised when every document must be indexed again, even with unchanged schemas.
_VERSION: Final = 1
# MongoDB has no more than 64 indexes on a collection.
_MOST_SORT_INDEXES: Final = 40


@dataclass
class _Entries:
    """The entries of one resource, or of one element."""

    keys: set[str] = field(default_factory=set)
    long: set[str] = field(default_factory=set)

    def add(self, path: IndexedPath, key: str) -> None:
        text = path.text
        self.keys.add(f"{text}{EQUALS}{index_key(key)}")
        if len(key) > KEY_LENGTH and path.is_text:
            self.keys.add(f"{text}{LONG}")
            self.long.add(f"{text}{EQUALS}{key}")

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"keys": sorted(self.keys)}
        return {**found, "long": sorted(self.long)} if self.long else found


def owner_key(owner: str) -> str:
    """Return the index entry of the resources of an owner."""
    return f"{OWNER.text}{EQUALS}{owner}"


def _with_holders(paths: Iterable[AttributePath]) -> list[AttributePath]:
    """Return paths and the complex attributes that they are in: filters in brackets need their elements."""
    found: dict[str, AttributePath] = {}
    for path in paths:
        holder = AttributePath(path.attribute, None, path.extension)
        found |= {holder.text: holder, path.text: path}
    return list(found.values())


class Layout:
    """The collection of one resource type, and the index entries of its documents.

    `indexed` is as for `indexed_paths`, but None is for everything. A new `signature` means that entries
    must be made again.
    """

    def __init__(
        self, resource_type: ResourceType, collection: str, indexed: frozenset[str] | None = None
    ) -> None:
        self.resource_type = resource_type
        self.collection = collection
        chosen = frozenset({EVERYTHING}) if indexed is None else indexed
        paths = _with_holders(indexed_paths(resource_type, chosen))
        texts = list(dict.fromkeys([*entry_paths(resource_type, chosen), *(path.text for path in paths)]))
        self._walk = IndexWalk(resource_type, texts)
        # Whether an element of a complex attribute counts for `pr`.
        self._is_present = {
            path.text: compile_predicate(BoundPresence(AttributePath(path.attribute)))
            for path in paths
            if path.leaf.is_complex
        }
        self.paths = frozenset({"meta.created", "meta.lastModified", *(path.text for path in paths)})
        self.signature = rules_digest(rules_of(resource_type, texts), version=_VERSION)
        self._wanted = indexed

    def entries(
        self, document: Mapping[str, Any], created: str, last_modified: str, owner: str | None = None
    ) -> dict[str, Any]:
        """Return the index entries of a canonical resource, as they stand in `_scim`."""
        found = _Entries()
        if owner is not None:
            found.keys.add(owner_key(owner))
        elements: list[dict[str, Any]] = []
        sort: dict[str, str | None] = {}
        document = with_dates(document, created, last_modified)
        for attribute, _, value in self._walk.changed({}, document):
            for element, keys in attribute.elements(value):
                own = _Entries()
                for path, key in keys:
                    own.add(path, key)
                found.keys |= own.keys
                found.long |= own.long
                if not attribute.is_simple:
                    found.keys |= self._marker(attribute, element)
                    if attribute.path.attribute.multi_valued:
                        elements.append({"path": attribute.path.text, **own.as_json()})
            for path in attribute.paths.values():
                sort[path.text] = sort_key(path.path, document)
        shown = {text.replace(".", "%2E"): key for text, key in sort.items() if key is not None}
        kept = {**found.as_json(), "sort": shown}
        return {**kept, "elements": elements} if elements else kept

    def _marker(self, attribute: IndexedAttribute, element: Mapping[str, Any]) -> set[str]:
        """Return the entry that marks an element as present; `meta` has none."""
        is_present = self._is_present.get(attribute.path.text)
        if is_present is None:
            return set()
        present = is_present({attribute.path.attribute.name: [element]})
        return {f"{attribute.path.text}{EQUALS}{'1' if present else ''}"}

    def unique_values(self, resource: StoredResource) -> set[UniqueValue]:
        """Return the unique values of a resource, with keys short enough for an index."""
        # No value has the character that stands before the owner.
        within = {} if resource.owner is None else {PER_OWNER: f"\0{resource.owner}"}
        return {
            UniqueValue(
                self.resource_type.name, path.text, index_key(key) + within.get(path.text, "")
            )
            for path, key in unique_values(self.resource_type, resource.document)
        }

    def sort_field(self, path: AttributePath) -> str | None:
        """Return the field that the resources can be sorted by, or None."""
        if path.text == "id":
            return "_id"
        if path.leaf.is_complex or path.text not in self.paths:
            return None
        return f"_scim.sort.{path.text.replace('.', '%2E')}"

    def sorted_fields(self) -> list[str]:
        """Return the fields of the orders that have an index: unique attributes, displayName and dates.

        With INDEXED_ATTRIBUTES, those too.
        """
        dates = map(self.resource_type.path, ("meta.created", "meta.lastModified"))
        paths = [*self.resource_type.unique_paths, *filter(None, dates)]
        named = {path.text.lower() for path in paths} | {"displayname"} | (self._wanted or frozenset())
        fields = [
            self.sort_field(path)
            for path in (*paths, *self.resource_type.simple_paths)
            if path.text.lower() in named
        ]
        return list(dict.fromkeys(f for f in fields if f))[:_MOST_SORT_INDEXES]
