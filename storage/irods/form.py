"""What is kept of a resource as metadata of its account: the document, its version, what it is found by.

Every value is ASCII without quotes or control characters: iRODS can write more than it can read, and
its query language has no way to escape a quote.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import orjson

from schema.resource_type import AttributePath, ResourceType
from storage.adapter import StoredResource
from storage.foreign import instant_of
from storage.index_keys import IndexWalk, indexed_paths, place_of
from storage.irods.wire import Avu
from storage.uniqueness import unique_values

# All that belongs to a resource begins so; members are apart, for there may be very many.
OURS: Final = "scim."
DOCUMENT: Final = "scim.document"
VERSION: Final = "scim.version"
WRITING: Final = "scim.writing"
ADOPTED: Final = "scim.adopted"
KEY: Final = "scim.key."
MEMBER: Final = "scim-member"
MEMBER_DISPLAY: Final = "scim-member-display"
CREATING: Final = "scim-creating"
# The marks of a group that holds the data of a deleted user.
DELETED: Final = "DELETED"
TIMESTAMP: Final = "TIMESTAMP"

# The version of an account that other programs made and this one has not written yet.
FOREIGN: Final = "0"
CHUNK: Final = 2700
# Of a key, the characters that are kept as they are; the rest is told by a digest.
_KEY_LENGTH: Final = 200
_NEVER: Final = "1970-01-01T00:00:00.000Z"
# Paths with keys beside the unique ones: what clients look resources up by.
_LOOKED_UP: Final = ("displayName", "emails.value", "externalId")


def document_avus(resource: StoredResource) -> list[Avu]:
    """Return what keeps a resource, in pieces that iRODS can hold and read back."""
    kept = {
        "resource": resource.document,
        "created": resource.created,
        "lastModified": resource.last_modified,
    }
    text = json.dumps(kept, separators=(",", ":"))
    chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    return [
        Avu(DOCUMENT, chunk, f"{resource.version}/{number}/{len(chunks)}")
        for number, chunk in enumerate(chunks)
    ]


def stored_from(number: int, avus: Iterable[Avu]) -> StoredResource | None:
    """Return the resource that pieces of metadata keep, or None when they keep none that can be read.

    A document is whole or not there; of several the one with the latest version counts.
    """
    found: dict[str, dict[int, str]] = {}
    counts: dict[str, int] = {}
    for avu in avus:
        version, _, place = avu.unit.partition("/")
        index, _, count = place.partition("/")
        if avu.attribute == DOCUMENT and index.isdecimal() and count.isdecimal():
            found.setdefault(version, {})[int(index)] = avu.value
            counts[version] = int(count)
    for version in sorted(found, key=_order, reverse=True):
        chunks = found[version]
        if set(chunks) != set(range(counts[version])):
            continue
        read = _read(number, version, "".join(chunks[index] for index in range(len(chunks))))
        if read is not None:
            return read
    return None


def _order(version: str) -> tuple[int, str]:
    number, _, mark = version.partition(".")
    return (int(number) if number.isdecimal() else 0, mark)


def _read(number: int, version: str, text: str) -> StoredResource | None:
    try:
        kept = orjson.loads(text)
        document = {**kept["resource"], "id": str(number)}
        created = instant_of(kept["created"]) or _NEVER
        modified = instant_of(kept["lastModified"]) or created
        text = orjson.dumps(document).decode()
    except (ValueError, TypeError, LookupError):
        return None
    return StoredResource(str(number), text, version, created, modified, place=place_of(number))


def next_version(version: str, mark: str) -> str:
    """Return the version after `version`; `mark` tells it from what another writer would make."""
    return f"{_order(version)[0] + 1}.{mark}"


def with_id(resource: StoredResource, number: int, version: str) -> StoredResource:
    """Return `resource` as it is kept under the id of its account, without its secrets."""
    text = orjson.dumps({**resource.document, "id": str(number)}).decode()
    kept = replace(resource, id=str(number), text=text, version=version, secrets={}, memberships=None)
    return replace(kept, place=place_of(number))


class KeyAvus:
    """What the resources of one type are found by: `paths` are the texts of the paths."""

    def __init__(self, resource_type: ResourceType) -> None:
        self._type = resource_type
        self._walk = IndexWalk(resource_type, frozenset(_LOOKED_UP))
        found = indexed_paths(resource_type, frozenset(_LOOKED_UP))
        self.paths = {path.text for path in found if not path.leaf.is_complex}

    def all_of(self, document: Mapping[str, Any]) -> set[Avu]:
        """Return a piece for each value that resources are found by."""
        return {
            key_avu(path.path, key)
            for attribute, _, value in self._walk.changed({}, document)
            for _, keys in attribute.elements(value)
            for path, key in keys
            if key != "" and path.text in self.paths
        }

    def unique_of(self, document: Mapping[str, Any]) -> set[Avu]:
        """Return a piece for each value that no two resources may share."""
        return {key_avu(path, key) for path, key in unique_values(self._type, document)}


def key_avu(path: AttributePath, key: str) -> Avu:
    """Return the piece by which a comparison key is found."""
    shown = quote(key[:_KEY_LENGTH], safe="@:/+")
    if len(key) > _KEY_LENGTH:
        shown = f"{shown}~{hashlib.sha256(key.encode()).hexdigest()}"
    return Avu(KEY + path.text, shown)


def key_prefix(key: str) -> str:
    """Return what the value of every piece begins with whose key begins with `key`."""
    return quote(key[:_KEY_LENGTH], safe="@:/+")


def path_of(avu: Avu) -> str:
    """Return the path that a key belongs to."""
    return avu.attribute.removeprefix(KEY)


def of_attribute(avus: Iterable[Avu], attribute: str) -> Sequence[Avu]:
    return [avu for avu in avus if avu.attribute == attribute]
