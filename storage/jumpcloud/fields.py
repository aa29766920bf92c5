"""Which attributes of SCIM are which fields of JumpCloud: data, for users and for groups."""

from typing import Final

from schema import urns
from storage.jumpcloud.lenses import ActiveLens, EmailsLens, ListLens, PartsLens, TextLens

_SRAM_GROUP: Final = "urn:mace:surf.nl:sram:scim:extension:Group"

USER_LENSES: Final = (
    TextLens("userName", ("username",), folded=True),
    TextLens("externalId", ("external_dn",)),
    PartsLens(
        "name",
        ("firstname", "middlename", "lastname"),
        parts=(("givenName", "firstname"), ("middleName", "middlename"), ("familyName", "lastname")),
        made=("formatted",),
    ),
    TextLens("displayName", ("displayname",)),
    TextLens("title", ("jobTitle",)),
    TextLens("userType", ("employeeType",)),
    ActiveLens("active"),
    EmailsLens("emails"),
    ListLens("phoneNumbers", ("phoneNumbers",), keys=(("value", "number"), ("type", "type"))),
    ListLens(
        "addresses",
        ("addresses",),
        keys=(
            ("streetAddress", "streetAddress"),
            ("locality", "locality"),
            ("region", "region"),
            ("postalCode", "postalCode"),
            ("country", "country"),
            ("type", "type"),
        ),
    ),
    TextLens("organization", ("company",), urns.ENTERPRISE_USER),
    TextLens("costCenter", ("costCenter",), urns.ENTERPRISE_USER),
    TextLens("department", ("department",), urns.ENTERPRISE_USER),
    TextLens("employeeNumber", ("employeeIdentifier",), urns.ENTERPRISE_USER, longest=256, cut=False),
    PartsLens(
        "manager",
        ("manager",),
        urns.ENTERPRISE_USER,
        parts=(("value", "manager"),),
        made=("$ref", "displayName"),
        ids=True,
    ),
)
GROUP_LENSES: Final = (
    TextLens("displayName", ("name",)),
    TextLens("description", ("description",), _SRAM_GROUP),
)
