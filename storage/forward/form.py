"""Resources as the upstream shows them, and as it wants them (RFC 7643 section 3)."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from schema.attribute import Attribute
from schema.resource_type import AttributePath, ResourceType, Schema, SchemaExtension
from storage.adapter import Member, Membership, StoredResource
from storage.errors import BadBackendAnswer, ValueRefused
from storage.foreign import ForeignReader, is_shallow

# What stands in an entity-tag and in JSON as it is.
_PLAIN_VERSION = re.compile(r"[\w.:;/+=~@,-]{1,200}", re.ASCII)
_TAG = re.compile(r'\s*(?:W/)?"(.*)"\s*|\s*(?:W/)?([^"]*?)\s*')


@dataclass(frozen=True)
class Upstream:
    """A resource as it was read: for callers, as the upstream sent it, and the tag for If-Match."""

    stored: StoredResource
    raw: Mapping[str, Any]
    tag: str | None


class ResourceReader:
    """Reads the upstream's resources of one type, and writes them."""

    def __init__(self, resource_type: ResourceType, resource_types: Sequence[ResourceType]) -> None:
        self._type = resource_type
        self._types = resource_types
        self._reader = ForeignReader(_lenient(resource_type))
        known = [*resource_type.attributes, *(e.attribute for e in resource_type.extensions)]
        self._names = {attribute.name.lower(): attribute.name for attribute in known}
        holders = [r for r in resource_types if r.members is not None]
        self._holder = holders[0].name if holders else ""

    # -- reading

    def read(self, raw: Mapping[str, Any], header: str | None = None) -> Upstream:
        """Return a resource; `header` is the ETag of the answer. Raises BadBackendAnswer without an id."""
        resource_id = _of(raw, "id")
        if isinstance(resource_id, int) and not isinstance(resource_id, bool):
            resource_id = str(resource_id)
        if not isinstance(resource_id, str) or not resource_id:
            raise BadBackendAnswer(f"the upstream sent a {self._type.name} without id")
        raw = {name: value for name, value in raw.items() if is_shallow(value)}
        found = self._reader.read(raw)
        kept = {name: value for name, value in found.resource.items() if name.lower() in self._names}
        document = {"schemas": kept.pop("schemas"), "id": resource_id, **kept}
        meta = _of(raw, "meta")
        tag = _of(meta, "version") if isinstance(meta, Mapping) else None
        memberships = self._memberships(raw)
        stored = StoredResource(
            resource_id,
            orjson.dumps(document).decode(),
            version=self._version(tag, raw),
            created=found.created,
            last_modified=found.last_modified,
            joined=None if memberships is None else bool(memberships),
            memberships=memberships,
        )
        return Upstream(stored, raw, tag if isinstance(tag, str) and tag else header)

    def _version(self, tag: Any, raw: Mapping[str, Any]) -> str:
        if isinstance(tag, str) and tag:
            match = _TAG.fullmatch(tag)
            opaque = (match.group(1) or match.group(2) or "") if match else ""
            if _PLAIN_VERSION.fullmatch(opaque):
                return opaque
            return hashlib.sha256(tag.encode("utf-8", "replace")).hexdigest()[:16]
        links = self._type.memberships.name if self._type.memberships is not None else ""
        own = {key: value for key, value in raw.items() if key != links}
        shown = orjson.dumps(own, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(shown).hexdigest()[:16]

    def _memberships(self, raw: Mapping[str, Any]) -> list[Membership] | None:
        """Return the memberships that came along, None when there were none to be seen."""
        attribute = self._type.memberships
        elements = _of(raw, attribute.name) if attribute is not None else None
        if not isinstance(elements, list) or not elements:
            return None
        found = []
        for element in elements:
            group_id = element.get("value") if isinstance(element, Mapping) else None
            if isinstance(group_id, str) and group_id:
                direct = str(element.get("type", "direct")).lower() != "indirect"
                found.append(Membership(group_id, self._holder, _text(element.get("display")), direct))
        return found

    def member(self, element: Any) -> Member | None:
        """Return the member that an element of the members stands for, None when it is none."""
        if not isinstance(element, Mapping):
            return Member(element, self._member_type({})) if isinstance(element, str) and element else None
        member_id = _of(element, "value")
        if not isinstance(member_id, str) or not member_id:
            return None
        return Member(member_id, self._member_type(element), _text(_of(element, "display")))

    def _member_type(self, element: Mapping[str, Any]) -> str:
        kind, reference = str(_of(element, "type") or "").lower(), str(_of(element, "$ref") or "")
        for resource_type in self._types:
            if kind == resource_type.name.lower() or f"{resource_type.endpoint}/" in f"/{reference}":
                return resource_type.name
        allowed = self._type.members.sub_attribute("$ref") if self._type.members else None
        return allowed.reference_types[0] if allowed else self._type.name

    # -- writing

    def written(self, resource: StoredResource, before: Upstream | None = None) -> dict[str, Any]:
        """Return what to send for a resource, its secrets included.

        Attributes that our schemas do not have are sent back as they came: no client of ours can
        have meant to remove them.
        """
        document: dict[str, Any] = orjson.loads(resource.text)
        if before is None:
            document.pop("id", None)
        else:
            beside = {key: v for key, v in before.raw.items() if key.lower() not in self._names}
            urns = [key for key in beside if key.lower().startswith("urn:")]
            document = {**beside, **document}
            document["schemas"] = list(dict.fromkeys([*document["schemas"], *urns]))
        for path, value in resource.secrets.items():
            _put(self._type, document, path, value)
        return document

    def difference(self, resource: StoredResource, before: Upstream) -> list[dict[str, Any]]:
        """Return the PATCH operations that make `resource` of what is there; members stay."""
        old, new = before.stored.document, self.written(resource)
        operations: list[dict[str, Any]] = []
        for path, was, is_now in _attributes(old, new):
            if was == is_now:
                continue
            if is_now is None:
                operations.append({"op": "remove", "path": path})
            else:
                operations.append({"op": "replace", "path": path, "value": is_now})
        return operations + [{"op": "remove", "path": path} for path in sorted(resource.removed_secrets)]


def _attributes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return path, old and new value of every attribute of both, those of extensions one by one."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        was, is_now = old.get(name), new.get(name)
        if name in ("id", "schemas"):
            continue
        if name.lower().startswith("urn:"):
            inner = _attributes(was or {}, is_now or {})
            found += [(f"{name}:{path}", a, b) for path, a, b in inner]
        else:
            found.append((name, was, is_now))
    return found


def _lenient(resource_type: ResourceType) -> ResourceType:
    """Return the type for reading: what the upstream computes is read too, and nothing is missed."""
    links = (resource_type.members, resource_type.memberships)

    def relaxed(attribute: Attribute, inner: bool) -> Attribute:
        if attribute in links:
            return attribute
        subs = tuple(relaxed(sub, True) for sub in attribute.sub_attributes)
        mutability = "readWrite" if inner else attribute.mutability
        return replace(attribute, required=False, mutability=mutability, sub_attributes=subs)

    def relaxed_schema(schema: Schema, inner: bool) -> Schema:
        return replace(schema, attributes=tuple(relaxed(a, inner) for a in schema.attributes))

    extensions = tuple(
        SchemaExtension(relaxed_schema(extension.schema, True)) for extension in resource_type.extensions
    )
    schema = relaxed_schema(resource_type.schema, False)
    return replace(resource_type, schema=schema, extensions=extensions)


def _put(resource_type: ResourceType, document: dict[str, Any], text: str, value: str) -> None:
    """Set the secret at a path. Raises ValueRefused where it is not clear which element it is for."""
    path = resource_type.path(text)
    if path is None:
        raise ValueRefused(f"{text}: is not an attribute")
    holder: dict[str, Any] = document if path.extension is None else document.setdefault(path.extension, {})
    name, sub, values = path.attribute.name, path.sub_attribute, _values(path, value)
    if sub is None:
        holder[name] = values if path.attribute.multi_valued else values[0]
        return
    elements = holder.get(name) or [{} for _ in values]
    elements = elements if isinstance(elements, list) else [elements]
    if len(elements) != len(values):
        raise ValueRefused(f"{text}: either all values must have one, or none")
    whole = [{**element, sub.name: secret} for element, secret in zip(elements, values, strict=True)]
    holder[name] = whole if path.attribute.multi_valued else whole[0]


def _values(path: AttributePath, value: str) -> list[Any]:
    """Return the values at the path of a secret: one text stands for itself, others are in JSON."""
    if path.attribute.multi_valued or path.leaf.type not in ("string", "reference"):
        try:
            values = orjson.loads(value)
        except orjson.JSONDecodeError:
            return [value]
        if isinstance(values, list) and values:
            return values
    return [value]


def _of(holder: Mapping[str, Any], name: str) -> Any:
    """Return the value under a name in any case."""
    if name in holder:
        return holder[name]
    return next((value for key, value in holder.items() if key.lower() == name.lower()), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
