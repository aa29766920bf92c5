"""The storage contract over iRODS; `tests.storage.irods` has what only this backend does."""

from collections.abc import Iterator

import pytest

from storage.adapter import StorageAdapter
from storage.testing import StorageContract
from storage.testing.own_ids import OwnIds
from tests.fake_irods import FakeIrodsServer
from tests.storage.irods.store import Store


@pytest.fixture(scope="module")
def contract_store(irods: FakeIrodsServer) -> Iterator[Store]:
    store = Store(irods)
    yield store
    store.adapter.close()


class TestIrods(StorageContract):
    @pytest.fixture
    def adapter(self, contract_store: Store) -> StorageAdapter:
        contract_store.empty()
        return OwnIds(contract_store.adapter)
