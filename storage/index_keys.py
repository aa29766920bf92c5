"""What resources are found by, wherever an index of our own holds them: paths, their values, short keys."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from schema.resource_type import AttributePath, ResourceType
from schema.values import key_function

# Values longer than this are indexed by their beginning and a digest, so that an index entry
# stays below the limits of every database (MariaDB allows 3,072 bytes).
KEY_LENGTH = 256
LAST_CHARACTER = "\U0010ffff"


def index_key(key: str) -> str:
    """Return a comparison key short enough for an index; equal keys stay equal, others differ."""
    if len(key) <= KEY_LENGTH:
        return key
    return f"{key[:KEY_LENGTH]}{LAST_CHARACTER}{hashlib.sha256(key.encode()).hexdigest()}"


def place_of(number: int) -> str:
    """Return the place of what has a number from 0 on in the order of a backend."""
    return f"{number:016x}"


def number_at(place: str) -> int:
    """Return the number that `place_of` was given."""
    return int(place, 16)


def successor(text: str) -> str | None:
    """Return the least text that is greater than everything that begins with `text`."""
    while text:
        last = ord(text[-1])
        if last < 0x10FFFF:
            # Surrogates are no characters of text.
            return text[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        text = text[:-1]
    return None


def indexed_paths(
    resource_type: ResourceType, indexed: frozenset[str] | None = None
) -> Iterator[AttributePath]:
    """Yield the paths that an index has entries for, complex attributes before their sub-attributes.

    A complex attribute has an entry per element: it says that the element is there. Links between
    resources and `id` are found elsewhere; `schemas` are left to evaluation.
    `indexed` holds the paths to index, a complex attribute or the URN of an extension for all that
    is in it; unique attributes and `externalId` are indexed anyway. None is for everything.
    """
    links = (resource_type.members, resource_type.memberships)
    # Clients look their own identifiers up, unique or not.
    wanted = {"externalId", *(path.text for path in resource_type.unique_paths)}
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
    """Return what the entries of a path are made by: when it changes, they must be made again."""
    path = resource_type.path(text)
    assert path is not None
    leaf = path.leaf
    names = sorted(sub.name for sub in leaf.sub_attributes)
    parts = (leaf.type, leaf.case_exact, leaf.uniqueness, path.attribute.multi_valued, *names)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class IndexedPath:
    """A path with keys; `is_text` says whether its values are searched for parts of them."""

    path: AttributePath
    text: str
    key: Callable[[Any], str]
    is_text: bool


Keys = list[tuple[IndexedPath, str]]


@dataclass(frozen=True)
class IndexedAttribute:
    """An attribute with keys: its own path, and the paths of its values by name of sub-attribute.

    Of a simple attribute, the name is empty.
    """

    path: AttributePath
    is_simple: bool
    paths: dict[str, IndexedPath] = field(default_factory=dict)

    def elements(self, value: Any) -> list[tuple[Mapping[str, Any], Keys]]:
        """Return each element of the attribute with its keys; that of a simple attribute is empty.

        RFC 7644 section 3.4.2.3 sorts by the primary value, or else the first: that one is the first here.
        """
        values = value if isinstance(value, list) else [value]
        if self.is_simple:
            return [({}, _keys(self.paths, {"": single})) for single in values]
        elements = [element for element in values if isinstance(element, dict)]
        if len(elements) > 1:
            # Of several that say so, a later one: existing index rows are by that.
            first = next((n for n, one in enumerate(elements) if n and one.get("primary") is True), 0)
            elements.insert(0, elements.pop(first))
        return [(element, _keys(self.paths, element)) for element in elements]


def _keys(paths: Mapping[str, IndexedPath], element: Mapping[str, Any]) -> Keys:
    found: Keys = []
    for name, value in element.items():
        path = paths.get(name)
        if path is None or value is None:
            continue
        for single in value if name and isinstance(value, list) else (value,):
            try:
                found.append((path, path.key(single)))
            except (TypeError, ValueError, AttributeError):
                # Another program stored it: what is not of its type satisfies no comparison.
                continue
    return found


class IndexWalk:
    """Walks through what an index holds of resources: attributes, their elements, the keys of each.

    `indexed` is as for `indexed_paths`.
    """

    def __init__(self, resource_type: ResourceType, indexed: frozenset[str] | None = None) -> None:
        # By extension, then by name of attribute: a resource has few of all that it could have.
        self._spaces: dict[str | None, dict[str, IndexedAttribute]] = {None: {}}
        dates = (resource_type.path(text) for text in ("meta.created", "meta.lastModified"))
        for path in (*filter(None, dates), *indexed_paths(resource_type, indexed)):
            space = self._spaces.setdefault(path.extension, {})
            own = AttributePath(path.attribute, None, path.extension)
            simple = not path.attribute.is_complex
            holder = space.setdefault(path.attribute.name, IndexedAttribute(own, simple))
            if not path.leaf.is_complex:
                name = path.sub_attribute.name if path.sub_attribute else ""
                is_text = path.leaf.type in ("string", "reference")
                holder.paths[name] = IndexedPath(path, path.text, key_function(path.leaf), is_text)

    def changed(
        self, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> Iterator[tuple[IndexedAttribute, Any, Any]]:
        """Yield each attribute whose values differ between canonical resources, with both values.

        The resources are with dates (`with_dates`) where these have keys too.
        """
        for extension, space in self._spaces.items():
            one, other = _attributes(before, extension), _attributes(after, extension)
            for name in {**one, **other}:
                attribute = space.get(name)
                if attribute is None:
                    continue
                was, now = one.get(name), other.get(name)
                # To Python, true equals 1: what is no text must be the same JSON.
                if was != now or (type(was) is not str and orjson.dumps(was) != orjson.dumps(now)):
                    yield attribute, was, now


def _attributes(document: Mapping[str, Any], extension: str | None) -> Mapping[str, Any]:
    if extension is None:
        return document
    held = document.get(extension)
    # A dict, not any Mapping: the check is many times cheaper, and JSON has no other.
    return held if isinstance(held, dict) else {}


def with_dates(document: Mapping[str, Any], created: str, last_modified: str) -> dict[str, Any]:
    """Return a resource with the dates that are kept beside it, empty ones apart."""
    dates = {"created": created, "lastModified": last_modified}
    return {**document, "meta": {name: instant for name, instant in dates.items() if instant}}
