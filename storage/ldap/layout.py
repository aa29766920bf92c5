"""Layouts of entries: the attributes and classes that hold a resource beyond the standard attributes.

There are two own layouts. One uses `scim.schema`. The other uses attributes that every server has, and that
no other program uses on persons or groups (RFC 4519, RFC 4524). The entries of HarryKodden/scim have a third.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from ldap.dn import str2dn
from ldap.filter import escape_filter_chars

from schema.resource_type import ResourceType
from schema.values import check_date_time, parse_date_time
from storage.index_keys import place_of
from storage.ldap.wire import Entry


@dataclass(frozen=True)
class Layout:
    """The attributes and classes of an own layout; None where the layout has none."""

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
        """Every attribute of the layout except `display`, which describes members."""
        names = [self.id, self.data, self.version, self.place, self.modified, self.created]
        names += [self.external_id, self.active, self.inexact]
        return tuple(name for name in names if name is not None)

    def inexact_filter(self, attribute: str) -> str:
        """Return the filter for entries whose `attribute` lacks or alters a value of the resource."""
        if self.inexact is not None:
            return f"({self.inexact}={attribute})"
        return f"(objectClass={self.inexact_class})"

    @property
    def others_filter(self) -> str:
        """The filter for entries of other layouts, above all those of HarryKodden/scim."""
        return f"(&(objectClass=extensibleObject)(!({self.place}=*)))"

    def time(self, instant: str) -> str:
        """Return a dateTime in the syntax of the layout."""
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
    # A class without mandatory attributes; the index of `objectClass` finds it.
    inexact_class="userSecurityInformation",
    has_times=False,
)
LAYOUTS: Final = (WITH_SCHEMA, WITHOUT_SCHEMA)
# The operational attribute with the DN of its entry (RFC 5020).
ENTRY_DN: Final = "entryDN"
# The one caseExact attribute of our DNs.
_EXACT: Final = WITH_SCHEMA.id.lower()

# The structural classes of every entry of HarryKodden/scim.
OLD_CLASSES: Final = ("document", "device")


# The data of every own entry begins so.
DATA: Final = b'{"scim":'


def own_filter(has_schema: bool) -> str:
    """Return the filter for own entries and those of HarryKodden/scim, and few others."""
    marks = [f"(objectClass={WITH_SCHEMA.resource_class})"] if has_schema else []
    return any_of([*marks, f"({WITHOUT_SCHEMA.data}=*)"])


def is_own(entry: Entry) -> bool:
    """Return whether this server or HarryKodden/scim has made or changed an entry."""
    classes = {name.lower() for name in entry.values("objectClass")}
    if WITH_SCHEMA.resource_class.lower() in classes:
        return True
    if any(value.startswith(DATA) for value in entry.attributes.get(WITHOUT_SCHEMA.data, ())):
        return True
    return bool(classes & set(OLD_CLASSES)) and old_document(entry) is not None


@dataclass(frozen=True)
class Kind:
    """The structural class of new entries of a resource type, and the classes of its existing entries."""

    structural: str
    classes: tuple[str, ...]

    @property
    def filter(self) -> str:
        """The filter for entries that may be resources of the type."""
        return any_of(f"(objectClass={name})" for name in dict.fromkeys((*self.classes, *OLD_CLASSES)))


def kind_of(resource_type: ResourceType, classes: Iterable[str]) -> Kind:
    """Return the kind of a resource type on a server with these classes (in lower case)."""
    if resource_type.members is not None:
        empty = "groupOfMembers" if "groupofmembers" in classes else "groupOfNames"
        return Kind(empty, ("groupOfMembers", "groupOfNames"))
    if resource_type.path("userName") is not None:
        return Kind("inetOrgPerson", ("inetOrgPerson",))
    return Kind("device", ())


def is_id(text: str) -> bool:
    """Return whether a resource can have the id."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text) and "\0" not in text


def rdn_of(dn: str) -> dict[str, str]:
    """Return the attributes of the RDN in a DN, names in lower case."""
    return {name.lower(): value for name, value, _ in str2dn(dn)[0]}


