"""The storage contract over OpenLDAP, with the schema that we ship and without."""

from collections.abc import Iterator

import pytest

from storage.adapter import StorageAdapter
from storage.registry import open_storage
from tests.openldap import LdapServer
from tests.storage.contract import REGISTRY, StorageContract


@pytest.fixture(scope="module")
def without_schema() -> Iterator[LdapServer]:
    server = LdapServer(with_schema=False)
    yield server
    server.remove()


class Store:
    """An adapter on one base of a server, which can be emptied."""

    def __init__(self, server: LdapServer) -> None:
        self.server = server
        self.base = server.new_database()
        self.adapter = open_storage("ldap", server.options(self.base))
        self.adapter.prepare(REGISTRY.resource_types)

    def emptied(self) -> StorageAdapter:
        """Return the adapter, with nothing in its units."""
        self.server.empty(self.base)
        return self.adapter


@pytest.fixture(scope="module")
def store(ldap: LdapServer) -> Iterator[Store]:
    store = Store(ldap)
    yield store
    store.adapter.close()


@pytest.fixture(scope="module")
def plain_store(without_schema: LdapServer) -> Iterator[Store]:
    store = Store(without_schema)
    yield store
    store.adapter.close()


class TestLdap(StorageContract):
    @pytest.fixture
    def adapter(self, store: Store) -> StorageAdapter:
        return store.emptied()


class TestLdapWithoutSchema(StorageContract):
    @pytest.fixture
    def adapter(self, plain_store: Store) -> StorageAdapter:
        return plain_store.emptied()
