"""Which tolerances a client is granted, and which of the answers that the RFCs leave open it gets.

A profile has a name, such as `entra`. After the name, switches may change it: `entra,-json-strings` is
`entra` without one tolerance, and `strict,+boolean-strings` is `strict` with one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from app.protocol import tolerance
from app.protocol.tolerance import Tolerance, any_of, rewriting_among
from schema.attribute import Attribute
from schema.leniency import STRICT, Leniency
from schema.resource_type import ResourceType
from telemetry.deviations import accepted

LocationStyle = Literal["relative", "absolute"]


@dataclass(frozen=True, eq=False)
class Profile:
    """What one kind of client is granted.

    `resources` and `patch` are for whole resources and for values in PATCH. With
    `operations_in_any_case`, the `op` of an operation may have capital letters. With
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

    With `requires_path`, an operation of a PATCH without path is refused. `without_content` says after
    which PATCH the answer is 204: of groups, of any resource, or only of large groups (None). With
    `members_on_request`, an answer has members only if the request names them. `location_style` is
    None where the style of the server counts.
    """

    resources: Leniency = STRICT
    patch: Leniency = STRICT
    operations_in_any_case: bool = False
    ignores_read_only: bool = False
    creates_elements: bool = False
    paths_as_keys: bool = False
    loose_messages: bool = False
    removes_by_value: bool = False
    requires_path: bool = False
    without_content: Literal["groups", "all"] | None = None
    members_on_request: bool = False
    location_style: LocationStyle | None = None
    switches: frozenset[str] = field(default=frozenset())

    # Each of these counts a deviation where it returns true.

    def passes_over(self, attribute: Attribute) -> bool:
        """Return whether a value without path may have this attribute, although it is readOnly."""
        return attribute.mutability == "readOnly" and _counts(self.ignores_read_only, "read-only-in-patch")

    def passes_over_unknown(self) -> bool:
        """Return whether a request may have an attribute that no schema has."""
        return _counts(self.resources.unknown_attributes, "unknown-attributes")

    def takes_path_as_key(self) -> bool:
        """Return whether a key of a value without path may be a path."""
        return _counts(self.paths_as_keys, "paths-as-keys")

    def answers_without_content(self, resource_type: ResourceType) -> bool:
        """Return whether the answer to a PATCH of a resource of this type is 204, whatever its size."""
        if self.without_content == "groups":
            return resource_type.members is not None
        return self.without_content == "all"


def _counts(is_granted: bool, switch: str) -> bool:
    if is_granted:
        accepted(switch)
    return is_granted


_COERCIONS: Final[Mapping[str, Tolerance]] = {
    "empty-strings": tolerance.empty_string,
    "boolean-strings": tolerance.boolean_string,
    "whole-numbers": tolerance.whole_number,
    "json-strings": tolerance.json_in_string,
    "single-objects": tolerance.single_for_list,
    "bare-references": tolerance.bare_value,
}
_REWRITINGS: Final = {"manager-id": tolerance.manager_id, "app-roles": tolerance.app_roles}

TOLERANCES: Final[Mapping[str, str]] = {
    "loose-messages": "messages without `schemas`, with unknown keys, or with strings for numbers and lists;"
    " entity-tags without quotes; a PATCH without operations",
    "operation-case": "`op` in another case",
    "missing-schemas": "a resource without `schemas`",
    "unknown-attributes": "attributes that no schema defines",
    "schema-aliases": "earlier URNs of the schemas",
    "boolean-strings": "booleans as strings",
    "whole-numbers": "`5.0` for the integer 5",
    "json-strings": "complex values as JSON in a string",
    "app-roles": "app roles of Entra ID as JSON in a string",
    "single-objects": "one object instead of a list",
    "bare-references": "a manager or member as a bare id",
    "manager-id": "a manager as `managerId`",
    "empty-strings": '`""` for an unassigned attribute that is not text',
    "empty-values": 'complex values whose `value` is `""`',
    "listed-values": "in PATCH, a list of one instead of a single value",
    "paths-as-keys": "in PATCH without path, keys that are paths",
    "read-only-in-patch": "in PATCH without path, readOnly attributes",
    "new-values": "in PATCH, values that a filter does not find and that it describes",
    "removal-by-value": "in PATCH, `remove` with a list of the values to remove",
}
"""What a client may send beside the letter of the RFCs, by the name of the switch."""

ANSWERS: Final[Mapping[str, str]] = {
    "require-patch-path": "an operation of a PATCH without path is 400 `invalidPath`",
    "group-patch-204": "the answer to a PATCH of a group is 204",
    "patch-204": "the answer to a PATCH is 204",
    "members-on-request": "an answer has the members of a group only if `attributes` names them",
    "relative-locations": "locations are paths",
    "absolute-locations": "locations are URLs; the server needs `BASE_URL`",
}
"""What the server answers otherwise than usual, by the name of the switch."""

_COMMON: Final = frozenset({"unknown-attributes", "empty-strings", "empty-values", "whole-numbers"})
_NAMED: Final[Mapping[str, frozenset[str]]] = {
    "default": frozenset(TOLERANCES),
    "strict": frozenset(),
    "entra": _COMMON
    | {
        "operation-case",
        "boolean-strings",
        "json-strings",
        "app-roles",
        "bare-references",
        "listed-values",
        "paths-as-keys",
        "new-values",
        "removal-by-value",
        "loose-messages",
        "group-patch-204",
    },
    "okta": _COMMON | {"read-only-in-patch"},
    "onelogin": _COMMON | {"boolean-strings", "manager-id", "schema-aliases", "missing-schemas"},
    "sailpoint": _COMMON | {"new-values", "paths-as-keys"},
    "google": _COMMON | {"boolean-strings", "schema-aliases", "missing-schemas"},
    "sram": _COMMON | {"relative-locations"},
    "interop": frozenset({"require-patch-path"}),
}
# More than these tell of another client.
_MOST_SWITCHES: Final = 2
PROFILES: Final = tuple(_NAMED)
"""The names of the profiles."""


class UnknownProfile(ValueError):
    """The text names a profile or a switch that does not exist."""


@lru_cache(maxsize=1000)
def profile_of(text: str) -> Profile:
    """Return the profile that a name, with switches or without, stands for. Raises UnknownProfile."""
    name, *changes = (part.strip() for part in text.split(","))
    if name not in _NAMED:
        raise UnknownProfile(f"there is no profile {name[:50]!r}; the profiles are {', '.join(PROFILES)}")
    switches = set(_NAMED[name])
    for change in changes:
        sign, switch = change[:1], change[1:]
        if sign not in ("+", "-") or not (switch in TOLERANCES or switch in ANSWERS):
            raise UnknownProfile(
                f"{change[:50]!r} must be + or - and one of {', '.join([*TOLERANCES, *ANSWERS])}"
            )
        if sign == "+":
            # A profile has one style of locations.
            switches -= _STYLES if switch in _STYLES else set()
            switches.add(switch)
        else:
            switches.discard(switch)
    return _made(frozenset(switches))


def fitting_profile(used: frozenset[str]) -> str:
    """Return the text of the profile with the fewest tolerances that has those in `used`.

    Where only `default` has them all, the profile that lacks at most two of them gets these as switches.
    """
    known = used & TOLERANCES.keys()
    names = _NAMED.keys() - {"interop"}
    by_size = sorted(names, key=lambda name: (len(_NAMED[name] & TOLERANCES.keys()), name))
    best = next(name for name in by_size if known <= _NAMED[name])
    if best == "default":
        near = [name for name in by_size[1:-1] if len(known - _NAMED[name]) <= _MOST_SWITCHES]
        best = min(near, key=lambda name: len(known - _NAMED[name]), default=best)
    return ",".join([best, *(f"+{switch}" for switch in TOLERANCES if switch in known - _NAMED[best])])


def profile_text(text: str) -> str:
    """Return the text of a profile without spaces. Raises UnknownProfile."""
    text = ",".join(part.strip() for part in text.split(","))
    profile_of(text)
    return text


_STYLES: Final = frozenset({"relative-locations", "absolute-locations"})


@lru_cache(maxsize=1000)
def _made(switches: frozenset[str]) -> Profile:
    style: LocationStyle | None = None
    if switches & _STYLES:
        style = "absolute" if "absolute-locations" in switches else "relative"
    without_content: Literal["groups", "all"] | None = "groups" if "group-patch-204" in switches else None
    if "patch-204" in switches:
        without_content = "all"
    coercions = {name: read for name, read in _COERCIONS.items() if name in switches}
    listed = {"listed-values": tolerance.list_for_single} if "listed-values" in switches else {}
    return Profile(
        resources=_leniency(switches, coercions),
        patch=_leniency(switches, {**listed, **coercions}),
        operations_in_any_case="operation-case" in switches,
        ignores_read_only="read-only-in-patch" in switches,
        creates_elements="new-values" in switches,
        paths_as_keys="paths-as-keys" in switches,
        loose_messages="loose-messages" in switches,
        removes_by_value="removal-by-value" in switches,
        requires_path="require-patch-path" in switches,
        without_content=without_content,
        members_on_request="members-on-request" in switches,
        location_style=style,
        switches=switches,
    )


def _leniency(switches: frozenset[str], coercions: Mapping[str, Tolerance]) -> Leniency:
    return Leniency(
        any_of(coercions),
        rewriting_among({name: read for name, read in _REWRITINGS.items() if name in switches}),
        unknown_attributes="unknown-attributes" in switches,
        missing_schemas="missing-schemas" in switches,
        empty_values="empty-values" in switches,
        schema_aliases=tolerance.SCHEMA_ALIASES if "schema-aliases" in switches else {},
    )


@dataclass(frozen=True)
class Locations:
    """What precedes the endpoint in locations: `path`, after `url` where they are absolute.

    `style` counts for clients whose profile has none. Without a `url` every location is relative.
    """

    path: str = ""
    url: str = ""
    style: str = "relative"

    def prefix(self, profile: str) -> str:
        """Return the prefix for clients with this profile."""
        style = profile_of(profile).location_style or self.style
        return (self.url if style == "absolute" else "") + self.path
