"""Adapters on OpenLDAP: with the schema that we ship, without it, and where changes have no number."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import ldap
import pytest

from storage.foreign_entries import ForeignEntries
from storage.hashing import Hasher
from storage.ldap.adapter import LdapAdapter
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.server import Target
from storage.shared_options import Hashing
from storage.testing import REGISTRY
from tests.backends import open_backend
from tests.openldap import ADMIN, PASSWORD, LdapServer

# The options of a server that sorts.
SORTING: Mapping[str, Any] = MappingProxyType({"modules": ["sssvlv"], "directives": ["overlay sssvlv"]})


@dataclass
class Place:
    """A base of a server and an adapter on it."""

    server: LdapServer
    base: str
    adapter: Any

    def another(self, foreign_entries: str = "managed") -> Any:
        """Return a second adapter on the same base, as another process has it."""
        options = {**self.server.options(self.base), "foreign_entries": foreign_entries}
        adapter = open_backend("ldap", **options)
        adapter.prepare(REGISTRY.resource_types)
        return adapter

    def entry(self, text: str, *attributes: str) -> dict[str, list[bytes]]:
        """Return the one entry that an LDAP client finds by a filter."""
        connection = self.server.connect()
        [(dn, values)] = connection.search_s(
            self.base, ldap.SCOPE_SUBTREE, text, list(attributes) or ["*", "+"]
        )
        connection.unbind_s()
        return {"dn": [dn.encode()], **values}

    def change(self, dn: bytes, *modifications: tuple[int, str, Any]) -> None:
        """Change an entry as an administrator does."""
        connection = self.server.connect()
        connection.modify_s(dn.decode(), list(modifications))
        connection.unbind_s()

    def add(self, rdn: str, **attributes: Any) -> None:
        """Add an entry below the base as another program does."""
        connection = self.server.connect()
        connection.add_s(f"{rdn},{self.base}", list(attributes.items()))
        connection.unbind_s()


@pytest.fixture(scope="session")
def plain_ldap() -> Iterator[LdapServer]:
    server = LdapServer(with_schema=False)
    yield server
    server.remove()


Start = Callable[..., LdapServer]


@pytest.fixture
def start_server() -> Iterator[Start]:
    """Start servers of a test's own; all end with it."""
    servers: list[LdapServer] = []

    def start(**options: Any) -> LdapServer:
        servers.append(LdapServer(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.remove()


def uncounted(server: ServerCapabilities) -> ServerCapabilities:
    """Return what a server offers that has neither assertion nor post-read controls."""
    without = {ldap.CONTROL_ASSERT, ldap.CONTROL_POST_READ}
    return replace(server, controls=server.controls - without)


def open_restricted(
    server: LdapServer, base: str, restrict: Callable[[ServerCapabilities], ServerCapabilities]
) -> LdapAdapter:
    """Return an adapter that uses what `restrict` leaves of the abilities of a server."""
    target = Target(server.url, ADMIN, PASSWORD)
    adapter = LdapAdapter(
        target,
        base,
        {},
        10,
        restrict,
        foreign_entries=ForeignEntries("managed"),
        hasher=Hasher(Hashing()),
    )
    adapter.prepare(REGISTRY.resource_types)
    return adapter


@pytest.fixture(params=["schema", "plain", "schema-counting", "plain-counting", "guarded"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    servers = {"schema": "ldap", "plain": "plain_ldap", "guarded": "guarded_ldap"}
    server = request.getfixturevalue(servers[request.param.partition("-")[0]])
    place = make_place(server, request.param.endswith("counting"))
    yield place
    place.adapter.close()


def make_place(server: LdapServer, counting: bool = False) -> Place:
    base = server.new_database()
    options = {**server.options(base), "foreign_entries": "managed"}
    if counting:
        return Place(server, base, open_restricted(server, base, uncounted))
    adapter = open_backend("ldap", **options)
    adapter.prepare(REGISTRY.resource_types)
    return Place(server, base, adapter)
