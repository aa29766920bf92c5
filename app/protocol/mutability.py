"""What a client may change (RFC 7643 section 2.2 `mutability`, RFC 7644 section 3.5.1)."""

from collections.abc import Mapping
from typing import Any

from schema.errors import Mutability
from schema.resource_type import AttributePath, ResourceType


def keep_immutables(resource_type: ResourceType, before: Mapping[str, Any], after: dict[str, Any]) -> None:
    """Hold immutable attributes at the value they have; one that `after` leaves out is put back.

    Raises Mutability for a different value. The elements of multi-valued attributes come and go
    as a whole and are not compared.
    """
    for path in resource_type.simple_paths:
        if path.leaf.mutability != "immutable" or (path.sub_attribute and path.attribute.multi_valued):
            continue
        old, new = path.values(before), path.values(after)
        if old and new and new != old:
            raise Mutability(f"{path.text}: is immutable and has another value")
        if old and not new:
            _put_back(path, before, after)


def _put_back(path: AttributePath, before: Mapping[str, Any], after: dict[str, Any]) -> None:
    holder = after if path.extension is None else after.setdefault(path.extension, {})
    if path.extension is not None and path.extension not in after["schemas"]:
        after["schemas"] = [*after["schemas"], path.extension]
    old = path.holder(before)[path.attribute.name]
    if path.sub_attribute is None:
        holder[path.attribute.name] = old
        return
    holder.setdefault(path.attribute.name, {})[path.sub_attribute.name] = old[path.sub_attribute.name]
