"""The storage contract over iRODS; `tests.storage.irods` has what only this backend does."""

from collections.abc import Iterator

import pytest

from storage.adapter import StorageAdapter
from tests.fake_irods import FakeIrodsServer
from tests.storage.contract import StorageContract, TwinContract
from tests.storage.irods.store import Store
from tests.storage.own_ids import OwnIds


@pytest.fixture(scope="module")
def contract_store(irods: FakeIrodsServer) -> Iterator[Store]:
    store = Store(irods)
    yield store
    store.adapter.close()


class TestIrods(StorageContract, TwinContract):
    @pytest.fixture
    def twins(self) -> StorageAdapter:
        pytest.skip("iRODS gives a number to one account only, whatever its type")

    @pytest.fixture
    def adapter(self, contract_store: Store) -> StorageAdapter:
        contract_store.empty()
        return OwnIds(contract_store.adapter)
