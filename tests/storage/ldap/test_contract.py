"""The storage contract over OpenLDAP, with the schema that we ship and without."""

from collections.abc import Iterator

import ldap as ldap_client
import pytest

from storage.adapter import StorageAdapter
from storage.testing import REGISTRY, StorageContract
from tests.backends import open_backend
from tests.openldap import LdapServer


class Store:
    """An adapter on one base of a server, which can be emptied."""

    def __init__(self, server: LdapServer) -> None:
        self.server = server
        self.base = server.new_database()
        self.adapter = open_backend("ldap", **server.options(self.base))
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
def guarded_store(guarded_ldap: LdapServer) -> Iterator[Store]:
    store = Store(guarded_ldap)
    yield store
    store.adapter.close()


@pytest.fixture(scope="module")
def plain_store(plain_ldap: LdapServer) -> Iterator[Store]:
    store = Store(plain_ldap)
    yield store
    store.adapter.close()


class LdapContract(StorageContract):
    """For entries that an administrator has changed."""

    server: LdapServer

    def plant(self, adapter: StorageAdapter) -> None:
        unit = adapter._tree.units["Group"]  # type: ignore[attr-defined]
        name, data = unit.name_of("twin"), unit.layout.data
        connection = self.server.connect()
        connection.rename_s(unit.name_of("other"), name.partition(",")[0])
        [(_, values)] = connection.search_s(name, ldap_client.SCOPE_BASE, attrlist=[data])
        changed = [value.replace(b'"id":"other"', b'"id":"twin"') for value in values[data]]
        connection.modify_s(name, [(ldap_client.MOD_REPLACE, data, changed)])
        connection.unbind_s()


class TestLdap(LdapContract):
    @pytest.fixture(autouse=True)
    def directory(self, store: Store) -> None:
        self.server = store.server

    @pytest.fixture
    def adapter(self, store: Store) -> StorageAdapter:
        return store.emptied()


class TestGuardedLdap(LdapContract):
    @pytest.fixture(autouse=True)
    def directory(self, guarded_store: Store) -> None:
        self.server = guarded_store.server

    @pytest.fixture
    def adapter(self, guarded_store: Store) -> StorageAdapter:
        return guarded_store.emptied()


class TestLdapWithoutSchema(LdapContract):
    @pytest.fixture(autouse=True)
    def directory(self, plain_store: Store) -> None:
        self.server = plain_store.server

    @pytest.fixture
    def adapter(self, plain_store: Store) -> StorageAdapter:
        return plain_store.emptied()
