"""OpenLDAP, for the tests of every folder."""

from collections.abc import Iterator
from typing import Any

import pytest

BACKENDS = ("ldap", "guarded_ldap")


# What runs on a variant of a backend; `make test-full` runs all tests on it.
VARIANTS = {
    "guarded_ldap": (
        *("test_bulk", "test_bulk_references", "test_groups", "test_intents", "test_patch", "test_races"),
        *("test_users", "test_values"),
    )
}


@pytest.fixture(scope="session")
def guarded_ldap() -> Iterator[Any]:
    """OpenLDAP with the overlays unique, memberof, refint and ppolicy."""
    from tests.openldap import LdapServer

    server = LdapServer.guarded()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def ldap() -> Iterator[Any]:
    from tests.openldap import LdapServer

    server = LdapServer()
    yield server
    server.remove()
