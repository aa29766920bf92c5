"""Resource types made by hand, so that these tests need no schema definition (RFC 7643 section 8)."""

import pytest

from schema.attribute import Attribute
from schema.resource_type import ResourceType, Schema, SchemaExtension

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SRAM = "urn:mace:surf.nl:sram:scim:extension:Group"


def _element(*more: Attribute) -> tuple[Attribute, ...]:
    return (
        Attribute("value"),
        Attribute("display"),
        Attribute("type", canonical_values=("work", "home")),
        Attribute("primary", "boolean"),
        *more,
    )


def _complex(name: str, *sub_attributes: Attribute, multi_valued: bool = True) -> Attribute:
    return Attribute(name, "complex", multi_valued=multi_valued, sub_attributes=sub_attributes)


@pytest.fixture(scope="session")
def user_type() -> ResourceType:
    attributes = (
        Attribute("userName", required=True, uniqueness="server"),
        _complex("name", Attribute("givenName"), Attribute("familyName"), multi_valued=False),
        Attribute("displayName"),
        Attribute("nickName", case_exact=True),
        Attribute("title"),
        Attribute("userType"),
        Attribute("active", "boolean"),
        Attribute("password", returned="never", mutability="writeOnly"),
        Attribute("age", "integer"),
        Attribute("height", "decimal"),
        Attribute("born", "dateTime"),
        Attribute("photo", "binary", case_exact=True),
        Attribute("profileUrl", "reference", case_exact=True),
        Attribute("tags", multi_valued=True),
        _complex("emails", *_element()),
        _complex("ims", *_element()),
        _complex("addresses", Attribute("street"), Attribute("country")),
        _complex("tokens", Attribute("value", returned="never"), Attribute("type")),
        Attribute("vault", "complex", returned="never", sub_attributes=(Attribute("value"),)),
    )
    enterprise = (
        Attribute("department"),
        _complex("manager", Attribute("value"), Attribute("displayName"), multi_valued=False),
    )
    return ResourceType(
        "User",
        "/Users",
        "",
        Schema(USER, "User", "", attributes),
        (SchemaExtension(Schema(ENTERPRISE, "EnterpriseUser", "", enterprise)),),
    )


@pytest.fixture(scope="session")
def group_type() -> ResourceType:
    members = _complex(
        "members",
        Attribute("value", case_exact=True),
        Attribute("$ref", "reference", case_exact=True, reference_types=("User", "Group")),
        Attribute("display"),
    )
    sram = (
        Attribute("urn"),
        _complex("links", Attribute("name"), Attribute("value", "reference", case_exact=True)),
    )
    return ResourceType(
        "Group",
        "/Groups",
        "",
        Schema(GROUP, "Group", "", (Attribute("displayName"), members)),
        (SchemaExtension(Schema(SRAM, "SramGroup", "", sram)),),
    )
