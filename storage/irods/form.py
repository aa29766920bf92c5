"""The form of a resource in iRODS: an account with a name and an id, and metadata for everything else.

Every value of metadata is ASCII without quotes or control characters. iRODS can write more than it can
read, and its query language has no way to escape a quote.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

import orjson

from schema.resource_type import ResourceType
from storage.adapter import Member, StoredResource
from storage.claims import UniqueValue
from storage.errors import ResourceNotFound, StorageUnavailable, UnsupportedByBackend
from storage.foreign import instant_of
from storage.index_keys import IndexWalk, place_of
from storage.index_paths import entry_paths, indexed_paths
from storage.irods.seal import KeyMissing, Seal
from storage.irods.wire import GROUPS, USERS, Avu
from storage.uniqueness import unique_values

# By resource type: the type of the accounts, and the attribute with their name.
ACCOUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "User": (USERS, "userName"),
    "Group": (GROUPS, "displayName"),
}

# The attributes of a resource begin so; those of members do not, because there may be very many.
OURS: Final = "scim."
DOCUMENT: Final = "scim.document"
VERSION: Final = "scim.version"
WRITING: Final = "scim.writing"
KEY: Final = "scim.key."
MEMBER: Final = "scim-member"
MEMBER_DISPLAY: Final = "scim-member-display"
CREATING: Final = "scim-creating"
# The metadata of a group that has the data of a deleted user.
DELETED: Final = "DELETED"
TIMESTAMP: Final = "TIMESTAMP"

# The version of an account of another program, until the first change by this server.
FOREIGN: Final = "0"
# The group HOLDER has this metadata for ever, so that the catalogue has exactly one row of it. Of several
# writers that add a row which is there already, iRODS lets one succeed; each may insert a new one.
ADOPTED: Final = Avu("scim.adopted", "1")
HOLDER: Final = "scim.lock"
# The metadata of HOLDER with the names of the keys that sealed something in the zone.
SEALED: Final = "scim.sealed"
KEY_MISSING: Final = "its document is sealed, and SECRET_KEYS lacks the secret"
CHUNK: Final = 2700
# The number of readable characters of a key; a digest stands for the others.
_KEY_LENGTH: Final = 200
_NEVER: Final = "1970-01-01T00:00:00.000Z"
# Clients search by these paths, so they have keys besides the unique attributes.
_LOOKED_UP: Final = frozenset({"displayName", "emails.value", "externalId"})

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_LONGEST_NAME: Final = 63
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]{1,63}", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9_.@-]+", re.ASCII)
_DIGITS: Final = 16
_MARKED = re.compile(rf".*\.[0-9a-f]{{{_DIGITS}}}", re.ASCII)
# The number of further names for an account whose first name is taken.
_NAMES: Final = 10
# The accounts that a zone may have for its own purposes, and that of this server.
SYSTEM_NAMES: Final = frozenset({"public", "rodsadmin", "anonymous", HOLDER})


class Kind:
    """The resources of one type, and the keys among their metadata; `paths` are the paths with keys.

    `naming` is the attribute with the name of the account. Raises UnsupportedByBackend for a type without
    accounts.
    """

    def __init__(self, resource_type: ResourceType, seal: Seal) -> None:
        if resource_type.name not in ACCOUNTS:
            raise UnsupportedByBackend(
                f"iRODS stores only users and groups, no resources of type {resource_type.name}"
            )
        self.resource_type = resource_type
        self.seal = seal
        self.account_type, self.naming = ACCOUNTS[resource_type.name]
        self._walk = IndexWalk(resource_type, entry_paths(resource_type, _LOOKED_UP))
        found = indexed_paths(resource_type, _LOOKED_UP)
        self.paths = {path.text for path in found if not path.leaf.is_complex}

    def number(self, resource_id: str) -> int:
        """Return the number of an account. Raises ResourceNotFound for a text that is no id of iRODS."""
        number = number_of(resource_id)
        if number is None:
            raise ResourceNotFound(self.resource_type.name, resource_id)
        return number

    def member(self, stored: StoredResource) -> Member:
        return Member(stored.id, self.resource_type.name, self.resource_type.display(stored.document))

    def metadata(self, resource: StoredResource) -> set[Avu]:
        """Return the pieces for a resource: its document, its keys and its version."""
        keys = {
            self.key_avu(path.text, key_text(key), resource.id)
            for attribute, _, value in self._walk.changed({}, resource.document)
            for _, found in attribute.elements(value)
            for path, key in found
            if key != "" and path.text in self.paths
        }
        return {*_document_avus(resource, self.seal), *keys, Avu(VERSION, resource.version)}

    def key_avu(self, path: str, key: str, unit: str) -> Avu:
        """Return the piece for a key of a path.

        With the id as its unit, no other account has a row of it: each can be removed from its account alone.
        """
        return Avu(KEY + path, self.seal.digest(path, key), unit)

    def unique_values(self, document: Mapping[str, Any]) -> set[UniqueValue]:
        """Return the unique values of a resource, with their keys before these are sealed."""
        name = self.resource_type.name
        found = unique_values(self.resource_type, document)
        return {UniqueValue(name, path.text, key_text(key)) for path, key in found}


@dataclass(frozen=True)
class Account:
    """An account of the zone."""

    number: int
    name: str
    account_type: str
    created: str
    modified: str


@dataclass(frozen=True)
class State:
    """An account before a change: the resource, and the metadata that belongs to it."""

    kind: Kind
    account: Account
    stored: StoredResource
    avus: frozenset[Avu]


def number_of(resource_id: str) -> int | None:
    """Return the number in an id of iRODS, or None for another text."""
    return int(resource_id) if _ID.fullmatch(resource_id) else None


def numbers_of(resource_ids: Iterable[str]) -> list[int]:
    """Return the ids of accounts among some ids of resources."""
    return [number for i in resource_ids if (number := number_of(i)) is not None]


# -- documents and keys


def _document_avus(resource: StoredResource, seal: Seal) -> list[Avu]:
    """Return the document in pieces that iRODS can hold and read back."""
    kept = {
        "resource": resource.document,
        "created": resource.created,
        "lastModified": resource.last_modified,
    }
    text = seal.sealed(json.dumps(kept, separators=(",", ":")))
    chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    return [
        Avu(DOCUMENT, chunk, f"{resource.version}/{number}/{len(chunks)}")
        for number, chunk in enumerate(chunks)
    ]


def stored_from(number: int, avus: Iterable[Avu], seal: Seal) -> StoredResource | None:
    """Return the resource in the latest document that is complete and readable, or None without one.

    Raises StorageUnavailable for a document whose key is missing.
    """
    for version, text in _texts(avus):
        try:
            stored = _read(number, version, seal.opened(text))
        except KeyMissing as exc:
            raise StorageUnavailable(f"iRODS account {number}: {KEY_MISSING}") from exc
        if stored is not None:
            return stored
    return None


def is_sealed(avus: Iterable[Avu], seal: Seal) -> bool:
    """Return whether the latest document is as it would be written now."""
    return all(seal.is_current(text) for _, text in list(_texts(avus))[:1])


def _texts(avus: Iterable[Avu]) -> Iterator[tuple[str, str]]:
    """Yield the complete documents with their versions, the latest first."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for avu in avus:
        version, _, position = avu.unit.partition("/")
        index, _, count = position.partition("/")
        if avu.attribute == DOCUMENT and index.isdecimal() and count.isdecimal():
            found.setdefault((version, int(count)), {})[int(index)] = avu.value
    for version, total in sorted(found, key=lambda key: _order(key[0]), reverse=True):
        chunks = found[version, total]
        if len(chunks) == total and set(chunks) == set(range(total)):
            yield version, "".join(chunks[index] for index in range(total))


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
    """Return the version after `version`; `mark` distinguishes it from the one of another writer."""
    return f"{_order(version)[0] + 1}.{mark}"


