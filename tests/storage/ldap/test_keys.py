"""SSH keys, where the server has the schema that sshd looks them up by."""

import base64
from collections.abc import Iterator
from typing import Any

import ldap
import pytest

from storage.testing import USER, stored
from tests.openldap import LdapServer
from tests.storage.ldap.conftest import Place, make_place

# The attribute and the class by the names and numbers that OpenSSH look-ups expect.
_SCHEMA = """
attributetype ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'sshPublicKey'
\tEQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )

objectclass ( 1.3.6.1.4.1.24552.500.1.1.2.0 NAME 'ldapPublicKey' SUP top AUXILIARY
\tMUST sshPublicKey MAY uid )
"""
FIRST = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst a@example.org"
SECOND = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYSecond b@example.org"
CERTIFICATE = base64.b64encode(b"0\x82\x01\x01not a key").decode()


@pytest.fixture(scope="module", params=[True, False], ids=["schema", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[LdapServer]:
    server = LdapServer(with_schema=request.param, schema=_SCHEMA)
    yield server
    server.remove()


@pytest.fixture
def place(server: LdapServer) -> Iterator[Place]:
    place = make_place(server)
    yield place
    place.adapter.close()


def encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def user(*values: str, **attributes: Any) -> Any:
    if values:
        attributes["x509Certificates"] = [{"value": value} for value in values]
    return stored("1", userName="a", **attributes)


def keys(place: Place) -> list[str]:
    entry = place.entry("(uid=a)")
    has_class = b"ldapPublicKey" in entry["objectClass"]
    assert has_class == ("sshPublicKey" in entry)
    return [key.decode() for key in entry.get("sshPublicKey", ())]


def test_keys_are_found_where_ssh_looks_for_them(place: Place) -> None:
    resource = user(encoded(FIRST + "\n"), CERTIFICATE, encoded(SECOND))

    place.adapter.create(USER, resource)

    assert keys(place) == [FIRST, SECOND]
    assert place.adapter.get(USER, "1").document == resource.document


def test_keys_come_and_go(place: Place) -> None:
    place.adapter.create(USER, user())
    assert keys(place) == []

    place.adapter.replace(USER, user(encoded(FIRST)))
    assert keys(place) == [FIRST]
    place.adapter.replace(USER, user(encoded(SECOND), CERTIFICATE))
    assert keys(place) == [SECOND]
    place.adapter.replace(USER, user(CERTIFICATE))
    assert keys(place) == []


def test_a_key_that_an_administrator_changes_is_seen(place: Place) -> None:
    place.adapter.create(USER, user(encoded(FIRST), CERTIFICATE))
    dn = place.entry("(uid=a)", "1.1")["dn"][0]

    place.change(dn, (ldap.MOD_REPLACE, "sshPublicKey", [SECOND.encode()]))

    found = place.adapter.get(USER, "1").document["x509Certificates"]
    assert found == [{"value": CERTIFICATE}, {"value": encoded(SECOND)}]
    place.adapter.replace(USER, user(CERTIFICATE, encoded(SECOND), title="t"))
    assert keys(place) == [SECOND]
