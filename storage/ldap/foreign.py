"""Entries that others have written, above all HarryKodden/scim: what they say in their own way."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from schema.resource_type import ResourceType
from schema.values import parse_date_time
from storage.index_keys import place_of
from storage.ldap.layout import LAYOUTS, date_time
from storage.ldap.wire import Entry


def foreign_place(entry: Entry) -> str:
    """Return a place for an entry that has none: when it was created, to the second, and its UUID."""
    created = date_time(entry.value("createTimestamp") or "") or "1970-01-01T00:00:00.000Z"
    seconds = int(parse_date_time(created).timestamp())
    spread = int(digest((entry.value("entryUUID") or entry.dn).encode()), 16) % 1_000_000_000
    return place_of(seconds * 1_000_000_000 + spread)


def old_document(entry: Entry) -> dict[str, Any] | None:
    """Return the JSON object in an entry of the earlier product, or None."""
    for value in entry.attributes.get("info", ()):
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            return document
    return None


def foreign_id(entry: Entry, is_old: bool, document: Mapping[str, Any]) -> str | None:
    """Return the id of a resource that others have written, or None when it has none."""
    ids = [entry.value(layout.id) for layout in LAYOUTS]
    if is_old:
        known = document.get("id")
        ids += [entry.value("documentIdentifier"), known if isinstance(known, str) else None]
        ids.append(entry.value("cn"))
    return next((found for found in [*ids, entry.value("entryUUID")] if found), None)


def complete_old(resource_type: ResourceType, resource: dict[str, Any], entry: Entry) -> None:
    """Add what the earlier product takes out of its JSON and keeps in attributes."""
    for text, attribute in (("userName", "uid"), ("displayName", "displayName")):
        value = entry.value(attribute)
        if value and resource_type.path(text) is not None:
            resource[text] = value
    listed = (("emails", "email"), ("emails", "emailAddress"), ("x509Certificates", "sshPublicKey"))
    for name, attribute in listed:
        values = entry.values(attribute)
        if values and name not in resource and resource_type.path(name) is not None:
            resource[name] = [
                {"value": v, **({"primary": True} if name == "emails" and not i else {})}
                for i, v in enumerate(values)
            ]


def digest(data: bytes) -> str:
    """Return a short text that is another one for other data."""
    return hashlib.sha256(data).hexdigest()[:16]
