"""The owner of a resource: the client that created it, if that client sees nothing else.

The owner is no attribute: no client reads, filters or sorts by it. A backend with the capability `owners`
finds the resources of an owner by `owned_by`, which no filter of a client can say.
"""

from typing import Final

from schema.attribute import Attribute
from schema.resource_type import AttributePath
from scim_filter.nodes import BoundComparison

# No name of an attribute begins so (RFC 7643 section 2.1).
_NAME: Final = "#owner"
OWNER: Final = AttributePath(Attribute(_NAME, case_exact=True, returned="never"))
"""The path of the owner in a bound filter."""

PER_OWNER: Final = "externalId"
"""The unique attribute whose values are unique among the resources of one owner."""


def owned_by(owner: str) -> BoundComparison:
    """Return the bound filter that the resources of an owner match."""
    return BoundComparison(OWNER, "eq", owner, owner)


def with_owner(document: dict[str, object], owner: str | None) -> dict[str, object]:
    """Return a document as `owned_by` is evaluated on it."""
    return document if owner is None else {**document, _NAME: owner}
