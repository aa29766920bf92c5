"""A resource as fields of JumpCloud and a remainder: the fields have priority."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from schema import urns
from schema.resource_type import ResourceType
from storage.jumpcloud.lens import (
    LONGEST,
    ActiveLens,
    EmailsLens,
    Fields,
    Lens,
    ListLens,
    PartsLens,
    TextLens,
)
from storage.jumpcloud.wire import Json

_LOG = logging.getLogger(__name__)

# The beginning of the names of this server's attributes; JumpCloud allows letters and digits.
_PREFIX: Final = "scimGateway"
_NAME = re.compile(rf"{_PREFIX}(\d{{1,6}})", re.ASCII)
_NOT_SPLIT = ("id", "schemas")

_SRAM_GROUP: Final = "urn:mace:surf.nl:sram:scim:extension:Group"
USER_LENSES: Final = (
    TextLens("userName", ("username",), folded=True),
    TextLens("externalId", ("external_dn",)),
    PartsLens(
        "name",
        ("firstname", "middlename", "lastname"),
        parts=(("givenName", "firstname"), ("middleName", "middlename"), ("familyName", "lastname")),
        made=("formatted",),
    ),
    TextLens("displayName", ("displayname",)),
    TextLens("title", ("jobTitle",)),
    TextLens("userType", ("employeeType",)),
    ActiveLens("active"),
    EmailsLens("emails"),
    ListLens("phoneNumbers", ("phoneNumbers",), keys=(("value", "number"), ("type", "type"))),
    ListLens(
        "addresses",
        ("addresses",),
        keys=(
            ("streetAddress", "streetAddress"),
            ("locality", "locality"),
            ("region", "region"),
            ("postalCode", "postalCode"),
            ("country", "country"),
            ("type", "type"),
        ),
    ),
    TextLens("organization", ("company",), urns.ENTERPRISE_USER),
    TextLens("costCenter", ("costCenter",), urns.ENTERPRISE_USER),
    TextLens("department", ("department",), urns.ENTERPRISE_USER),
    TextLens("employeeNumber", ("employeeIdentifier",), urns.ENTERPRISE_USER, longest=256, cut=False),
    PartsLens(
        "manager",
        ("manager",),
        urns.ENTERPRISE_USER,
        parts=(("value", "manager"),),
        made=("$ref", "displayName"),
        ids=True,
    ),
)
GROUP_LENSES: Final = (
    TextLens("displayName", ("name",)),
    TextLens("description", ("description",), _SRAM_GROUP),
)


class Documents:
    """Splits and joins the resources of a type, by the lenses on attributes that the type has."""

    def __init__(self, resource_type: ResourceType, lenses: Sequence[Lens]) -> None:
        self._type = resource_type
        self._urns = [extension.schema.id for extension in resource_type.extensions]
        self._lenses = tuple(lens for lens in lenses if self._has(lens))
        self._order = {attribute.name: n for n, attribute in enumerate(resource_type.attributes)}

    def _has(self, lens: Lens) -> bool:
        prefix = f"{lens.extension}:" if lens.extension else ""
        return self._type.path(prefix + lens.attribute) is not None

    def split(self, document: Mapping[str, Any]) -> tuple[dict[str, Any], Json]:
        """Return the fields of a resource, and the values that `join` could not make of the fields."""
        fields: dict[str, Any] = {}
        joined: Json = {}
        for lens in self._lenses:
            projected = lens.project(_value(document, lens.extension, lens.attribute))
            fields |= projected
            _put(joined, lens.extension, lens.attribute, lens.merge(None, lens.returned(projected)))
        rest: Json = {}
        for extension, name in dict.fromkeys([*self._slots(document), *self._slots(joined)]):
            value = _value(document, extension, name)
            if value != _value(joined, extension, name):
                holder = rest if extension is None else rest.setdefault(extension, {})
                holder[name] = value
        if document.get("schemas") != self._schemas(document):
            rest["schemas"] = document.get("schemas")
        return fields, rest

    def join(self, live: Fields, rest: Mapping[str, Any]) -> Json:
        """Return the resource, without its id, that fields and further values make."""
        document: Json = {}
        for extension, name in self._slots(rest):
            _put(document, extension, name, _value(rest, extension, name))
        for lens in self._lenses:
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
        """Return the `fields` that differ from those of a user."""
        changed: dict[str, Any] = {}
        for lens in self._lenses:
            projected = {name: fields[name] for name in lens.fields}
            if not lens.is_same(projected, live):
                changed |= projected
        return changed

    def seen(self, live: Fields) -> dict[str, Any]:
        """Return all fields of a user or group that are part of the resource."""
        return {name: value for lens in self._lenses for name, value in lens.seen(live).items()}

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


@dataclass(frozen=True)
class Remainder:
    """The part of a resource without a field: JSON in attributes of a user or group, cut into pieces.

    `rest` maps attributes to values, and to None where the fields give a value and the resource has none;
    the URN of an extension maps to such an object. `displays` has the displays of members that differ
    from the members' own. Each write makes a new `stamp`.
    """

    rest: Mapping[str, Any] = field(default_factory=dict)
    displays: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    last_modified: str = ""
    stamp: str = ""

    def pieces(self) -> dict[str, str]:
        """Return the attributes to write, by name."""
        whole = {name: value for name, value in vars(self).items() if value}
        # ASCII, so that a piece never ends within a character.
        text = json.dumps(whole, separators=(",", ":"))
        parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
        return {f"{_PREFIX}{number:03}": part for number, part in enumerate(parts)}


def is_own(name: object) -> bool:
    """Return whether this server wrote the attribute with that name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def read_remainder(attributes: Mapping[str, Any], owner: str) -> Remainder:
    """Return the remainder in attributes of this server; an empty one, with a warning, if it is damaged."""
    pieces = {int(name[len(_PREFIX) :]): text for name, text in attributes.items() if isinstance(text, str)}
    if not pieces:
        return Remainder()
    try:
        return _remainder(orjson.loads("".join(pieces[number] for number in sorted(pieces))))
    except (ValueError, TypeError):
        _LOG.warning("%s: the JumpCloud attributes %s... are damaged and are ignored", owner, _PREFIX)
        return Remainder()


def _remainder(whole: Any) -> Remainder:
    if not isinstance(whole, dict):
        raise TypeError("no object")
    names = Remainder.__dataclass_fields__
    found = Remainder(**{name: value for name, value in whole.items() if name in names})
    if not isinstance(found.rest, dict) or not isinstance(found.displays, dict):
        raise TypeError("no objects in it")
    texts = (found.created, found.last_modified, found.stamp, *found.displays.values())
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("no texts in it")
    return found
