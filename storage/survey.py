"""What adopting documents of other programs would do: looked at, and nothing written."""

from collections.abc import Mapping
from typing import Any

import orjson

from schema.resource_type import ResourceType
from storage.adapter import Adoptable
from storage.foreign import ForeignReader
from storage.uniqueness import unique_values


class Survey:
    """Judges documents one after the other, in the order in which they are adopted.

    `ids` maps the ids of all documents and resources, which can be members, to the first type that has it.
    """

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._ids = ids
        self._readers: dict[str, ForeignReader] = {}
        self._values: set[tuple[str, str, str]] = set()

    def judge(self, resource_type: ResourceType, resource_id: str, document: Any) -> Adoptable:
        """Return what is wrong with the document of a resource; anything but an object is left."""
        name = resource_type.name
        if not isinstance(document, Mapping):
            return Adoptable(name, resource_id, ["is not a JSON object"], is_left=True)
        if name not in self._readers:
            self._readers[name] = ForeignReader(resource_type)
        found = self._readers[name].read(document)
        problems = [*found.problems, *self._readers[name].missing(found)]
        if self._ids.get(resource_id, name) != name:
            problems.append("a resource of another type has the same id; both are stored")
        for path, key in unique_values(resource_type, found.resource):
            if (name, path.text, key) in self._values:
                problems.append(f"another resource has the same {path.text}")
            self._values.add((name, path.text, key))
        lost = [member_id for _, member_id in found.members if member_id not in self._ids]
        if lost:
            problems.append(f"{len(lost)} members do not exist and are left out, such as {lost[0]}")
        return Adoptable(name, resource_id, problems)


def parsed(text: str | bytes) -> Any:
    """Return what a JSON text holds, None for another text and for what cannot be written again."""
    try:
        document = orjson.loads(text)
        # A document that is nested too deeply can be read, but not written again.
        orjson.dumps(document)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, TypeError):
        return None
    return document
