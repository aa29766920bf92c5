"""docs/how-to/migrate.md names every variable of HarryKodden/scim, and each is a setting of this server."""

import re
from pathlib import Path

from app.configuration.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "migrate.md").read_text()

# The variables in the README of HarryKodden/scim, and the spellings that only its code knows.
EARLIER = """
    LOGLEVEL API_KEY PAGE_SIZE BASE_PATH SCHEMA_PATH DATA_PATH MONGO_DB DATABASE_URL JUMPCLOUD_URL
    JUMPCLOUD_KEY FORWARD_SCIM_URL SCIM_FORWARD_URL FORWARD_SCIM_KEY SCIM_FORWARD_KEY LDAP_HOSTNAME
    LDAP_BASENAME LDAP_USERNAME LDAP_PASSWORD IRODS_HOST IRODS_PORT IRODS_ZONE IRODS_ADMIN_USERNAME
    IRODS_ADMIN_PASSWORD USER_MAPPING GROUP_MAPPING USER_MODEL_NAME USER_model_name GROUP_MODEL_NAME
    GROUP_model_name SET_ISSUER SET_AUDIENCE SET_PUSH_URL SET_PUSH_TOKEN EVENT_MODE ASYNC_REQUEST
    SET_SIGNING_SECRET SET_SIGNING_ALGORITHM SET_PUSH_REQUIRE_TLS SET_FEEDS SET_FEEDS_ENABLED
    SET_GROUP_AS_FEED SET_POLL_ENABLED SET_POLL_MAX_EVENTS
""".split()


def test_the_table_has_every_variable_and_each_is_a_setting() -> None:
    rows = re.findall(r"^\| `([A-Za-z_]+)` \|", PAGE.partition("## Settings")[2].partition("\n### ")[0], re.M)

    assert sorted(rows) == sorted(EARLIER)
    assert set(rows) <= set(Settings.variables())


def test_the_page_has_a_section_for_each_backend_to_link_to() -> None:
    headings = set(re.findall(r"^### (\w+)$", PAGE, re.M))

    assert {h.lower() for h in headings} >= {
        "sql",
        "files",
        "mongodb",
        "ldap",
        "jumpcloud",
        "forward",
        "irods",
        "events",
    }
