"""What real clients send beside the letter of the RFC, one named function each, and who may.

A tolerance reads a value that does not fit its attribute and says what the client meant. A
profile is the list of tolerances granted to a principal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from schema import urns
from schema.attribute import Attribute
from schema.leniency import MISMATCH, STRICT, Leniency, Rewriting

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
    return _json_in(value) if attribute.is_complex else MISMATCH


def bare_value(attribute: Attribute, value: Any) -> Any:
    """An id where a reference belongs: Entra ID sends the manager so."""
    if attribute.sub_attribute("$ref") is None or not isinstance(value, str):
        return MISMATCH
    return {"value": value}


def single_for_list(attribute: Attribute, value: Any) -> Any:
    """One object where a list of objects belongs: accepted by HarryKodden/scim."""
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


def manager_id(attribute: Attribute) -> Rewriting | None:
    """`{"managerId": "7"}` for `{"value": "7"}`: the name in SCIM 1.1, which OneLogin still sends."""
    former = f"{attribute.name}id".lower()
    if attribute.multi_valued or None in map(attribute.sub_attribute, ("value", "$ref")):
        return None

    def rewrite(value: Any) -> Any:
        if not isinstance(value, Mapping) or "value" in value:
            return MISMATCH
        names = {key.lower(): key for key in value}
        if former not in names or "value" in names:
            return MISMATCH
        return [{"value" if key == names[former] else key: item for key, item in value.items()}]

    return rewrite


def app_roles(attribute: Attribute) -> Rewriting | None:
    """A role as JSON in the `value` of an element, or several in one string: Entra ID, complex app roles.

    `{"value": "{\\"id\\": .., \\"value\\": \\"Admin\\", \\"displayName\\": \\"Admin\\"}"}` is the role Admin.
    """
    names = ("value", "display")
    if not attribute.multi_valued or None in map(attribute.sub_attribute, names):
        return None
    if attribute.sub_attribute("$ref") is not None:
        # The value is an id.
        return None

    def rewrite(element: Any) -> Any:
        is_object = isinstance(element, Mapping)
        found = _json_in(element.get("value") if is_object else element)
        if found is MISMATCH:
            return MISMATCH
        roles = [_app_role(one) for one in (found if isinstance(found, list) else [found])]
        if not roles or None in roles:
            return MISMATCH
        return [{**(element if is_object else {}), **role} for role in roles if role is not None]

    return rewrite


_APP_ROLE: Final = frozenset({"id", "value", "displayname", "display", "type", "primary"})


def _app_role(found: Any) -> dict[str, Any] | None:
    """Return the element that an app role of Entra ID is, None for all that does not look like one."""
    given = {key.lower(): item for key, item in found.items()} if isinstance(found, dict) else {}
    if not isinstance(given.get("value"), str) or not given.keys() <= _APP_ROLE:
        return None
    if "id" not in given and "displayname" not in given:
        return None
    role = {name: given[name] for name in ("value", "type", "primary") if name in given}
    return {**role, "display": given.get("displayname", given.get("display"))}


def _json_in(text: Any) -> Any:
    """Return the JSON object or list in a string, else MISMATCH."""
    if not isinstance(text, str) or text.lstrip()[:1] not in ("{", "["):
        return MISMATCH
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return MISMATCH


# `Add`, `Replace`: Entra ID without aadOptscim062020.
operation_name_in_any_case: Final[Callable[[str], str]] = str.lower


def names_in_a_string(value: Any) -> Any:
    """`"userName,title"` for a list of attributes in a SearchRequest: the Java library SCIM-SDK."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def number_in_a_string(value: Any) -> Any:
    """`"10"` or 10.0 for a number in a SearchRequest; "" for none, as in the query of a GET."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    digits = value.strip()
    # More digits than any number of 64 bits has are no number.
    if digits.removeprefix("-").isdecimal() and digits.isascii() and len(digits) < 20:
        return int(digits)
    return value if digits else None


TOLERANCES: Final[tuple[Tolerance, ...]] = (
    empty_string,
    boolean_string,
    whole_number,
    json_in_string,
    single_for_list,
    bare_value,
)
REWRITINGS: Final = (manager_id, app_roles)

# What SCIM 1.1 and the drafts of 2.0 called the schemas: OneLogin's template "SCIM v2 Enterprise"
# does, and Google Workspace lists the first, alone or beside that of 2.0.
SCHEMA_ALIASES: Final[Mapping[str, str | None]] = {
    f"urn:scim:schemas:{name}": urn
    for version in ("1.0", "2.0")
    for name, urn in (
        (f"core:{version}", None),
        (f"core:{version}:user", urns.USER),
        (f"core:{version}:group", urns.GROUP),
        (f"extension:enterprise:{version}", urns.ENTERPRISE_USER),
        (f"extension:enterprise:{version}:user", urns.ENTERPRISE_USER),
    )
}


def any_of(tolerances: tuple[Tolerance, ...]) -> Tolerance:
    """Return the first reading that one of `tolerances` has of a value, else MISMATCH."""

    def coerce(attribute: Attribute, value: Any) -> Any:
        for tolerance in tolerances:
            reading = tolerance(attribute, value)
            if reading is not MISMATCH:
                return reading
        return MISMATCH

    return coerce


@lru_cache(maxsize=4096)
def rewriting_of(attribute: Attribute) -> Rewriting | None:
    """Return the rewriting that applies to the values of `attribute`, None if none does."""
    return next((found for one in REWRITINGS if (found := one(attribute)) is not None), None)


@dataclass(frozen=True)
class Profile:
    """What one kind of client is granted.

    `resources` and `patch` are for whole resources and for values in PATCH. `operation_name`
    reads the `op` of an operation, None where only the names of the RFC will do. With
    `ignores_read_only`, readOnly attributes in a PATCH without path are passed over: Okta sends
    the id of a group along with its new name. With `creates_elements`, `add` through a value path
    that selects nothing makes the element, and so does `replace` of a sub-attribute: Entra ID sets
    the first email so. With `removes_by_value`, a `remove` may list what goes: Entra ID takes
    members out of a group so. With `paths_as_keys`, the keys of a PATCH without path may be paths,
    such as `name.givenName`: Entra ID sends them.
    With `loose_messages`, a PatchOp, BulkRequest or SearchRequest need not name its schema
    (authentik leaves it out) and may hold what the RFC does not know, numbers and lists may be
    strings in a SearchRequest, an entity-tag may lack its quotes, a PATCH without operations changes
    nothing (Microsoft's validator), and one object in a list is that object where there is no path.
    """

    resources: Leniency = STRICT
    patch: Leniency = STRICT
    operation_name: Callable[[str], str] | None = None
    ignores_read_only: bool = False
    creates_elements: bool = False
    paths_as_keys: bool = False
    loose_messages: bool = False
    removes_by_value: bool = False


def _leniency(*tolerances: Tolerance) -> Leniency:
    return Leniency(
        any_of(tolerances),
        rewriting_of,
        unknown_attributes=True,
        missing_schemas=True,
        empty_values=True,
        schema_aliases=SCHEMA_ALIASES,
    )


PROFILES: Final[dict[str, Profile]] = {
    "default": Profile(
        resources=_leniency(*TOLERANCES),
        patch=_leniency(list_for_single, *TOLERANCES),
        operation_name=operation_name_in_any_case,
        ignores_read_only=True,
        creates_elements=True,
        paths_as_keys=True,
        loose_messages=True,
        removes_by_value=True,
    ),
    "strict": Profile(),
}
