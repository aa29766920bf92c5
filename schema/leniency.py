"""How far a client may stray from the letter of the schemas (RFC 7643)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from schema.attribute import Attribute
from schema.resource_type import ResourceType
from telemetry.deviations import accepted

MISMATCH: Final = object()
"""A coercion returns MISMATCH when it has no better reading of a value either."""

Coercion = Callable[[Attribute, Any], Any]
Rewriting = Callable[[Any], Any]


def no_coercion(attribute: Attribute, value: Any) -> Any:
    """Return MISMATCH: a value has the type of its attribute or is refused."""
    return MISMATCH


def no_rewriting(attribute: Attribute) -> Rewriting | None:
    """Return None: complex values are taken as they are."""
    return None


@dataclass(frozen=True, eq=False)
class Leniency:
    """How far a client may stray from the schema.

    `coercion` gets an attribute and a value that does not fit it, and returns a value that does,
    None for "unassigned", or MISMATCH. `rewriting` returns, for a complex attribute, the function
    from one value to the list of values that it stands for (or MISMATCH), None where no value of
    that attribute is rewritten. `unknown_attributes` and `missing_schemas` say whether those are
    accepted, and `unknown_values` whether a complex value with nothing but unknown sub-attributes is
    taken for unassigned. With `empty_values`, one whose `value` is "" is unassigned.
    `schema_aliases` maps URNs in lower case to the URN of the schema that is meant, None for the
    core schema of the resource type at hand. `of_clients` says whether a client wrote what is read, so that
    it is a deviation of the client.
    """

    coercion: Coercion = no_coercion
    rewriting: Callable[[Attribute], Rewriting | None] = no_rewriting
    unknown_attributes: bool = False
    missing_schemas: bool = False
    unknown_values: bool = False
    empty_values: bool = False
    schema_aliases: Mapping[str, str | None] = field(default_factory=dict)
    of_clients: bool = True

    def note(self, kind: str) -> None:
        """Count a deviation that was accepted, if it is one of a client."""
        if self.of_clients:
            accepted(kind)

    def reading(self, attribute: Attribute, value: Any, fits: Callable[[Any], bool]) -> Any:
        """Return the coercion of a value; what a list of one holds is coerced too, unless it fits."""
        found = self.coercion(attribute, value)
        if isinstance(value, list) and isinstance(found, str) and not fits(found):
            found = self.coercion(attribute, found)
        return found

    @cached_property
    def _longest_first(self) -> list[str]:
        # An alias may be the beginning of another.
        return sorted(self.schema_aliases, key=len, reverse=True)

    def canonical(self, text: str, resource_type: ResourceType) -> str:
        """Return a path or URN with the URN of its schema in place of an alias."""
        lowered = text.lower()
        if not lowered.startswith("urn:"):
            return text
        for alias in self._longest_first:
            if lowered == alias or lowered.startswith((f"{alias}:", f"{alias}.")):
                self.note("schema-aliases")
                return (self.schema_aliases[alias] or resource_type.schema.id) + text[len(alias) :]
        return text


STRICT: Final = Leniency()