def with_id(resource: StoredResource, number: int, version: str) -> StoredResource:
    """Return `resource` as iRODS stores it: under the id of its account, without its secrets."""
    text = orjson.dumps({**resource.document, "id": str(number)}).decode()
    kept = replace(resource, id=str(number), text=text, version=version, secrets={}, memberships=None)
    return replace(kept, place=place_of(number))


def key_text(key: str) -> str:
    """Return a comparison key as metadata has it: short, and in ASCII."""
    shown = key_prefix(key)
    return f"{shown}~{hashlib.sha256(key.encode()).hexdigest()}" if len(key) > _KEY_LENGTH else shown


def key_prefix(key: str) -> str:
    """Return the beginning of `key_text` of every key that begins with `key`."""
    return quote(key[:_KEY_LENGTH], safe="@:/+")


def is_former_key(avu: Avu) -> bool:
    """Return whether a release before wrote a key: several accounts may share its row, or have twins."""
    return avu.attribute.startswith(KEY) and not avu.unit


def of_attribute(avus: Iterable[Avu], attribute: str) -> list[Avu]:
    return [avu for avu in avus if avu.attribute == attribute]


# -- names: users and groups share them, and iRODS cannot rename an account


def is_plain(name: str) -> bool:
    """Return whether iRODS accepts this text as a name."""
    return _PLAIN.fullmatch(name) is not None and name not in (".", "..")


def _is_free_for_resources(name: str) -> bool:
    return is_plain(name) and name not in SYSTEM_NAMES


def names_of_user(key: str) -> Iterator[str]:
    """Yield the names to try for the user with this comparison key, in an order that never changes.

    The first is the key, or a readable part of it with a digest if iRODS does not accept the key. Two keys
    never have the same first name.
    """
    # A key in the form of a name with a digest could be the first name of another key.
    if _is_free_for_resources(key) and not _MARKED.fullmatch(key):
        yield key
    for number in range(_NAMES):
        yield _marked(key, hashlib.sha256(f"{number}:{key}".encode()).hexdigest())


def names_of_group(display_name: str) -> Iterator[str]:
    """Yield the names to try for a group; any number of groups may have one displayName."""
    if _is_free_for_resources(display_name):
        yield display_name
    for _ in range(_NAMES):
        yield _marked(display_name, secrets.token_hex(_DIGITS))


def _marked(text: str, digits: str) -> str:
    readable = _OTHER.sub("_", text)[: _LONGEST_NAME - 1 - _DIGITS].strip("._")
    return f"{readable or 'x'}.{digits[:_DIGITS]}"
