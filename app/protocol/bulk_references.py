"""References of one Bulk request by bulkId (RFC 7644 section 3.7.2): which operation needs which, and ids.

A bulkId stands for an id wherever an operation of the request is called so. Where an id is expected
(in `path`, `value`, `$ref` and the filters of a PATCH), a bulkId that stands for nothing is an error;
elsewhere it is text like any other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from schema.errors import InvalidValue
from schema.resource_type import ResourceType

_REFERENCE: Final = re.compile(r"bulkId:(.+)", re.IGNORECASE | re.DOTALL)
# The reference at the end of a URI, such as `../Users/bulkId:a`.
_IN_URI: Final = re.compile(r"(|.*/)bulkId:([^/]+)", re.IGNORECASE | re.DOTALL)
# A string of a filter is one of JSON.
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_IDS: Final = frozenset({"value", "$ref"})
_MENTION: Final = re.compile("bulkId:", re.IGNORECASE)


@dataclass
class Ids:
    """What became of the bulkIds of a request: ids of resources, and those that stand for nothing."""

    created: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


class BulkReferences:
    """The references between the operations of one request."""

    def __init__(self, operations: Sequence[Mapping[str, Any]]) -> None:
        self._operations = operations
        self._creators: dict[str, list[int]] = {}
        for position, operation in enumerate(operations):
            if creates(operation):
                self._creators.setdefault(bulk_id_of(operation), []).append(position)
        # Most operations refer to none, and need not be walked through.
        self._referring = frozenset(n for n, operation in enumerate(operations) if _mentions(operation))
        self._ranks: dict[int, int] = {}
        self.order = tuple(self._ordered())
        self._closing = self._find_closing()

    def _ordered(self) -> Iterator[int]:
        """Yield the positions of all operations, each behind those that it refers to.

        Otherwise the order is that of the request, also within a circle of references.
        """
        for first in range(len(self._operations)):
            # As deep as clients like: no recursion.
            waiting = [] if first in self._ranks else [self._begin(first)]
            while waiting:
                position, others = waiting[-1]
                following = next((other for other in others if other not in self._ranks), None)
                if following is None:
                    yield position
                    waiting.pop()
                else:
                    waiting.append(self._begin(following))

    def _begin(self, position: int) -> tuple[int, Iterator[int]]:
        self._ranks[position] = len(self._ranks)
        return position, iter(self._referred(position))

    def _find_closing(self) -> Mapping[int, Sequence[int]]:
        """Return the operations in circles, by the last one that each refers to, where that comes later."""
        places = {position: place for place, position in enumerate(self.order)}
        closing: dict[int, list[int]] = {}
        for position in self.order if self._creators else ():
            last = max(self._referred(position), key=places.__getitem__, default=position)
            if places[last] >= places[position] and position in self._referring:
                closing.setdefault(last, []).append(position)
        return closing

    def closed_by(self, position: int) -> Sequence[int]:
        """Return the operations that refer to this one, which comes after them, and to nothing later."""
        return self._closing.get(position, ())

    def waits(self, position: int, other: int) -> bool:
        """Return whether an operation that comes later in `order` is there to be done after `other`."""
        return self._ranks[position] < self._ranks[other]

    def _referred(self, position: int) -> list[int]:
        """Return the positions of the operations that create what the one at `position` refers to."""
        if not self._creators or position not in self._referring:
            return []
        operation = self._operations[position]
        names, path = _Names(), operation.get("path")
        names.resolved(path.strip("/").rpartition("/")[2] if isinstance(path, str) else None)
        names.resolved(operation.get("data"))
        return sorted(p for name in names.found for p in self._creators.get(name, ()))

    def path(self, text: str, ids: Ids) -> str:
        """Return the id in the path of an operation. Raises InvalidValue for that of nothing."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            return text
        found = ids.created.get(match.group(1))
        if found is None:
            raise InvalidValue(f"path: {_unknown(match.group(1))}")
        return found

    def data(self, resource_type: ResourceType, position: int, ids: Ids) -> tuple[Any, list[str]]:
        """Return the data of an operation with ids for bulkIds, and the bulkIds of what is still to come.

        An element of a list that refers to such a resource is left out for now. Raises InvalidValue
        for a reference to what no operation creates, or what could not be created.
        """
        data = self._operations[position].get("data")
        if position not in self._referring:
            return data, []
        resolver = _Resolver(resource_type, self._creators, ids)
        return resolver.resolved(data), resolver.left


