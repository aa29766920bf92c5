"""OpenLDAP, for the tests of every folder."""

from collections.abc import Iterator
from typing import Any

import pytest

BACKENDS = ("ldap",)


@pytest.fixture(scope="session")
def ldap() -> Iterator[Any]:
    from tests.openldap import LdapServer

    server = LdapServer()
    yield server
    server.remove()
