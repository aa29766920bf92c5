"""USER_MAPPING and GROUP_MAPPING: attributes that take their value from another one at every write."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from schema.errors import InvalidValue
from schema.resource_type import AttributePath, ResourceType

# `sram_user_extension.eduPersonUniqueId`, as HarryKodden/scim names an extension.
_EXTENSION_FORM: Final = re.compile(r"([\w\-]+)_(?:user|group)_extension\.(.+)", re.ASCII | re.IGNORECASE)
# An id is one segment of a path, and none that a client or proxy would rewrite.
ADDRESSABLE: Final = re.compile(r"(?!\.{1,2}$)[^/\\?#%\x00-\x20\x7f]{1,200}")


class AttributeMapping:
    """Copies attributes of one resource type; `sources` maps target paths to source paths.

    Paths are attribute paths, URN-qualified where they name an extension. The target `id` gives
    new resources an id made of the source. Raises ValueError naming a path that does not exist
    or cannot be written.
    """

    def __init__(self, resource_type: ResourceType, sources: Mapping[str, str]) -> None:
        self._id_source: AttributePath | None = None
        self._copies: list[tuple[AttributePath, AttributePath]] = []
        for target_text, source_text in sources.items():
            target, source = _path(resource_type, target_text), _path(resource_type, source_text)
            if target.text == "id":
                self._id_source = source
            elif target.leaf.mutability == "readOnly" or target.attribute.multi_valued:
                raise ValueError(f"{target_text} is readOnly or multi-valued: it cannot be mapped")
            elif target.leaf.type != source.leaf.type or target.leaf.is_complex:
                raise ValueError(f"{target_text} and {source_text} must have the same simple type")
            else:
                self._copies.append((target, source))

    def apply(self, resource: dict[str, Any]) -> None:
        """Copy into the canonical `resource`; sources without a value leave their target alone."""
        for target, source in self._copies:
            values = source.values(resource)
            if values:
                holder = resource
                if target.extension is not None:
                    holder = resource.setdefault(target.extension, {})
                    if target.extension not in resource["schemas"]:
                        resource["schemas"] = [*resource["schemas"], target.extension]
                if target.sub_attribute is not None:
                    holder = holder.setdefault(target.attribute.name, {})
                holder[target.leaf.name] = values[0]

    @property
    def targets(self) -> frozenset[str]:
        """The paths of the attributes that are copied to."""
        return frozenset(target.text for target, _ in self._copies)

    @cached_property
    def secret_copies(self) -> frozenset[str]:
        """The paths of attributes that may hold a copy of a `returned: never` value, also through others."""
        secret = {source.text for _, source in self._copies if source.leaf.returned == "never"}
        copies: dict[str, AttributePath] = {}
        # Each round finds the copies of a copy: no chain is longer than the list.
        for _ in self._copies:
            copies |= {target.text: target for target, source in self._copies if source.text in secret}
            secret |= copies.keys()
        return frozenset(replace(one, sub_attribute=None).text for one in copies.values())

    def new_id(self, resource: Mapping[str, Any]) -> str | None:
        """Return the id for a new resource, or None when no mapping gives one.

        Raises InvalidValue for a value that cannot stand in a URL as an id.
        """
        values = self._id_source.values(resource) if self._id_source else []
        if not values:
            return None
        if not isinstance(values[0], str) or ADDRESSABLE.fullmatch(values[0]) is None:
            assert self._id_source is not None
            raise InvalidValue(f"{self._id_source.text}: cannot be used as an id in URLs")
        return values[0]


def _path(resource_type: ResourceType, text: str) -> AttributePath:
    match = _EXTENSION_FORM.fullmatch(text)
    if match is not None:
        word, rest = match.groups()
        for extension in resource_type.extensions:
            if word.lower() in extension.schema.id.lower().split(":"):
                text = f"{extension.schema.id}:{rest}"
    path = resource_type.path(text)
    if path is None:
        raise ValueError(f"{text} is not an attribute of {resource_type.name}")
    return path
