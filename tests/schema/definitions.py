"""Resource types made by hand, with every characteristic that an attribute may have (RFC 7643 section 7)."""

from typing import Any, Final

from schema.attribute import Attribute
from schema.resource_type import ResourceType, Schema, SchemaExtension

PERSON: Final = "urn:example:core:2.0:Person"
WORK: Final = "urn:example:extension:2.0:Work"
# The URN of the other extension is the beginning of this one.
BADGE: Final = f"{WORK}:Badge"
TEAM: Final = "urn:example:core:2.0:Team"
BUDGET: Final = "urn:example:extension:Budget"


def complex_of(name: str, *sub_attributes: Attribute, **characteristics: Any) -> Attribute:
    """Return a complex attribute, of one value unless the characteristics say otherwise."""
    return Attribute(name, "complex", sub_attributes=sub_attributes, **characteristics)


def many(name: str, *sub_attributes: Attribute, **characteristics: Any) -> Attribute:
    """Return a multi-valued complex attribute."""
    return complex_of(name, *sub_attributes, multi_valued=True, **characteristics)


PERSON_ATTRIBUTES: Final = (
    Attribute("userName", required=True, uniqueness="server"),
    Attribute("displayName"),
    Attribute("title"),
    Attribute("nickName", case_exact=True),
    Attribute("active", "boolean"),
    Attribute("age", "integer"),
    Attribute("height", "decimal"),
    Attribute("born", "dateTime"),
    Attribute("photo", "binary", case_exact=True),
    Attribute("profileUrl", "reference", case_exact=True),
    Attribute("tags", multi_valued=True),
    Attribute("scores", "integer", multi_valued=True),
    Attribute("badge", mutability="readOnly"),
    Attribute("serial", mutability="immutable", returned="always"),
    Attribute("password", mutability="writeOnly", returned="never"),
    Attribute("diary", returned="request"),
    complex_of("name", Attribute("givenName"), Attribute("familyName")),
    many(
        "emails",
        Attribute("value"),
        Attribute("display"),
        Attribute("type", canonical_values=("work", "home")),
        Attribute("primary", "boolean"),
        Attribute("verified", "boolean", mutability="readOnly"),
    ),
    many("phones", Attribute("value", required=True), Attribute("type")),
    many("visits", Attribute("value"), Attribute("day", "dateTime"), returned="request"),
    complex_of(
        "card",
        Attribute("number", returned="always"),
        Attribute("holder"),
        Attribute("colour", returned="request"),
        Attribute("code", returned="never"),
    ),
    complex_of("vault", Attribute("value"), returned="never"),
    many(
        "groups",
        Attribute("value", mutability="readOnly"),
        Attribute("$ref", "reference", mutability="readOnly", reference_types=("Team",)),
        mutability="readOnly",
    ),
)

WORK_ATTRIBUTES: Final = (
    Attribute("department"),
    Attribute("costCenter", returned="always"),
    Attribute("salary", "decimal", returned="request"),
    Attribute("pin", mutability="writeOnly", returned="never"),
    Attribute("employeeNumber", uniqueness="server", case_exact=True),
    complex_of("manager", Attribute("value", required=True), Attribute("displayName", mutability="readOnly")),
    Attribute("shifts", multi_valued=True),
)

PERSON_TYPE: Final = ResourceType(
    "Person",
    "/People",
    "A person",
    Schema(PERSON, "Person", "A person", PERSON_ATTRIBUTES),
    (
        SchemaExtension(Schema(WORK, "Work", "Where a person works", WORK_ATTRIBUTES)),
        SchemaExtension(Schema(BADGE, "Badge", "", (Attribute("number"), Attribute("colour")))),
    ),
)

TEAM_TYPE: Final = ResourceType(
    "Team",
    "/Teams",
    "A team",
    Schema(
        TEAM,
        "Team",
        "",
        (
            Attribute("displayName", required=True),
            many(
                "members",
                Attribute("value", mutability="immutable"),
                Attribute("$ref", "reference", reference_types=("Person", "Team")),
                Attribute("type"),
            ),
        ),
    ),
    (SchemaExtension(Schema(BUDGET, "Budget", "", (Attribute("amount", "integer"),)), required=True),),
)


def person(**attributes: Any) -> dict[str, Any]:
    """Return a person as a client sends it, with the least that there must be."""
    return {"schemas": [PERSON], "userName": "anna", **attributes}


def attribute_of(name: str) -> Attribute:
    """Return an attribute of a person by its name."""
    found = PERSON_TYPE.path(name)
    assert found is not None
    return found.leaf
