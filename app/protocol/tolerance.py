"""What real clients send beside the letter of the RFC, one named function each, and who may.

A tolerance reads a value that does not fit its attribute and says what the client meant. A
profile is the list of tolerances granted to a principal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from schema.attribute import Attribute
from schema.validation import MISMATCH, STRICT, Leniency

Tolerance = Callable[[Attribute, Any], Any]


def boolean_string(attribute: Attribute, value: Any) -> Any:
    """`"True"` and `"false"` for booleans: Entra ID without aadOptscim062020, OneLogin templates."""
    if attribute.type != "boolean" or not isinstance(value, str):
        return MISMATCH
    return {"true": True, "false": False}.get(value.strip().lower(), MISMATCH)


def empty_string(attribute: Attribute, value: Any) -> Any:
    """`""` for an absent value that is not text: SRAM and Okta send it for every absent value."""
    return None if value == "" else MISMATCH


def whole_number(attribute: Attribute, value: Any) -> Any:
    """`5.0` for an integer: JSON does not tell them apart (RFC 7643 section 2.3.4)."""
    if attribute.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return MISMATCH


def json_in_string(attribute: Attribute, value: Any) -> Any:
    """A complex value as JSON inside a string: Entra ID sends app roles so."""
    if not (attribute.is_complex and isinstance(value, str) and value.lstrip()[:1] in ("{", "[")):
        return MISMATCH
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return MISMATCH


def bare_value(attribute: Attribute, value: Any) -> Any:
    """An id where a reference belongs: Entra ID sends the manager so."""
    if attribute.sub_attribute("$ref") is None or not isinstance(value, str):
        return MISMATCH
    return {"value": value}


def single_for_list(attribute: Attribute, value: Any) -> Any:
    """One object where a list of objects belongs: accepted by the product we replace."""
    if not attribute.multi_valued or not isinstance(value, dict):
        return MISMATCH
    return [value]


def list_for_single(attribute: Attribute, value: Any) -> Any:
    """A list of one where a single value belongs: Entra ID in PATCH, `[{"value": "x"}]`."""
    if attribute.multi_valued or not isinstance(value, list) or len(value) != 1:
        return MISMATCH
    only = value[0]
    if not attribute.is_complex and isinstance(only, dict):
        return only.get("value", MISMATCH)
    return only


def operation_name_in_any_case(name: str) -> str:
    """`Add`, `Replace`: Entra ID without aadOptscim062020."""
    return name.lower()


TOLERANCES: Final[tuple[Tolerance, ...]] = (
    empty_string,
    boolean_string,
    whole_number,
    json_in_string,
    single_for_list,
    bare_value,
)

# Google Workspace lists the SCIM 1.0 schema, alone or beside that of 2.0.
SCHEMA_ALIASES: Final = frozenset({"urn:scim:schemas:core:1.0"})


def any_of(tolerances: tuple[Tolerance, ...]) -> Tolerance:
    """Return the first reading that one of `tolerances` has of a value, else MISMATCH."""

    def coerce(attribute: Attribute, value: Any) -> Any:
        for tolerance in tolerances:
            reading = tolerance(attribute, value)
            if reading is not MISMATCH:
                return reading
        return MISMATCH

    return coerce


@dataclass(frozen=True)
class Profile:
    """What one kind of client is granted.

    `resources` and `patch` are for whole resources and for values in PATCH. `operation_name`
    reads the `op` of an operation, None where only the names of the RFC will do. With
    `ignores_read_only`, readOnly attributes in a PATCH without path are passed over: Okta sends
    the id of a group along with its new name. With `creates_elements`, `add` through a value path
    that selects nothing makes the element: Entra ID adds the first email so.
    """

    resources: Leniency = STRICT
    patch: Leniency = STRICT
    operation_name: Callable[[str], str] | None = None
    ignores_read_only: bool = False
    creates_elements: bool = False


def _leniency(*tolerances: Tolerance) -> Leniency:
    return Leniency(
        any_of(tolerances), unknown_attributes=True, missing_schemas=True, schema_aliases=SCHEMA_ALIASES
    )


PROFILES: Final[dict[str, Profile]] = {
    "default": Profile(
        resources=_leniency(*TOLERANCES),
        patch=_leniency(list_for_single, *TOLERANCES),
        operation_name=operation_name_in_any_case,
        ignores_read_only=True,
        creates_elements=True,
    ),
    "strict": Profile(),
}
