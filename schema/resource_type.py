"""A resource type: its core schema, its extensions, and every attribute by path (RFC 7643 section 6)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from schema.attribute import Attribute

# The attributes every resource has (RFC 7643 section 3.1). No schema lists them. `externalId`
# is unique within its resource type, so that one client's identifier cannot name two resources, unless
# the installation says otherwise (`common_attributes`).
COMMON_ATTRIBUTES = (
    Attribute(
        "schemas",
        "reference",
        multi_valued=True,
        description="URNs of the schemas that describe the resource.",
        required=True,
        returned="always",
        reference_types=("uri",),
    ),
    Attribute(
        "id",
        description="Identifier given by the service provider; it never changes.",
        case_exact=True,
        mutability="readOnly",
        returned="always",
        uniqueness="server",
    ),
    Attribute(
        "externalId",
        description="Identifier given by the client.",
        case_exact=True,
        uniqueness="server",
    ),
    Attribute(
        "meta",
        "complex",
        description="Metadata of the resource.",
        mutability="readOnly",
        sub_attributes=(
            Attribute("resourceType", description="Resource type.", case_exact=True, mutability="readOnly"),
            Attribute("created", "dateTime", description="Time of creation.", mutability="readOnly"),
            Attribute("lastModified", "dateTime", description="Time of last change.", mutability="readOnly"),
            Attribute(
                "location",
                "reference",
                description="URI of the resource.",
                case_exact=True,
                mutability="readOnly",
                reference_types=("uri",),
            ),
            Attribute("version", description="Entity-tag.", case_exact=True, mutability="readOnly"),
        ),
    ),
)


def common_attributes(*, unique_external_id: bool) -> tuple[Attribute, ...]:
    """Return the attributes that every resource has, `externalId` unique or not."""
    if unique_external_id:
        return COMMON_ATTRIBUTES
    return tuple(replace(a, uniqueness="none") if a.name == "externalId" else a for a in COMMON_ATTRIBUTES)


@dataclass(frozen=True, eq=False)
class Schema:
    """A schema as /Schemas shows it (RFC 7643 section 7)."""

    id: str
    name: str
    description: str
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, eq=False)
class SchemaExtension:
    """A schema that extends a resource type (RFC 7643 section 3.3)."""

    schema: Schema
    required: bool = False

    @cached_property
    def attribute(self) -> Attribute:
        """The object that holds the extension, seen as a complex attribute named by its URN."""
        return Attribute(
            self.schema.id,
            "complex",
            description=self.schema.description,
            required=self.required,
            sub_attributes=self.schema.attributes,
        )


@dataclass(frozen=True)
class AttributePath:
    """An attribute of one resource type, found by its path (RFC 7644 section 3.10).

    `extension` is the URN of the schema extension that holds the attribute, or None in the core
    schema. A path that names a whole extension has its URN as the name of `attribute`.
    """

    attribute: Attribute
    sub_attribute: Attribute | None = None
    extension: str | None = None

    @cached_property
    def leaf(self) -> Attribute:
        """The attribute or sub-attribute the path ends at."""
        return self.sub_attribute or self.attribute

    @cached_property
    def text(self) -> str:
        """The path in canonical spelling, such as `name.familyName` or `urn:...:User:department`."""
        prefix = f"{self.extension}:" if self.extension else ""
        suffix = f".{self.sub_attribute.name}" if self.sub_attribute else ""
        return f"{prefix}{self.attribute.name}{suffix}"

    @cached_property
    def is_single(self) -> bool:
        """Whether a resource has one value at most."""
        return not self.attribute.multi_valued and not self.leaf.multi_valued

    def sub_path(self, name: str) -> "AttributePath | None":
        """Return the path of a sub-attribute, or None; the `value` of simple values is the path itself."""
        if name.lower() == "value" and self.attribute.has_simple_values:
            return self
        sub_attribute = self.attribute.sub_attribute(name)
        return AttributePath(self.attribute, sub_attribute, self.extension) if sub_attribute else None

    def holder(self, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the object of `resource` that has the attribute as a key; empty when absent."""
        if self.extension is None:
            return resource
        extension = resource.get(self.extension)
        return extension if isinstance(extension, Mapping) else {}

    def elements(self, resource: Mapping[str, Any]) -> list[Any]:
        """Return the values of `attribute` (not of its sub-attribute) as a list, empty when absent."""
        holder = resource if self.extension is None else self.holder(resource)
        value = holder.get(self.attribute.name)
        if value is None:
            return []
        return value if isinstance(value, list) else [value]

    def values(self, resource: Mapping[str, Any]) -> list[Any]:
        """Return every value at the end of the path in canonical `resource`, in order."""
        elements = self.elements(resource)
        return elements if self.sub_attribute is None else list(sub_values(elements, self.sub_attribute))


def sub_values(elements: list[Any], sub_attribute: Attribute) -> Iterator[Any]:
    """Yield the values of `sub_attribute` in each of the complex `elements`."""
    for element in elements:
        value = element.get(sub_attribute.name) if isinstance(element, Mapping) else None
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


