"""What a resource can be found by: texts of `path=key`, in one array that one index is on.

Keys are those of `schema.values`: two values are equal when their keys are, and ordered as these.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schema.resource_type import AttributePath, ResourceType
from schema.values import lenient_key
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import BoundPresence
from storage.index_keys import KEY_LENGTH, index_key, indexed_paths, numbered_paths, signature
from storage.search import sort_key

# In `path=key`; `path>` is behind all keys of a path, `path~` says that it has a long value.
EQUALS, BEHIND, LONG = "=", ">", "~"

# Changes when documents have to be indexed anew whatever their schemas are.
_VERSION: Final = 2
# MongoDB has no more than 64 indexes on a collection.
_MOST_SORT_INDEXES: Final = 40


@dataclass(frozen=True, slots=True)
class Claim:
    """A unique value that a resource holds: `id` is the value, `token` tells this holder from all others."""

    id: str
    token: int


@dataclass(frozen=True)
class _Simple:
    """A path with values; `keeps_whole` says whether a long key is kept beside its beginning."""

    path: AttributePath
    key: Callable[[Any], str | None]
    keeps_whole: bool


@dataclass(frozen=True)
class _Complex:
    """A complex attribute and its sub-attributes by name."""

    path: AttributePath
    is_present: Callable[[Mapping[str, Any]], bool]
    entries: dict[str, _Simple] = field(default_factory=dict)


@dataclass
class _Entries:
    """The texts of one resource, or of one element."""

    keys: set[str] = field(default_factory=set)
    long: set[str] = field(default_factory=set)

    def add(self, entry: _Simple, value: Any) -> None:
        key = entry.key(value)
        if key is None:
            # Not of its type: another program wrote it, and it satisfies no comparison.
            return
        text = entry.path.text
        self.keys.add(f"{text}{EQUALS}{index_key(key)}")
        if len(key) > KEY_LENGTH and entry.keeps_whole:
            self.keys.add(f"{text}{LONG}")
            self.long.add(f"{text}{EQUALS}{key}")

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"keys": sorted(self.keys)}
        return {**found, "long": sorted(self.long)} if self.long else found


class Layout:
    """Where one resource type is kept, and what its documents are found by.

    `indexed` is as for `indexed_paths`. `signature` changes when entries have to be made again.
    """

    def __init__(
        self, resource_type: ResourceType, collection: str, indexed: frozenset[str] | None = None
    ) -> None:
        self.resource_type = resource_type
        self.collection = collection
        self._meta = [self._simple(text) for text in ("meta.created", "meta.lastModified")]
        self._spaces: dict[str | None, dict[str, _Simple | _Complex]] = {None: {}}
        for path in indexed_paths(resource_type, indexed):
            self._add(path)
        self._unique = [self._simple(path.text) for path in resource_type.unique_paths]
        meta = {entry.path.text for entry in self._meta}
        self.paths = frozenset(meta | {path.text for path in indexed_paths(resource_type, indexed)})
        texts = numbered_paths(resource_type, indexed)
        parts = [str(_VERSION), *(f"{text} {signature(resource_type, text)}" for text in sorted(texts))]
        self.signature = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        self._wanted = indexed

    def _simple(self, text: str) -> _Simple:
        path = self.resource_type.path(text)
        assert path is not None
        return _Simple(path, lenient_key(path.leaf), path.leaf.type in ("string", "reference"))

    def _add(self, path: AttributePath) -> None:
        space = self._spaces.setdefault(path.extension, {})
        name = path.attribute.name
        if path.attribute.is_complex and path.sub_attribute is None:
            alone = AttributePath(path.attribute)
            space[name] = _Complex(path, compile_predicate(BoundPresence(alone)))
            return
        holder = space.get(name)
        if isinstance(holder, _Complex):
            holder.entries[path.leaf.name] = self._simple(path.text)
        else:
            space[name] = self._simple(path.text)

    def entries(self, document: Mapping[str, Any], created: str, last_modified: str) -> dict[str, Any]:
        """Return what a canonical resource is found by, as it stands in `_scim`."""
        found = _Entries()
        elements: list[dict[str, Any]] = []
        sort: dict[str, str | None] = {}
        for date, instant in zip(self._meta, (created, last_modified), strict=True):
            found.add(date, instant)
            sort[date.path.text] = sort_key(date.path, {"meta": {date.path.leaf.name: instant}})
        for entry, value in self._present(document):
            values = value if isinstance(value, list) else [value]
            if isinstance(entry, _Simple):
                for single in values:
                    found.add(entry, single)
                sort[entry.path.text] = sort_key(entry.path, document)
                continue
            for element in values:
                if isinstance(element, Mapping):
                    elements += self._element(entry, element, found)
            for sub in entry.entries.values():
                sort[sub.path.text] = sort_key(sub.path, document)
        keys = {text.replace(".", "%2E"): key for text, key in sort.items() if key is not None}
        kept = {**found.as_json(), "sort": keys}
        return {**kept, "elements": elements} if elements else kept

    def _present(self, document: Mapping[str, Any]) -> Iterator[tuple[_Simple | _Complex, Any]]:
        for extension, space in self._spaces.items():
            holder = document if extension is None else document.get(extension)
            for name, value in holder.items() if isinstance(holder, Mapping) else ():
                entry = space.get(name)
                if entry is not None and value is not None:
                    yield entry, value

    @staticmethod
    def _element(entry: _Complex, element: Mapping[str, Any], whole: _Entries) -> list[dict[str, Any]]:
        """Add an element of a complex attribute to `whole`; return it by itself if it may have others."""
        own = _Entries()
        for name, value in element.items():
            sub = entry.entries.get(name)
            for single in value if isinstance(value, list) else (value,):
                if sub is not None and single is not None:
                    own.add(sub, single)
        present = entry.is_present({entry.path.attribute.name: [element]})
        whole.keys |= own.keys | {f"{entry.path.text}{EQUALS}{'1' if present else ''}"}
        whole.long |= own.long
        multi_valued = entry.path.attribute.multi_valued
        return [{"path": entry.path.text, **own.as_json()}] if multi_valued else []

    def unique_ids(self, document: Mapping[str, Any]) -> set[str]:
        """Return the ids that claims on the unique values of a canonical resource have."""
        return {
            f"{self.resource_type.name}/{entry.path.text}{EQUALS}{index_key(key)}"
            for entry in self._unique
            for value in entry.path.values(document)
            if value != "" and (key := entry.key(value)) is not None
        }

    def unique_path(self, claim_id: str) -> str:
        """Return the path of the unique value that a claim is on."""
        return claim_id.partition("/")[2].partition(EQUALS)[0]

    def sort_field(self, path: AttributePath) -> str | None:
        """Return the field that the resources can be sorted by, or None."""
        if path.text == "id":
            return "_id"
        if path.leaf.is_complex or path.text not in self.paths:
            return None
        return f"_scim.sort.{path.text.replace('.', '%2E')}"

    def sorted_fields(self) -> list[str]:
        """Return the fields of the orders that have an index: of the names people sort by, of dates.

        With INDEXED_ATTRIBUTES, of these too.
        """
        paths = [entry.path for entry in (*self._unique, *self._meta)]
        named = {path.text.lower() for path in paths} | {"displayname"} | (self._wanted or frozenset())
        fields = [
            self.sort_field(path)
            for path in (*paths, *self.resource_type.simple_paths)
            if path.text.lower() in named
        ]
        return list(dict.fromkeys(f for f in fields if f))[:_MOST_SORT_INDEXES]
