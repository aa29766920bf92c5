"""Adapters on OpenLDAP: with the schema that we ship, without it, and where changes have no number."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import ldap
import pytest

from storage.ldap.adapter import LdapAdapter
from storage.ldap.server import ServerCapabilities, Target
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

    def another(self) -> Any:
        """Return a second adapter on the same base, as another process has it."""
        adapter = open_backend("ldap", **self.server.options(self.base))
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


def open_counting(server: LdapServer, base: str) -> LdapAdapter:
    """Return an adapter that uses no control for its versions."""
    target = Target(server.url, ADMIN, PASSWORD)
    return LdapAdapter(target, base, {}, 10, uncounted)


@pytest.fixture(params=["schema", "plain", "schema-counting", "plain-counting"])
def place(request: pytest.FixtureRequest, ldap: LdapServer, plain_ldap: LdapServer) -> Iterator[Place]:
    server = ldap if request.param.startswith("schema") else plain_ldap
    place = make_place(server, request.param.endswith("counting"))
    yield place
    place.adapter.close()


def make_place(server: LdapServer, counting: bool = False) -> Place:
    base = server.new_database()
    opened: Callable[[], Any] = lambda: open_backend("ldap", **server.options(base))
    adapter = open_counting(server, base) if counting else opened()
    adapter.prepare(REGISTRY.resource_types)
    return Place(server, base, adapter)
