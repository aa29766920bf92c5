"""What a resource must have: required attributes (RFC 7643 section 7)."""

from collections.abc import Iterable, Mapping
from typing import Any

from schema.attribute import Attribute


def lacking(
    attributes: Iterable[Attribute], holder: Mapping[str, Any], apart: Attribute | None = None
) -> dict[str, Any]:
    """Return what `holder` has in place of each required attribute without a value: None or "".

    Attributes that the server assigns do not count, nor does `apart`.
    """
    return {
        attribute.name: holder.get(attribute.name)
        for attribute in attributes
        if attribute.required and attribute is not apart and attribute.mutability != "readOnly"
        if holder.get(attribute.name, "") == ""
    }
