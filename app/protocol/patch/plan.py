"""What the operations of a PATCH are about, judged by the schemas alone (RFC 7644 section 3.5.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

from app.protocol.patch.message import PatchOperation, placed
from app.protocol.profiles import Profile
from schema.attribute import Attribute
from schema.errors import InvalidPath, InvalidValue, ScimError
from schema.leniency import Leniency
from schema.resource_type import ResourceType
from schema.validation import (
    compile_attribute_validator,
    compile_element_validator,
    compile_parts_validator,
)
from scim_filter import parse_path, resolve_path
from scim_filter.nodes import BoundPatchPath, PatchPath

# How many paths are remembered, and of how many characters at the most.
_MOST_KEPT: Final = 1000
_LONGEST_KEPT: Final = 200


@dataclass(frozen=True)
class UnknownAttribute:
    """A path, without its filter, to an attribute that no schema of the resource type has."""

    path: str
    problem: str


class PatchRules:
    """What a resource type and a profile make of paths and values; each is worked out once.

    It serves any number of requests, in several threads at the same time.
    """

    def __init__(self, resource_type: ResourceType, profile: Profile) -> None:
        self.resource_type = resource_type
        self.profile = profile
        # Clients choose the paths: what is remembered of them must not fill the memory.
        self._kept = lru_cache(_MOST_KEPT)(self._resolved)
        # Functions from a whole value, from one element, or from some parts of one, to its canonical
        # form, None for an unassigned one. They raise InvalidValue.
        self.value_reader = cache(lambda one: compile_attribute_validator(one, profile.patch))
        self.element_reader = cache(lambda one: compile_element_validator(one, profile.patch))
        self.parts_reader = cache(lambda one: compile_parts_validator(one, profile.patch))

    def target(self, text: str) -> BoundPatchPath | UnknownAttribute:
        """Return what the text of a path names.

        Raises InvalidPath for any other fault than its name, and InvalidFilter for one in brackets.
        """
        return self._kept(text) if len(text) <= _LONGEST_KEPT else self._resolved(text)

    def _resolved(self, text: str) -> BoundPatchPath | UnknownAttribute:
        path = parse_path(text)
        try:
            return resolve_path(path, self.resource_type, self.profile.patch)
        except InvalidPath as problem:
            name = _unknown_name(path, self.resource_type, self.profile.patch)
            if name is None:
                raise
            return UnknownAttribute(name, problem.detail)

    def elements(self, attribute: Attribute, value: Any, place: str) -> list[Any]:
        """Return the elements that `value` holds; one alone counts as a list of it."""
        reading = self.profile.patch.coercion(attribute, value) if isinstance(value, str) else value
        if reading is None:
            return []
        # Text that means a list is read as in a whole resource.
        listed = value if isinstance(reading, list) else [value]
        return list(self.value_reader(attribute)(listed, place) or [])

    def object_in(self, attribute: Attribute, value: Any) -> Any:
        """Return the object that a value of a complex attribute is or stands for, else `value`.

        A bare id stands for a new reference, not for a part of the old one.
        """
        if isinstance(value, Mapping):
            return value
        reading = self.profile.patch.coercion(attribute, value)
        return reading if isinstance(reading, Mapping) and reading != {"value": value} else value

    def extension_value(self, extension: Attribute, value: Any) -> Mapping[str, Any] | None:
        """Return the attributes in the value of an extension, None for an unassigned one."""
        reading = value
        if value is not None and not isinstance(value, Mapping):
            reading = self.profile.patch.coercion(extension, value)
        if reading is None or isinstance(reading, Mapping):
            return reading
        raise InvalidValue(f"{extension.name}: must be an object")


@dataclass(frozen=True)
class PlannedOperation:
    """An operation, its place in the request, and what its path names; None without a path."""

    position: int
    operation: PatchOperation
    target: BoundPatchPath | None


@dataclass(frozen=True)
class PatchPlan:
    """Operations to be carried out; `ignored` are the paths of those that are passed over."""

    rules: PatchRules
    operations: tuple[PlannedOperation, ...]
    ignored: tuple[str, ...] = field(default=())


def plan_patch(rules: PatchRules, operations: Sequence[PatchOperation]) -> PatchPlan:
    """Return `operations` with their paths resolved under `rules`.

    Where the profile ignores unknown attributes, an operation on one is passed over; but a request
    of nothing else is a wrong mapping, which somebody should notice. Raises InvalidFilter and InvalidPath,
    with the index of the operation, InvalidPath also for one without path where the profile requires paths.
    """
    planned: list[PlannedOperation] = []
    ignored: dict[int, UnknownAttribute] = {}
    for position, operation in enumerate(operations):
        if operation.path is None:
            if rules.profile.requires_path:
                problem = InvalidPath("path is required: the profile allows no operation without it")
                raise placed(problem, position)
            planned.append(PlannedOperation(position, operation, None))
            continue
        try:
            target = rules.target(operation.path)
        except ScimError as problem:
            raise placed(problem, position) from None
        if isinstance(target, BoundPatchPath):
            planned.append(PlannedOperation(position, operation, target))
        elif rules.profile.resources.unknown_attributes:
            ignored[position] = target
        else:
            raise placed(InvalidPath(target.problem), position)
    if ignored and not planned:
        position, unknown = next(iter(ignored.items()))
        raise InvalidPath(f"Operations[{position}]: {unknown.problem}")
    return PatchPlan(rules, tuple(planned), tuple(unknown.path for unknown in ignored.values()))


def _unknown_name(path: PatchPath, resource_type: ResourceType, leniency: Leniency) -> str | None:
    """Return the name in `path` that is in no schema; None when something else is wrong with it.

    What a filter names does not count: nobody can tell which elements were meant.
    """
    text, sub = leniency.canonical(path.path.text, resource_type), path.sub_attribute
    bound = resource_type.path(text)
    if bound is None:
        is_schema = text.lower() == resource_type.schema.id.lower()
        return None if is_schema else text + (f".{sub}" if sub else "")
    if sub is None or bound.sub_attribute is not None or not bound.attribute.is_complex:
        return None
    if resource_type.extension(bound.text) is not None:
        return None
    return None if bound.attribute.sub_attribute(sub) else f"{text}.{sub}"
