"""The resource while a PATCH changes it: where its values are, and what it must have at the end."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.protocol.patch.elements import Elements
from app.protocol.patch.meter import Meter
from app.protocol.patch.values import require_values
from schema.attribute import Attribute
from schema.errors import InvalidValue
from schema.required import lacking
from schema.resource_type import AttributePath, ResourceType


class Document:
    """Changes `resource`, which is its own; the values of lists are kept apart until the end."""

    def __init__(self, resource_type: ResourceType, resource: dict[str, Any], meter: Meter) -> None:
        self._type = resource_type
        self._resource = resource
        self._meter = meter
        self._lists: dict[tuple[str | None, str], Elements] = {}
        # How many values the lists in a complex value had at the most.
        self._sizes: dict[Attribute, int] = {}
        # The complex values to look at in the end; those of lists by number.
        self._given_in_parts: dict[tuple[AttributePath, int | None], None] = {}
        # The required attributes that the resource lacked before, by the URN of the extension.
        core = resource_type.schema.attributes
        self._lacked: dict[str | None, dict[str, Any]] = {None: lacking(core, resource)}
        for extension in resource_type.extensions:
            if held := resource.get(extension.schema.id):
                self._lacked[extension.schema.id] = lacking(extension.schema.attributes, held)
        # The complex values before, those of lists by number.
        self._before: dict[tuple[str | None, str], Mapping[int | None, Any]] = {}

    def get(self, path: AttributePath) -> Any:
        """Return the value of a single attribute, None where it has none."""
        return path.holder(self._resource).get(path.attribute.name)

    def put(self, path: AttributePath, value: Any) -> None:
        """Let a single attribute have `value`; an empty one unassigns it.

        The cost of a change of a complex value grows with the lists in it. Raises Refusal 413.
        """
        if isinstance(value, Mapping):
            size = sum(len(part) for part in value.values() if isinstance(part, list))
            known = self._sizes.get(path.attribute, 0)
            self._meter.admit(max(0, size - known))
            self._meter.spend(size)
            self._sizes[path.attribute] = max(size, known)
        self._before.setdefault((path.extension, path.attribute.name), {None: self.get(path)})
        _assign(self._holder(path.extension), path.attribute.name, value)

    def elements(self, path: AttributePath) -> Elements:
        """Return the values of an attribute: those of a list are kept from operation to operation."""
        key = path.extension, path.attribute.name
        known = self._lists.get(key)
        if known is not None:
            return known
        elements = Elements(path.attribute, path.elements(self._resource), self._meter)
        if path.attribute.multi_valued:
            self._lists[key] = elements
            if any(sub.required for sub in path.attribute.sub_attributes):
                self._before[key] = dict(enumerate(elements))
        return elements

    def put_back(self, path: AttributePath, elements: Elements) -> None:
        """Assign what became of a single value that a filter selected."""
        if not path.attribute.multi_valued:
            self.put(path, next(iter(elements), None))

    def check_later(self, path: AttributePath, numbers: Iterable[int]) -> None:
        """Have `finish` check complex values that were given in parts: later operations may complete them.

        `numbers` are those of elements; a single value has none.
        """
        holder = AttributePath(path.attribute, None, path.extension)
        for number in numbers if path.attribute.multi_valued else (None,):
            self._given_in_parts[holder, number] = None

    def extension(self, urn: str) -> dict[str, Any]:
        """Return the attributes of an extension, those with lists as they were before."""
        found: dict[str, Any] = self._resource.get(urn, {})
        return found

    def remove_extension(self, urn: str) -> None:
        """Remove all attributes of an extension."""
        self._resource.pop(urn, None)
        self._lacked.pop(urn, None)
        self._lists = {key: elements for key, elements in self._lists.items() if key[0] != urn}

    def finish(self) -> dict[str, Any]:
        """Return the resource after all operations.

        Raises InvalidValue when it lacks what is required, unless it did before.
        """
        for path, number in self._given_in_parts:
            value = self.get(path) if number is None else self.elements(path).get(number)
            if isinstance(value, Mapping):
                subs, before = path.attribute.sub_attributes, self._value_before(path, number)
                require_values(subs, value, f"{path.text}.", lacking(subs, before) if before else {})
        for (urn, name), elements in self._lists.items():
            _assign(self._holder(urn), name, list(elements))
        resource = self._resource
        present = []
        for extension in self._type.extensions:
            urn = extension.schema.id
            if not resource.get(urn):
                resource.pop(urn, None)
                if extension.required and urn in self._lacked:
                    raise InvalidValue(f"{urn}: is required")
                continue
            present.append(urn)
            lacked = self._lacked.get(urn, {})
            require_values(extension.schema.attributes, resource[urn], f"{urn}:", lacked)
        attributes = self._type.schema.attributes
        require_values(attributes, resource, "", self._lacked[None], self._type.members)
        return {**resource, "schemas": [self._type.schema.id, *present]}

    def _value_before(self, path: AttributePath, number: int | None) -> Mapping[str, Any] | None:
        """Return a complex value as it was stored, None where it was not."""
        value = self._before.get((path.extension, path.attribute.name), {}).get(number)
        return value if isinstance(value, Mapping) else None

    def _holder(self, extension: str | None) -> dict[str, Any]:
        if extension is None:
            return self._resource
        holder: dict[str, Any] = self._resource.setdefault(extension, {})
        return holder


def _assign(holder: dict[str, Any], name: str, value: Any) -> None:
    if value is None or value == [] or value == {}:
        holder.pop(name, None)
    else:
        holder[name] = value
