"""The content of a file: the whole resource as JSON that people can read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import orjson

from schema.resource_type import ResourceType
from schema.values import format_date_time, parse_date_time
from storage.adapter import Key, StoredResource
from storage.errors import StorageError
from storage.files.folders import file_name
from storage.foreign import ForeignReader

_LOG = logging.getLogger(__name__)
# The hashes of attributes that are never returned; no attribute can have this name.
_SECRETS: Final = "$secrets"
# The owner; the same.
_OWNER: Final = "$owner"
_LONGEST_ID: Final = 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = 2**31 - 1


class UnreadableFile(StorageError):
    """The file does not hold a resource; the message has the reason."""


@dataclass(frozen=True)
class FileContent:
    """A resource as a file has it; `members` are those of `ForeignDocument`."""

    resource: StoredResource
    members: Mapping[Key, str | None]


def encode(
    resource_type: ResourceType, resource: StoredResource, members: Sequence[Mapping[str, str]]
) -> bytes:
    """Return the content of the file of a resource."""
    document = {"schemas": [], "id": resource.id, **resource.document}
    if resource_type.members is not None and members:
        document[resource_type.members.name] = members
    document["meta"] = {
        "resourceType": resource_type.name,
        "created": resource.created,
        "lastModified": resource.last_modified,
        "version": resource.version,
    }
    if resource.secrets:
        document[_SECRETS] = dict(resource.secrets)
    if resource.owner is not None:
        document[_OWNER] = resource.owner
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def instant_ns(date_time: str) -> int:
    """Return a dateTime in nanoseconds since 1970, within the range of file systems; 0 for another text."""
    try:
        instant = parse_date_time(date_time)
    except ValueError:
        return 0
    seconds, rest = divmod(instant - _EPOCH, timedelta(seconds=1))
    # No file system can store all of the years 1 to 9999.
    if not -_LAST_SECOND <= seconds <= _LAST_SECOND:
        return _LAST_SECOND * 1_000_000_000 * (1 if seconds > 0 else -1)
    return seconds * 1_000_000_000 + rest // timedelta(microseconds=1) * 1000


def _date_time(at_ns: int) -> str:
    """Return the time of a change of a file, in nanoseconds since 1970, as a dateTime."""
    try:
        return format_date_time(_EPOCH + timedelta(microseconds=at_ns // 1000))
    except OverflowError:
        # A wrong clock can set such a time.
        return format_date_time(datetime.max.replace(tzinfo=UTC) if at_ns > 0 else _EPOCH)


def created_in(content: bytes) -> str:
    """Return `meta.created` as it stands in a file, or an empty text."""
    try:
        document = orjson.loads(content)
        created = document["meta"]["created"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return ""
    return created if isinstance(created, str) else ""


class FileReader:
    """Reads the files of one resource type, those of other programs too."""

    def __init__(self, resource_type: ResourceType) -> None:
        self._type = resource_type
        self._reader = ForeignReader(resource_type)

    def decode(self, name: str, content: bytes, modified_ns: int) -> FileContent:
        """Return the resource in the file `name`, which was last changed at `modified_ns`.

        The answer follows from the arguments alone, so that an index can always be made again. A file of
        `encode` holds its version, and the time of its change is `meta.lastModified`. The version of other
        files follows from their content. Raises UnreadableFile.
        """
        resource_id, document = parsed(name, content)
        secrets, owner = document.pop(_SECRETS, None), document.pop(_OWNER, None)
        found = self._reader.read(document)
        missing = [] if is_ours(document) else self._reader.missing(found)
        for problem in (*found.problems, *missing):
            _LOG.warning("%s %s: %s", self._type.name, resource_id, problem)
        whole = {"schemas": found.resource["schemas"], "id": resource_id, **found.resource}
        modified = _date_time(modified_ns)
        resource = StoredResource(
            resource_id,
            _dumped(whole),
            _version(document.get("meta")),
            found.created or found.last_modified or modified,
            found.last_modified or modified,
            _texts(secrets),
            owner=owner if isinstance(owner, str) else None,
        )
        if not resource.version or modified_ns != instant_ns(resource.last_modified):
            # A person who edits a file of ours leaves its dates; the dates of other programs stand.
            dated = max(resource.last_modified, modified) if resource.version else resource.last_modified
            resource = replace(
                resource, version=foreign_version(content, modified_ns), last_modified=dated
            )
        return FileContent(resource, found.members)


def foreign_version(content: bytes, modified_ns: int) -> str:
    """Return the version of a file of another program: different for each content and time of change."""
    digest = blake2b(content, digest_size=6, key=str(modified_ns).encode()).digest()
    # Smaller than our own versions, which are microseconds.
    return str(int.from_bytes(digest) + 2)


def parsed(name: str, content: bytes) -> tuple[str, dict[str, Any]]:
    """Return the id of the resource in the file `name`, and what the file holds. Raises UnreadableFile."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise UnreadableFile(f"is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UnreadableFile("is not a JSON object")
    # A document that is nested too deeply can be read, but not written again.
    _dumped(document)
    return _resource_id(document, name), document


def is_ours(document: Mapping[str, Any]) -> bool:
    """Return whether a file has a version, which other programs do not write."""
    return _version(document.get("meta")) != ""


def _resource_id(document: Mapping[str, Any], name: str) -> str:
    resource_id = document.get("id")
    if resource_id is None:
        if name.endswith("~"):
            raise UnreadableFile("looks like a backup copy of an editor")
        return name
    if not isinstance(resource_id, str) or name not in (resource_id, file_name(resource_id)):
        raise UnreadableFile("the id of the resource is not the name of the file")
    if "\0" in resource_id or len(resource_id) > _LONGEST_ID:
        raise UnreadableFile("the id of the resource is too long or has the character U+0000")
    return resource_id


def _dumped(document: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(document).decode()
    except orjson.JSONEncodeError as exc:
        raise UnreadableFile(f"cannot be stored: {exc}") from exc


def _version(meta: Any) -> str:
    version = meta.get("version") if isinstance(meta, Mapping) else None
    is_number = isinstance(version, str) and version.isascii() and version.isdigit() and len(version) < 18
    return str(version) if is_number else ""


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}
