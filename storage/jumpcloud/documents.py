"""A canonical resource as fields of JumpCloud and a rest, and back: the fields win."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schema.resource_type import ResourceType
from storage.jumpcloud.lenses import Fields, Lens

Json = dict[str, Any]

_NOT_SPLIT = ("id", "schemas")


class Documents:
    """Splits and joins resources of one type; lenses on attributes that it does not have are left out."""

    def __init__(self, resource_type: ResourceType, lenses: Sequence[Lens]) -> None:
        self._type = resource_type
        self._urns = [extension.schema.id for extension in resource_type.extensions]
        self.lenses = tuple(lens for lens in lenses if self._has(lens))
        self._order = {attribute.name: n for n, attribute in enumerate(resource_type.attributes)}

    def _has(self, lens: Lens) -> bool:
        prefix = f"{lens.extension}:" if lens.extension else ""
        return self._type.path(prefix + lens.attribute) is not None

    def split(self, document: Mapping[str, Any]) -> tuple[dict[str, Any], Json]:
        """Return the fields of a resource, and what those alone would not give back."""
        fields: dict[str, Any] = {}
        base: Json = {}
        for lens in self.lenses:
            projected = lens.project(_value(document, lens.extension, lens.attribute))
            fields |= projected
            _put(base, lens.extension, lens.attribute, lens.merge(None, lens.returned(projected)))
        rest: Json = {}
        slots = dict.fromkeys([*self._slots(document), *self._slots(base)])
        for extension, name in slots:
            value = _value(document, extension, name)
            if value != _value(base, extension, name):
                holder = rest if extension is None else rest.setdefault(extension, {})
                holder[name] = value
        if document.get("schemas") != self._schemas(document):
            rest["schemas"] = document.get("schemas")
        return fields, rest

    def join(self, live: Fields, rest: Mapping[str, Any]) -> Json:
        """Return the resource that fields and rest make, without its id."""
        document: Json = {}
        for extension, name in self._slots(rest):
            _put(document, extension, name, _value(rest, extension, name))
        for lens in self.lenses:
            found = rest if lens.extension is None else rest.get(lens.extension)
            holder = found if isinstance(found, Mapping) else {}
            value = holder.get(lens.attribute)
            if lens.attribute not in holder or not lens.is_same(lens.project(value), live):
                value = lens.merge(value, live)
            _put(document, lens.extension, lens.attribute, value)
        listed = rest.get("schemas")
        named = [urn for urn in listed if isinstance(urn, str)] if isinstance(listed, list) else []
        schemas = [*named, *(urn for urn in self._schemas(document) if urn not in named)]
        ordered = sorted(document, key=lambda name: self._order.get(name, len(self._order)))
        return {"schemas": schemas, **{name: document[name] for name in ordered}}

    def changes(self, fields: Fields, live: Fields) -> dict[str, Any]:
        """Return those of `fields` that have to be written for all to be as they should."""
        changed: dict[str, Any] = {}
        for lens in self.lenses:
            projected = {name: fields[name] for name in lens.fields}
            if not lens.is_same(projected, live):
                changed |= projected
        return changed

    def seen(self, live: Fields) -> dict[str, Any]:
        """Return all that the lenses see of a user or group."""
        return {name: value for lens in self.lenses for name, value in lens.seen(live).items()}

    def _slots(self, document: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
        for name, value in document.items():
            if name in self._urns and isinstance(value, Mapping):
                yield from ((name, inner) for inner in value)
            elif name not in _NOT_SPLIT:
                yield None, name

    def _schemas(self, document: Mapping[str, Any]) -> list[str]:
        return [self._type.schema.id, *(urn for urn in self._urns if urn in document)]


def _value(document: Mapping[str, Any], extension: str | None, name: str) -> Any:
    holder = document if extension is None else document.get(extension)
    return holder.get(name) if isinstance(holder, Mapping) else None


def _put(document: Json, extension: str | None, name: str, value: Any) -> None:
    inner = document if extension is None else document.get(extension)
    holder = inner if isinstance(inner, dict) else {}
    if value is None:
        holder.pop(name, None)
    else:
        holder[name] = value
    if extension is not None:
        if holder:
            document[extension] = holder
        else:
            document.pop(extension, None)
