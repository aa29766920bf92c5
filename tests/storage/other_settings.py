"""Settings of two processes on one store, of which one has definitions or INDEXED_ATTRIBUTES of its own."""

from collections.abc import Sequence
from dataclasses import replace

from schema.registry import load_registry
from schema.resource_type import ResourceType
from storage.index_paths import EVERYTHING
from storage.testing import REGISTRY, USER

Settings = tuple[Sequence[ResourceType], frozenset[str]]


def _with_exact_names() -> list[ResourceType]:
    """Return the resource types with a userName that is compared by case."""
    attributes = tuple(
        replace(one, case_exact=True) if one.name == "userName" else one for one in USER.schema.attributes
    )
    return [replace(USER, schema=replace(USER.schema, attributes=attributes)), *REGISTRY.resource_types[1:]]


ALL = frozenset({EVERYTHING})
TITLE, MORE = frozenset({"title"}), frozenset({"title", "nickName"})
EXACT, FREE = _with_exact_names(), load_registry(unique_external_id=False).resource_types
BEFORE: Settings = (REGISTRY.resource_types, TITLE)
OTHERS: dict[str, Settings] = {
    "more indexed": (REGISTRY.resource_types, MORE),
    "less indexed": (REGISTRY.resource_types, frozenset()),
    "other caseExact": (EXACT, TITLE),
    "other uniqueness": (FREE, TITLE),
}
