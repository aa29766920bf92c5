"""What resources are found by, wherever an index of our own holds them: values, and short keys of these."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from schema.resource_type import AttributePath, ResourceType
from schema.values import key_function
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import BoundPresence

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

    Of a simple attribute, the name is empty. `is_present` says of an extension whether it counts for `pr`.
    """

    path: AttributePath
    is_simple: bool
    paths: dict[str, IndexedPath] = field(default_factory=dict)
    is_present: Callable[[Mapping[str, Any]], bool] | None = None

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

    `texts` are the paths with entries. The URN of an extension is one: all of the extension is an element
    without keys.
    """

    def __init__(self, resource_type: ResourceType, texts: Iterable[str]) -> None:
        # By extension, then by name of attribute: a resource has few of all that it could have.
        self._spaces: dict[str | None, dict[str, IndexedAttribute]] = {None: {}}
        for path in filter(None, map(resource_type.path, texts)):
            space = self._spaces.setdefault(path.extension, {})
            own = AttributePath(path.attribute, None, path.extension)
            presence = None
            if path.text in resource_type.extension_urns:
                presence = compile_predicate(BoundPresence(path))
            simple = not path.attribute.is_complex
            holder = space.setdefault(path.attribute.name, IndexedAttribute(own, simple, {}, presence))
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
