"""Which attributes of a resource a response carries (RFC 7644 section 3.9, RFC 7643 section 7 `returned`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.leniency import STRICT, Leniency
from schema.resource_type import AttributePath, ResourceType


@dataclass(frozen=True)
class Projection:
    """The choice made by `attributes` or `excludedAttributes` for one resource type.

    `requested` is None when every attribute is returned by default. Paths the resource type does
    not know select nothing, as a search over several types needs.
    """

    resource_type: ResourceType
    requested: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    @cached_property
    def is_default(self) -> bool:
        """True when the projection asks for exactly what is returned by default."""
        return self.requested is None and not self.excluded

    @cached_property
    def links(self) -> tuple[bool, bool]:
        """Whether any of the members, and any of the memberships, can be in the response."""
        members, memberships = self.resource_type.members, self.resource_type.memberships
        return (
            members is not None and self._wanted(members, "", None),
            memberships is not None and self._wanted(memberships, "", None),
        )

    def apply(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the canonical `resource` with only the attributes to be returned."""
        result = self._object(resource, self.resource_type.attributes, "", None)
        for extension in self.resource_type.extensions:
            urn = extension.schema.id
            value = resource.get(urn)
            if isinstance(value, Mapping):
                kept = self._object(value, extension.schema.attributes, f"{urn}:", urn)
                if kept:
                    result[urn] = kept
        return result

    def element(self, attribute: Attribute, element: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is to be returned of one value of a complex attribute of the core schema."""
        kept: dict[str, Any] = self._complex(element, attribute, attribute.name, None)
        return kept

    def _object(
        self, value: Mapping[str, Any], attributes: Iterable[Attribute], prefix: str, parent: str | None
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for attribute in attributes:
            found = value.get(attribute.name)
            if found is None or not self._wanted(attribute, prefix, parent):
                continue
            if attribute.is_complex:
                found = self._complex(found, attribute, f"{prefix}{attribute.name}", parent)
                if not found:
                    continue
            result[attribute.name] = found
        return result

    def _complex(self, value: Any, attribute: Attribute, path: str, parent: str | None) -> Any:
        if isinstance(value, list):
            kept = [self._complex(element, attribute, path, parent) for element in value]
            return [element for element in kept if element]
        if not isinstance(value, Mapping):
            return None
        whole = self.requested is None or self._asked(path) or (parent is not None and self._asked(parent))
        return {
            sub.name: value[sub.name]
            for sub in attribute.sub_attributes
            if value.get(sub.name) is not None and self._sub_wanted(sub, f"{path}.{sub.name}", whole)
        }

    def _sub_wanted(self, sub: Attribute, path: str, whole: bool) -> bool:
        if sub.returned == "always":
            return True
        if sub.returned == "never" or path.lower() in self.excluded:
            return False
        if self._asked(path):
            return True
        return whole and sub.returned == "default"

    def _wanted(self, attribute: Attribute, prefix: str, parent: str | None) -> bool:
        if attribute.returned == "always":
            return True
        if attribute.returned == "never":
            return False
        path = f"{prefix}{attribute.name}".lower()
        if self.requested is not None:
            if path in self.requested or path in self._with_sub_attributes:
                return True
            return parent is not None and self._asked(parent) and attribute.returned == "default"
        if path in self.excluded or (parent is not None and parent.lower() in self.excluded):
            return False
        return attribute.returned == "default"

    def _asked(self, path: str) -> bool:
        return self.requested is not None and path.lower() in self.requested

    @cached_property
    def _with_sub_attributes(self) -> frozenset[str]:
        # `name.familyName` asks for a part of `name`; the dot after the last colon divides.
        heads = []
        for path in self.requested or ():
            space, colon, rest = path.rpartition(":")
            heads.append(f"{space}{colon}{rest.split('.')[0]}")
        return frozenset(heads)


def make_projection(
    resource_type: ResourceType,
    attributes: Iterable[str],
    excluded_attributes: Iterable[str],
    leniency: Leniency = STRICT,
) -> Projection:
    """Return the projection for attribute paths as clients send them.

    Raises InvalidValue when both lists are given, which RFC 7644 section 3.9 rules out.
    """
    requested, excluded = list(attributes), list(excluded_attributes)
    if not requested and not excluded:
        return _default(resource_type)
    if requested and excluded:
        raise InvalidValue("attributes and excludedAttributes cannot be used together")
    if not requested:
        return Projection(resource_type, None, frozenset(_canonical(resource_type, excluded, leniency)))
    return Projection(resource_type, frozenset(_canonical(resource_type, requested, leniency)))


@lru_cache
def _default(resource_type: ResourceType) -> Projection:
    return Projection(resource_type)


def _canonical(resource_type: ResourceType, names: Iterable[str], leniency: Leniency) -> Iterable[str]:
    for name in names:
        text = leniency.canonical(name, resource_type)
        path: AttributePath | None = resource_type.path(text)
        if path is not None:
            yield path.text.lower()
        elif text.lower() == resource_type.schema.id.lower():
            yield from (attribute.name.lower() for attribute in resource_type.attributes)
