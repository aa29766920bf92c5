"""What two states of a resource differ in, as paths and as PATCH operations (RFC 7644 section 3.5.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from schema.projection import Projection
from schema.resource_type import AttributePath, ResourceType
from storage.adapter import StoredResource


def present_paths(resource_type: ResourceType, stored: StoredResource) -> list[str]:
    """Return the path of every attribute that a resource has, those of extensions one by one."""
    paths: list[str] = []
    for name, value in stored.document.items():
        if name in resource_type.extension_urns:
            paths += [f"{name}:{key}" for key in value]
        elif name not in ("schemas", "id"):
            paths.append(name)
    return [*paths, *sorted(stored.secrets)]


def changed_paths(
    resource_type: ResourceType, before: StoredResource, after: StoredResource
) -> list[str]:
    """Return the path of every attribute that differs, those of extensions one by one."""
    old, new = before.document, after.document
    paths: list[str] = []
    for name in _names(old, new):
        if name in resource_type.extension_urns:
            paths += [f"{name}:{key}" for key in _names(old.get(name) or {}, new.get(name) or {})]
        elif name not in ("schemas", "id"):
            paths.append(name)
    known, kept = before.secrets, after.secrets
    if known != kept:
        paths += [path for path in sorted({*known, *kept}) if known.get(path) != kept.get(path)]
    return [*paths, *sorted(after.removed_secrets)] if after.removed_secrets else paths


def exact_paths(
    resource_type: ResourceType, before: StoredResource, after: StoredResource, paths: Sequence[str]
) -> list[str]:
    """Return `paths` with sub-attributes in place of an attribute that has changed in part."""
    exact: list[str] = []
    for text in paths:
        path, old, new = resource_type.path(text), None, None
        if path is not None and path.leaf.is_complex:
            old, new = value_at(path, before.document), value_at(path, after.document)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            exact += [f"{text}.{name}" for name in _names(old, new)]
        else:
            exact.append(text)
    return exact


def operations(
    resource_type: ResourceType, after: StoredResource, paths: Sequence[str]
) -> list[dict[str, Any]]:
    """Return PATCH operations that make what `exact_paths` named as it is, members left out.

    What a response would not carry is in none of them.
    """
    shown = Projection(resource_type).apply(after.document)
    made: list[dict[str, Any]] = []
    for text in paths:
        path = resource_type.path(text)
        if path is None or path.attribute == resource_type.members or path.leaf.returned == "never":
            continue
        value = value_at(path, shown)
        if value is not None:
            made.append({"op": "replace", "path": text, "value": value})
        elif value_at(path, after.document) is None:
            made.append({"op": "remove", "path": text})
    return made


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the names whose values differ; null and absent are the same."""
    names = [name for name, value in old.items() if value != new.get(name)]
    return names + [name for name, value in new.items() if name not in old and value is not None]


def value_at(path: AttributePath, document: Mapping[str, Any]) -> Any:
    """Return what a document has at a path, None where that is nothing."""
    value = path.holder(document).get(path.attribute.name)
    if path.sub_attribute is None:
        return value
    return value.get(path.sub_attribute.name) if isinstance(value, Mapping) else None
