"""Resources as documents of MongoDB: attributes by their names, our own fields beside them in `_scim`.

    {_id: "2819...", schemas: [...], userName: "bjensen", ..., _scim: {version: 3, place: ..., ...}}

MongoDB before 5.0 has no names with a dot or a dollar in front, so these are written as %2E and %24.
A name of an attribute never begins with `_` (RFC 7643 section 2.1), so no attribute is mistaken for `_scim`.
"""

import base64
import os
import random
import re
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import bson
import orjson

from schema.values import format_date_time
from storage.adapter import StoredResource
from storage.claims import UniqueValue
from storage.errors import ValueRefused
from storage.index_keys import place_of
from storage.mongo.layout import EQUALS, Layout

# The position in the order of creation, and the unique values that a document lists.
PLACE: Final = "_scim.place"
LISTED: Final = "_scim.claims.id"

# A resource is read without its index entries.
WITHOUT_INDEX: Final = {"_scim.keys": 0, "_scim.long": 0, "_scim.elements": 0, "_scim.sort": 0}

_INT64: Final = 2**63
_ESCAPED: Final = re.compile(r"%(25|2E|24|5F|00)")
NO_VALUE: Final = object()
_EPOCH_US: Final = 1_577_836_800_000_000


class Places:
    """Gives out places: integers of 64 bits that grow with time and never repeat.

    Those of one process follow each other; two processes differ in the low bits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._process = 0
        self._bits = 0

    def next(self) -> int:
        """Return a place greater than every earlier one."""
        with self._lock:
            if self._process != os.getpid():
                self._process, self._bits = os.getpid(), random.SystemRandom().getrandbits(12)
            self._last = max(time.time_ns() // 1000 - _EPOCH_US, self._last + 1)
            return self._last << 12 | self._bits


def escaped(name: str) -> str:
    """Return a name that every MongoDB accepts in a document; different names stay different."""
    name = name.replace("%", "%25").replace(".", "%2E").replace("\0", "%00")
    if name.startswith("$"):
        return f"%24{name[1:]}"
    return f"%5F{name[1:]}" if name.startswith("_") else name


def unescaped(name: str) -> str:
    """Return the name that `escaped` was given."""
    if "%" not in name:
        return name
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)


def document_of(
    layout: Layout, resource: StoredResource, version: int, place: int, values: Iterable[UniqueValue]
) -> dict[str, Any]:
    """Return the document of a resource that lists these unique values. Raises ValueRefused."""
    kept: dict[str, Any] = {
        "version": version,
        "place": place,
        "created": resource.created,
        "lastModified": resource.last_modified,
        "layout": layout.signature,
        # Earlier releases read the token of a claim beside the value.
        "claims": [{"id": value_id(value), "token": 0} for value in sorted(values)],
        **layout.entries(resource.document, resource.created, resource.last_modified, resource.owner),
    }
    display = layout.resource_type.display(resource.document)
    if display is not None:
        kept["display"] = display
    if resource.owner is not None:
        kept["owner"] = resource.owner
    if resource.secrets:
        kept["secrets"] = {escaped(path): secret for path, secret in resource.secrets.items()}
    attributes = {
        escaped(name): _stored_value(value, name)
        for name, value in resource.document.items()
        if name != "id"
    }
    return {"_id": resource.id, **attributes, "_scim": kept}


def stored(document: Mapping[str, Any]) -> StoredResource:
    """Return the resource in a document that this adapter wrote."""
    kept = document["_scim"]
    secrets = kept.get("secrets")
    attributes = {
        unescaped(name): _read_value(value)
        for name, value in document.items()
        if name not in ("_id", "_scim")
    }
    whole = {"schemas": attributes.pop("schemas", []), "id": document["_id"], **attributes}
    return StoredResource(
        document["_id"],
        orjson.dumps(whole, default=_shown, option=orjson.OPT_PASSTHROUGH_DATETIME).decode(),
        str(kept["version"]),
        kept["created"],
        kept["lastModified"],
        {unescaped(path): secret for path, secret in secrets.items()} if isinstance(secrets, Mapping) else {},
        place_of(kept["place"]),
        owner=kept.get("owner"),
    )


def is_ours(document: Mapping[str, Any]) -> bool:
    """Return whether this adapter wrote a document, and not another program."""
    kept = document.get("_scim")
    if not isinstance(kept, Mapping):
        return False
    kinds = (("version", int), ("place", int), ("created", str), ("lastModified", str))
    return all(isinstance(kept.get(name), kind) for name, kind in kinds)


def value_id(value: UniqueValue) -> str:
    """Return a unique value as a document lists it."""
    return f"{value.resource_type}/{value.path}{EQUALS}{value.key}"


def listed_in(document: Mapping[str, Any]) -> set[UniqueValue]:
    """Return the unique values that a document lists."""
    claims = document["_scim"].get("claims")
    ids = [one.get("id") for one in claims if isinstance(one, Mapping)] if isinstance(claims, list) else []
    found = set()
    for text in ids:
        resource_type, _, rest = str(text).partition("/")
        path, _, key = rest.partition(EQUALS)
        found.add(UniqueValue(resource_type, path, key))
    return found


def _stored_value(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {escaped(name): _stored_value(inner, f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_stored_value(inner, where) for inner in value]
    if type(value) is int and not -_INT64 <= value < _INT64:
        if int(float(value)) != value:
            raise ValueRefused(f"{where}: MongoDB cannot store integers of more than 64 bits")
        return float(value)
    return value


def _read_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {unescaped(name): _read_value(inner) for name, inner in value.items()}
    return [_read_value(inner) for inner in value] if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    # Another program has put the value into a document of ours.
    single = as_json(value)
    return None if single is NO_VALUE else single


def as_json(value: Any) -> Any:
    """Return a value of BSON as JSON has it, or NO_VALUE."""
    match value:
        case None | str() | bool() | float():
            return value
        case bson.Int64():
            return int(value)
        case int():
            return value
        case datetime():
            return format_date_time(value.replace(tzinfo=UTC))
        case bson.ObjectId():
            return str(value)
        case bson.Decimal128():
            return float(str(value))
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            inner = {str(name): as_json(item) for name, item in value.items()}
            return {name: item for name, item in inner.items() if item is not NO_VALUE}
        case list():
            items = [as_json(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
    return NO_VALUE
