"""The capabilities of an LDAP server, from its root DSE and its schema (RFC 4512 section 5)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import ldap
from ldap.schema import AttributeType, ObjectClass, SubSchema

from storage.errors import StorageUnavailable
from storage.ldap.wire import Session

_SORT: Final = "1.2.840.113556.1.4.473"
_VIEW: Final = "2.16.840.1.113730.3.4.9"
_PASSWORD_MODIFY: Final = "1.3.6.1.4.1.4203.1.11.1"


@dataclass(frozen=True)
class ServerCapabilities:
    """Names of classes and attributes in lower case, OIDs of controls and of extended operations."""

    classes: frozenset[str]
    attributes: frozenset[str]
    controls: frozenset[str]
    extensions: frozenset[str]
    is_openldap: bool
    schema: SubSchema = field(repr=False)

    def knows(self, attribute: str) -> bool:
        """Return whether the schema of the server has an attribute type."""
        return attribute.lower() in self.attributes

    def lacks(self, classes: Collection[str], attributes: Collection[str]) -> list[str]:
        """Return what the schema lacks for an entry with all of these classes and attributes."""
        lacking = [f"the object class {name}" for name in classes if name.lower() not in self.classes]
        lacking += [f"the attribute type {name}" for name in attributes if not self.knows(name)]
        if lacking or "extensibleObject" in classes:
            return lacking
        kinds = self.schema.attribute_types(list(classes), raise_keyerror=0)
        allowed = {name.lower() for kind in kinds for one in kind.values() for name in one.names}
        text = "the attribute {} in an entry of the classes " + ", ".join(classes)
        return [text.format(name) for name in attributes if name.lower() not in allowed]

    @property
    def has_schema(self) -> bool:
        """Whether the server has the schema of this package, `scim.schema`."""
        return "scimresource" in self.classes

    @property
    def names_changes(self) -> bool:
        """Whether a change can return the entryCSN of an entry."""
        return ldap.CONTROL_POST_READ in self.controls and self.knows("entryCSN")

    @property
    def sorts(self) -> bool:
        """Whether the server sorts (RFC 2891), and returns windows of the sorted list."""
        return {_SORT, _VIEW} <= self.controls

    @property
    def sets_passwords(self) -> bool:
        """Whether the server has the Password Modify operation (RFC 3062), and hashes passwords itself."""
        return _PASSWORD_MODIFY in self.extensions


def read_capabilities(session: Session) -> ServerCapabilities:
    """Read the capabilities from the root DSE and the subschema. Raises StorageUnavailable."""
    root = session.read("", ["objectClass", "subschemaSubentry", "supportedControl", "supportedExtension"])
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
    return ServerCapabilities(
        _names(parsed, ObjectClass),
        _names(parsed, AttributeType),
        frozenset(root.values("supportedControl")),
        frozenset(root.values("supportedExtension")),
        "openldaprootdse" in map(str.lower, root.values("objectClass")),
        parsed,
    )


def _names(schema: SubSchema, what: type) -> frozenset[str]:
    found = (schema.get_obj(what, oid) for oid in schema.listall(what))
    return frozenset(name.lower() for one in found if one is not None for name in one.names)
