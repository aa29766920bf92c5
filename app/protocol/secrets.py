"""Attributes that are never returned, such as passwords: only a salted hash of them is kept."""

from collections.abc import Mapping
from typing import Any

import orjson

from schema.resource_type import AttributePath, ResourceType
from storage.hashing import Hasher


class PlainSecrets:
    """Leaves secrets as they came, for a backend that keeps them itself."""

    takes_long = False

    def hashed(self, plain: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
        """Return `plain`."""
        return dict(plain)


class Secrets:
    """Hashes values that must never be returned (RFC 7643 sections 4.1.1 and 7)."""

    takes_long = True

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher

    def hashed(self, plain: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
        """Return an argon2id hash for each value of `plain`; it takes tens of milliseconds each.

        A value that fits its `known` hash keeps that hash, so that nothing changes.
        """
        hasher = self._hasher
        return {
            path: known[path] if hasher.fits(known.get(path), secret) else hasher.hash(secret)
            for path, secret in plain.items()
        }


def may_hold_secrets(resource_type: ResourceType, body: Any) -> bool:
    """Return whether `body` names a `returned: never` attribute anywhere, be it as key, path or text."""
    names = [path.attribute.name.lower() for path in resource_type.secret_paths]
    try:
        text = orjson.dumps(body).decode().lower()
    except TypeError:
        return bool(names)
    return any(name in text for name in names)


def take_secrets(resource_type: ResourceType, resource: dict[str, Any]) -> dict[str, str]:
    """Remove every `returned: never` value from a canonical resource and return them by path."""
    plain = {}
    for path in resource_type.secret_paths:
        holder = resource if path.extension is None else resource.get(path.extension, {})
        if path.attribute.name in holder and (values := path.values(resource)):
            single = len(values) == 1 and isinstance(values[0], str)
            plain[path.text] = values[0] if single else orjson.dumps(values).decode()
            _remove(path, resource)
    return plain


def _remove(path: AttributePath, resource: dict[str, Any]) -> None:
    holder = resource if path.extension is None else resource[path.extension]
    name = path.attribute.name
    if path.sub_attribute is None:
        del holder[name]
        return
    for element in path.elements(resource):
        element.pop(path.sub_attribute.name, None)
    left = [element for element in path.elements(resource) if element]
    if not left:
        del holder[name]
    elif isinstance(holder[name], list):
        holder[name] = left
