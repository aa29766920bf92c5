"""Which attributes and classes of a directory hold what SCIM needs beyond the standard ones.

With the schema that we ship they are its own; without it, attributes that every server has and
nobody else uses on a person or a group (RFC 4524, RFC 4519) carry the same.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ldap.filter import escape_filter_chars

from schema.resource_type import ResourceType
from schema.values import check_date_time


@dataclass(frozen=True)
class Layout:
    """The names of one of the two ways; None is for what one of them has no attribute for."""

    resource_class: str
    id: str
    data: str
    version: str
    place: str
    modified: str
    created: str | None
    external_id: str
    active: str | None
    display: str
    inexact: str | None
    inexact_class: str | None
    has_times: bool

    @property
    def attributes(self) -> tuple[str, ...]:
        """Every attribute that has values for the resource itself, `display` apart."""
        names = (
            self.id,
            self.data,
            self.version,
            self.place,
            self.modified,
            self.created,
            self.external_id,
            self.active,
            self.inexact,
        )
        return tuple(name for name in names if name is not None)

    def inexact_filter(self, attribute: str) -> str:
        """Return the filter for the entries whose `attribute` does not hold all of the resource."""
        if self.inexact is not None:
            return f"({self.inexact}={attribute})"
        return f"(objectClass={self.inexact_class})"

    def time(self, instant: str) -> str:
        """Return a dateTime as this layout keeps it."""
        return generalized_time(instant) if self.has_times else instant


WITH_SCHEMA: Final = Layout(
    resource_class="scimResource",
    id="scimId",
    data="scimData",
    version="scimVersion",
    place="scimPlace",
    modified="scimLastModified",
    created="scimCreated",
    external_id="scimExternalId",
    active="scimActive",
    display="scimMemberDisplay",
    inexact="scimInexact",
    inexact_class=None,
    has_times=True,
)
WITHOUT_SCHEMA: Final = Layout(
    resource_class="extensibleObject",
    id="uniqueIdentifier",
    data="info",
    version="documentVersion",
    place="serialNumber",
    modified="destinationIndicator",
    created=None,
    external_id="documentLocation",
    active=None,
    display="labeledURI",
    inexact=None,
    # The X.509 algorithms of a user: it asks for nothing, and the index of classes finds it.
    inexact_class="userSecurityInformation",
    has_times=False,
)
LAYOUTS: Final = (WITH_SCHEMA, WITHOUT_SCHEMA)

# The structural classes that HarryKodden/scim gives everything it writes.
OLD_CLASSES: Final = ("document", "device")


@dataclass(frozen=True)
class Kind:
    """What entries of a resource type are: the class of new ones, and of those that count."""

    structural: str
    classes: tuple[str, ...]

    @property
    def filter(self) -> str:
        """The filter for entries that may be resources of the type."""
        return any_of(f"(objectClass={name})" for name in dict.fromkeys((*self.classes, *OLD_CLASSES)))


def kind_of(resource_type: ResourceType, classes: Iterable[str]) -> Kind:
    """Return the kind of a resource type on a server that has these classes (in lower case)."""
    if resource_type.members is not None:
        empty = "groupOfMembers" if "groupofmembers" in classes else "groupOfNames"
        return Kind(empty, ("groupOfMembers", "groupOfNames"))
    if resource_type.path("userName") is not None:
        return Kind("inetOrgPerson", ("inetOrgPerson",))
    return Kind("device", ())


def equality(attribute: str, value: str) -> str:
    """Return the filter `attribute=value` (RFC 4515), with what is special in `value` escaped."""
    return f"({attribute}={escape_filter_chars(value)})"


def any_of(filters: Iterable[str]) -> str:
    """Return the filter for what one of `filters`, at least one, finds."""
    return _joined("|", filters)


def all_of(filters: Iterable[str]) -> str:
    """Return the filter for what each of `filters`, at least one, finds."""
    return _joined("&", filters)


def _joined(sign: str, filters: Iterable[str]) -> str:
    parts = list(dict.fromkeys(filters))
    return parts[0] if len(parts) == 1 else f"({sign}{''.join(parts)})"


def generalized_time(instant: str) -> str:
    """Return a UTC dateTime as a GeneralizedTime."""
    return re.sub(r"[-:T]", "", instant)


def date_time(time: str) -> str:
    """Return a GeneralizedTime of UTC as a dateTime with milliseconds; empty when it is none."""
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:[.,](\d{1,9}))?Z", time, re.ASCII)
    if match is None:
        return ""
    *parts, fraction = match.groups()
    year, month, day, hour, minute, second = parts
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '').ljust(3, '0')[:3]}Z"
    return text if check_date_time(text) is None else ""
