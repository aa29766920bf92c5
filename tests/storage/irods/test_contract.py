"""The storage contract over iRODS; the other modules have what only this backend does."""

import pytest

from storage.adapter import StorageAdapter
from storage.testing import StorageContract
from storage.testing.own_ids import OwnIds
from tests.storage.irods.store import Store


class TestIrods(StorageContract):
    @pytest.fixture
    def adapter(self, store: Store) -> StorageAdapter:
        return OwnIds(store.open(foreign_entries="hidden"))