class _Walk:
    """Goes through JSON and replaces what refers to an operation."""

    def resolved(self, value: Any, key: str = "") -> Any:
        """Return a value, found under `key`, with its references replaced."""
        if isinstance(value, str):
            return self._text(value, key)
        if isinstance(value, Mapping):
            return {self._filters(key): self.resolved(value[key], _kind(value, key)) for key in value}
        if isinstance(value, list):
            return self._elements(value, key)
        return value

    def _elements(self, elements: list[Any], key: str) -> list[Any]:
        return [self.resolved(element, key) for element in elements]

    def _text(self, text: str, key: str) -> Any:
        match = _REFERENCE.fullmatch(text)
        if match is not None:
            return self._reference(match.group(1), text, key)
        if key == "$ref" and (match := _IN_URI.fullmatch(text)) is not None:
            found = self._reference(match.group(2), text, key)
            return found if found is None or found == text else f"{match.group(1)}{found}"
        return self._filters(text) if key == "path" else text

    def _filters(self, text: str) -> str:
        """Replace references in the filters of a path, where they are strings of their own."""
        if '"' not in text or "bulkid:" not in text.lower():
            return text
        return _QUOTED.sub(self._quoted, text)

    def _quoted(self, found: re.Match[str]) -> str:
        try:
            match = _REFERENCE.fullmatch(orjson.loads(found.group()))
        except orjson.JSONDecodeError:
            match = None
        if match is None:
            return found.group()
        return orjson.dumps(self._reference(match.group(1), found.group(), "value")).decode()

    def _reference(self, name: str, text: str, key: str) -> str | None:
        raise NotImplementedError


class _Names(_Walk):
    """Collects the bulkIds that are referred to."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def _reference(self, name: str, text: str, key: str) -> str | None:
        self.found.add(name)
        return text


class _Resolver(_Walk):
    """Puts ids in the place of bulkIds, for a resource of one type."""

    def __init__(
        self, resource_type: ResourceType, creators: Mapping[str, Sequence[int]], ids: Ids
    ) -> None:
        self._resource_type = resource_type
        self._creators = creators
        self._ids = ids
        self.left: list[str] = []

    def _elements(self, elements: list[Any], key: str) -> list[Any]:
        kept = []
        for element in elements:
            before = len(self.left)
            found = self.resolved(element, key)
            if len(self.left) == before:
                kept.append(found)
        return kept

    def _reference(self, name: str, text: str, key: str) -> str | None:
        if name in self._ids.created:
            return self._ids.created[name]
        if name in self._creators and name not in self._ids.failed:
            self.left.append(name)
            return None
        if name in self._creators or self._holds_ids(key):
            raise InvalidValue(_unknown(name))
        return text

    def _holds_ids(self, key: str) -> bool:
        """Return whether an id is expected under a key: it, or its attribute, refers to resources."""
        name = re.split(r"[.:]", key)[-1]
        attributes = (path.attribute for path in self._resource_type.simple_paths)
        return name in _IDS or any(a.name.lower() == name and a.sub_attribute("$ref") for a in attributes)


def creates(operation: Mapping[str, Any]) -> bool:
    """Return whether an operation is to create what its bulkId stands for."""
    return bool(bulk_id_of(operation)) and str(operation.get("method", "")).upper() == "POST"


def bulk_id_of(operation: Mapping[str, Any]) -> str:
    """Return the bulkId of an operation, empty when it has none."""
    bulk_id = operation.get("bulkId")
    return bulk_id if isinstance(bulk_id, str) else ""


def _mentions(operation: Mapping[str, Any]) -> bool:
    """Return whether there is anything like a reference in an operation."""
    text = orjson.dumps([operation.get("path"), operation.get("data")]).decode()
    return _MENTION.search(text) is not None


def _kind(holder: Mapping[str, Any], key: str) -> str:
    """Return what decides whether a value is an id: its key, or the path of the PATCH operation it is in."""
    name = key.lower()
    members = {other.lower(): item for other, item in holder.items()} if name == "value" else {}
    path = members.get("path")
    return path.lower() if "op" in members and isinstance(path, str) and path else name


def _unknown(name: str) -> str:
    return f"bulkId:{name[:200]} was not created"
