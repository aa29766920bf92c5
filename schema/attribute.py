"""An attribute and its characteristics (RFC 7643 sections 2.2 and 7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

TYPES = ("string", "boolean", "decimal", "integer", "dateTime", "reference", "binary", "complex")
MUTABILITIES = ("readOnly", "readWrite", "immutable", "writeOnly")
RETURNED = ("always", "never", "default", "request")
UNIQUENESS = ("none", "server", "global")


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute or sub-attribute; the defaults are those of RFC 7643 section 2.2.

    Definitions are loaded once, so an attribute is equal to itself only: comparing it costs nothing.
    """

    name: str
    type: str = "string"
    multi_valued: bool = False
    description: str = ""
    required: bool = False
    case_exact: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    uniqueness: str = "none"
    canonical_values: tuple[str, ...] = ()
    reference_types: tuple[str, ...] = ()
    sub_attributes: tuple["Attribute", ...] = field(default=())

    @cached_property
    def _by_name(self) -> Mapping[str, "Attribute"]:
        return {sub.name.lower(): sub for sub in self.sub_attributes}

    def sub_attribute(self, name: str) -> "Attribute | None":
        """Return the sub-attribute of that name in any case (RFC 7643 section 2.1), or None."""
        return self._by_name.get(name.lower())

    @cached_property
    def is_complex(self) -> bool:
        return self.type == "complex"

    @cached_property
    def has_simple_values(self) -> bool:
        """Whether it has several values without parts: paths call each `value` (RFC 7643 section 2.4)."""
        return self.multi_valued and not self.is_complex

    @property
    def compared(self) -> "Attribute | None":
        """The attribute that a bare comparison looks at: itself, or `value` of a complex one.

        RFC 7644 section 3.4.2.2 filters `emails co "example.com"` by the value of each email.
        """
        return self.sub_attribute("value") if self.is_complex else self

    def as_json(self) -> dict[str, Any]:
        """Return the representation of RFC 7643 section 7, every characteristic spelled out.

        Clients differ in the defaults they assume, so none is left to be assumed; only lists
        that would be empty are left out.
        """
        document: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "multiValued": self.multi_valued,
            "description": self.description,
            "required": self.required,
            "caseExact": self.case_exact,
            "mutability": self.mutability,
            "returned": self.returned,
            "uniqueness": self.uniqueness,
        }
        if self.canonical_values:
            document["canonicalValues"] = list(self.canonical_values)
        if self.reference_types:
            document["referenceTypes"] = list(self.reference_types)
        if self.sub_attributes:
            document["subAttributes"] = [sub.as_json() for sub in self.sub_attributes]
        return document
