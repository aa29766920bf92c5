"""What real clients send beside the letter of the RFC, one named function each.

A tolerance reads a value that does not fit its attribute and says what the client meant.
`app.protocol.profiles` says which clients are granted which.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from schema import urns
from schema.attribute import Attribute
from schema.leniency import MISMATCH, Rewriting
from telemetry.deviations import accepted

Tolerance = Callable[[Attribute, Any], Any]
RewritingOf = Callable[[Attribute], Rewriting | None]


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


def any_of(tolerances: Mapping[str, Tolerance]) -> Tolerance:
    """Return the first reading that one of `tolerances` has of a value, else MISMATCH.

    A reading counts as a deviation of the name that `tolerances` gives it.
    """

    def coerce(attribute: Attribute, value: Any) -> Any:
        for name, tolerance in tolerances.items():
            reading = tolerance(attribute, value)
            if reading is not MISMATCH:
                accepted(name)
                return reading
        return MISMATCH

    return coerce


def rewriting_among(rewritings: Mapping[str, RewritingOf]) -> RewritingOf:
    """Return the function from an attribute to the rewriting of its values, None if none applies.

    A rewriting that applies to a value counts as a deviation of the name that `rewritings` gives it.
    """

    @lru_cache(maxsize=4096)
    def rewriting_of(attribute: Attribute) -> Rewriting | None:
        applying = ((name, one(attribute)) for name, one in rewritings.items())
        return next((_counted(name, found) for name, found in applying if found is not None), None)

    return rewriting_of


def _counted(name: str, rewriting: Rewriting) -> Rewriting:
    def rewrite(value: Any) -> Any:
        found = rewriting(value)
        if found is not MISMATCH:
            accepted(name)
        return found

    return rewrite
