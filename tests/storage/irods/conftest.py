"""One zone for a module; empty at the beginning of each test."""

from collections.abc import Iterator

import pytest

import storage.irods.purge
from storage.adapter import StorageAdapter
from tests.fake_irods import FakeIrodsServer
from tests.storage.irods.store import Store


@pytest.fixture(scope="module")
def module_store(irods: FakeIrodsServer) -> Iterator[Store]:
    store = Store(irods)
    yield store
    store.adapter.close()


@pytest.fixture(scope="module", autouse=True)
def no_purge_by_time() -> Iterator[None]:
    """Let no purge of another test come in between: each one is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage.irods.purge, "PURGE_AFTER_S", 3600.0)
        yield


@pytest.fixture
def store(module_store: Store) -> Store:
    module_store.empty()
    return module_store


@pytest.fixture
def adapter(store: Store) -> StorageAdapter:
    return store.adapter


@pytest.fixture
def hasty(store: Store) -> StorageAdapter:
    """An adapter that waits for a short time, with one connection."""
    return store.open(remote_timeout=0.8, remote_pool_size=1)