def folds_alone(character: str) -> bool:
    """Return whether every directory takes a character and its lower case as equal, and nothing else."""
    folded = character.casefold()
    if folded != character.lower() or len(folded) > 1:
        return False
    if character.lower() == character.upper():
        return True
    # RFC 4518 folds the capitals of Unicode 3.2: Latin, Greek and Cyrillic letters among them.
    known = character < "\u0250" or "\u0370" <= character < "\u0530"
    return known and all(unicodedata.ucd_3_2_0.category(one) != "Cn" for one in (character, folded))


def folded(text: str) -> str:
    """Return a text of the same length, in lower case where every directory ignores the case.

    Two texts that a directory takes for different stay different: it may fold an "\u0130" to "i" or to an
    "i" with a dot, and capitals that are younger than its tables not at all.
    """
    return text.lower() if text.isascii() else "".join(c.lower() if folds_alone(c) else c for c in text)


def normal(dn: str) -> str:
    """Return a key that is equal for the spellings of a DN, and different for DNs of different entries."""
    return repr([sorted(_normal_part(part[0].lower(), part[1]) for part in rdn) for rdn in str2dn(dn)])


def _normal_part(attribute: str, value: str) -> tuple[str, str]:
    return attribute, value if attribute == _EXACT else folded(value)


def equality(attribute: str, value: str) -> str:
    """Return the filter `attribute=value` (RFC 4515), with special characters escaped."""
    return f"({attribute}={escape_filter_chars(value)})"


def any_of(filters: Iterable[str]) -> str:
    """Return the disjunction of one or more filters."""
    return _joined("|", filters)


def all_of(filters: Iterable[str]) -> str:
    """Return the conjunction of one or more filters."""
    return _joined("&", filters)


def _joined(sign: str, filters: Iterable[str]) -> str:
    parts = list(dict.fromkeys(filters))
    return parts[0] if len(parts) == 1 else f"({sign}{''.join(parts)})"


def generalized_time(instant: str) -> str:
    """Return a UTC dateTime as a GeneralizedTime."""
    return re.sub(r"[-:T]", "", instant)


def date_time(time: str) -> str:
    """Return a GeneralizedTime of UTC as a dateTime with milliseconds; empty for an invalid one."""
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:[.,](\d{1,9}))?Z", time, re.ASCII)
    if match is None:
        return ""
    *parts, fraction = match.groups()
    year, month, day, hour, minute, second = parts
    text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{(fraction or '').ljust(3, '0')[:3]}Z"
    return text if check_date_time(text) is None else ""


def foreign_place(entry: Entry) -> str:
    """Return a place for an entry without one: the second of its creation, then a hash of its UUID."""
    created = date_time(entry.value("createTimestamp") or "") or "1970-01-01T00:00:00.000Z"
    seconds = int(parse_date_time(created).timestamp())
    spread = int(digest((entry.value("entryUUID") or entry.dn).encode()), 16) % 1_000_000_000
    return place_of(seconds * 1_000_000_000 + spread)


def old_document(entry: Entry) -> dict[str, Any] | None:
    """Return the JSON object in an entry of HarryKodden/scim, or None."""
    for value in entry.attributes.get("info", ()):
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            return document
    return None


def foreign_id(entry: Entry, is_old: bool, document: Mapping[str, Any]) -> str | None:
    """Return the id of a resource in a foreign entry, or None."""
    ids = [entry.value(layout.id) for layout in LAYOUTS]
    if is_old:
        known = document.get("id")
        ids += [entry.value("documentIdentifier"), known if isinstance(known, str) else None]
        ids.append(entry.value("cn"))
    return next((found for found in [*ids, entry.value("entryUUID")] if found), None)


def complete_old(resource_type: ResourceType, resource: dict[str, Any], entry: Entry) -> None:
    """Add the values that HarryKodden/scim moves from its JSON to attributes."""
    for text, attribute in (("userName", "uid"), ("displayName", "displayName")):
        value = entry.value(attribute)
        if value and resource_type.path(text) is not None:
            resource[text] = value
    listed = (("emails", "email"), ("emails", "emailAddress"), ("x509Certificates", "sshPublicKey"))
    for name, attribute in listed:
        values = entry.values(attribute)
        if values and name not in resource and resource_type.path(name) is not None:
            resource[name] = [
                {"value": v, **({"primary": True} if name == "emails" and not i else {})}
                for i, v in enumerate(values)
            ]


def digest(data: bytes) -> str:
    """Return a hash of 16 characters."""
    return hashlib.sha256(data).hexdigest()[:16]