@dataclass(frozen=True, eq=False)
class ResourceType:
    """What a resource of this type may hold and where it is found (RFC 7643 section 6)."""

    name: str
    endpoint: str
    description: str
    schema: Schema
    extensions: tuple[SchemaExtension, ...] = field(default=())
    common: tuple[Attribute, ...] = COMMON_ATTRIBUTES

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The common attributes and those of the core schema, in this order."""
        names = {attribute.name.lower() for attribute in self.common}
        own = tuple(a for a in self.schema.attributes if a.name.lower() not in names)
        return self.common + own

    @cached_property
    def _core(self) -> Attribute:
        return Attribute(self.schema.id, "complex", sub_attributes=self.attributes)

    @cached_property
    def _by_urn(self) -> tuple[tuple[str, Attribute, str | None], ...]:
        # Longest first, so that a URN which is the beginning of another does not hide it.
        spaces: list[tuple[str, Attribute, str | None]] = [(self.schema.id.lower(), self._core, None)]
        spaces += [(e.schema.id.lower(), e.attribute, e.schema.id) for e in self.extensions]
        return tuple(sorted(spaces, key=lambda space: -len(space[0])))

    def extension(self, urn: str) -> SchemaExtension | None:
        """Return the extension with that URN in any case, or None."""
        return self._by_lowered_urn.get(urn.lower())

    @cached_property
    def extension_urns(self) -> frozenset[str]:
        """The URN of each extension, as it stands in resources."""
        return frozenset(extension.schema.id for extension in self.extensions)

    @cached_property
    def _by_lowered_urn(self) -> Mapping[str, SchemaExtension]:
        return {extension.schema.id.lower(): extension for extension in self.extensions}

    def path(self, text: str) -> AttributePath | None:
        """Return the attribute that `text` names in any case, or None when there is none.

        `text` is `[URN:]attribute[.subAttribute]` (RFC 7644 section 3.10), the URN of an
        extension alone, or the older form with a dot between URN and attribute.
        """
        cached = self._paths.get(text)
        if cached is None:
            cached = self._find(text)
            # Only hits are kept: their number is bounded by the schema, but for upper and lower
            # case; text from clients must not fill the memory.
            if cached is not None and len(self._paths) < 4096:
                self._paths[text] = cached
        return cached

    @cached_property
    def _paths(self) -> dict[str, AttributePath]:
        return {}

    def _find(self, text: str) -> AttributePath | None:
        lowered = text.lower()
        for urn, space, extension in self._by_urn:
            if lowered == urn and extension is not None:
                return AttributePath(space)
            if lowered.startswith((f"{urn}:", f"{urn}.")):
                return self._within(space, extension, text[len(urn) + 1 :])
        return self._within(self._core, None, text)

    @staticmethod
    def _within(space: Attribute, extension: str | None, text: str) -> AttributePath | None:
        name, dot, sub_name = text.partition(".")
        attribute = space.sub_attribute(name)
        path = AttributePath(attribute, None, extension) if attribute else None
        return path.sub_path(sub_name) if path and dot else path

    @cached_property
    def simple_paths(self) -> tuple[AttributePath, ...]:
        """The path of every attribute that holds values rather than sub-attributes."""
        found: list[AttributePath] = []
        spaces: list[tuple[str | None, tuple[Attribute, ...]]] = [(None, self.attributes)]
        spaces += [(e.schema.id, e.schema.attributes) for e in self.extensions]
        for extension, attributes in spaces:
            for attribute in attributes:
                if attribute.is_complex:
                    found += [AttributePath(attribute, sub, extension) for sub in attribute.sub_attributes]
                else:
                    found.append(AttributePath(attribute, None, extension))
        return tuple(found)

    @cached_property
    def secret_paths(self) -> tuple[AttributePath, ...]:
        """The attributes that are never returned."""
        return tuple(path for path in self.simple_paths if path.leaf.returned == "never")

    @cached_property
    def unique_paths(self) -> tuple[AttributePath, ...]:
        """The attributes, `id` apart, of which no two resources of the type may share a value."""
        return tuple(p for p in self.simple_paths if p.leaf.uniqueness != "none" and p.text != "id")

    def display(self, resource: Mapping[str, Any]) -> str | None:
        """Return the name by which other resources show this one: displayName, else a unique name."""
        found = resource.get("displayName")
        if isinstance(found, str) and found:
            return found
        for path in self.unique_paths:
            for value in path.values(resource) if path.text != "externalId" else ():
                if isinstance(value, str):
                    return value
        return None

    @cached_property
    def members(self) -> Attribute | None:
        """The attribute that lists other resources as members, such as Group.members, if any.

        It is the multi-valued complex attribute a client may write whose elements have a
        `value` and a `$ref` to resource types.
        """
        return self._link(written_by_clients=True)

    @cached_property
    def memberships(self) -> Attribute | None:
        """The computed attribute that lists where the resource is a member, such as User.groups."""
        return self._link(written_by_clients=False)

    def _link(self, written_by_clients: bool) -> Attribute | None:
        for attribute in self.attributes:
            reference = attribute.sub_attribute("$ref")
            if (
                attribute.multi_valued
                and reference
                and attribute.sub_attribute("value")
                and set(reference.reference_types) - {"external", "uri"}
                and (attribute.mutability != "readOnly") is written_by_clients
            ):
                return attribute
        return None
