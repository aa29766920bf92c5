"""What a server offers: its schema, controls and extended operations (RFC 4512 section 5)."""

from dataclasses import dataclass
from typing import Final

import ldap
from ldap.schema import AttributeType, ObjectClass, SubSchema

from storage.errors import StorageUnavailable
from storage.ldap.wire import Session

_SORT: Final = "1.2.840.113556.1.4.473"
_VIEW: Final = "2.16.840.1.113730.3.4.9"
_PASSWORD_MODIFY: Final = "1.3.6.1.4.1.4203.1.11.1"


@dataclass(frozen=True)
class Offer:
    """The names, in lower case, of classes and attributes; OIDs of controls and extended operations."""

    classes: frozenset[str]
    attributes: frozenset[str]
    controls: frozenset[str]
    extensions: frozenset[str]

    def knows(self, attribute: str) -> bool:
        """Return whether the server has an attribute type."""
        return attribute.lower() in self.attributes

    @property
    def has_schema(self) -> bool:
        """Whether the schema that we ship is installed."""
        return "scimresource" in self.classes

    @property
    def names_changes(self) -> bool:
        """Whether every change of an entry has a number by which the next one can be conditional."""
        needed = {ldap.CONTROL_ASSERT, ldap.CONTROL_POST_READ}
        return needed <= self.controls and self.knows("entryCSN")

    @property
    def sorts(self) -> bool:
        """Whether the server sorts (RFC 2891), and returns a part of what it has sorted."""
        return {_SORT, _VIEW} <= self.controls

    @property
    def sets_passwords(self) -> bool:
        """Whether the server hashes passwords by itself (RFC 3062)."""
        return _PASSWORD_MODIFY in self.extensions


def read_offer(session: Session) -> Offer:
    """Return what the server at the other end offers."""
    root = session.read("", ["subschemaSubentry", "supportedControl", "supportedExtension"])
    name = root.value("subschemaSubentry") if root else None
    schema = session.read(name, ["objectClasses", "attributeTypes"]) if name else None
    if root is None or schema is None:
        raise StorageUnavailable("the directory does not let the server read its schema")
    parsed = SubSchema(
        {
            "objectClasses": list(schema.attributes.get("objectclasses", ())),
            "attributeTypes": list(schema.attributes.get("attributetypes", ())),
        }
    )
    return Offer(
        _names(parsed, ObjectClass),
        _names(parsed, AttributeType),
        frozenset(root.values("supportedControl")),
        frozenset(root.values("supportedExtension")),
    )


def _names(schema: SubSchema, what: type) -> frozenset[str]:
    found = (schema.get_obj(what, oid) for oid in schema.listall(what))
    return frozenset(name.lower() for one in found if one is not None for name in one.names)
