"""Flat files: the contract, and what files and their index go through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.adapter import StorageAdapter
from storage.testing import GROUP, REGISTRY, StorageContract, stored
from storage.testing.differential import DifferentialContract
from tests.backends import open_backend
from tests.storage.other_settings import ALL


class TestFiles(StorageContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.groups = tmp_path / "data" / "Groups"

    def plant(self, adapter: StorageAdapter) -> None:
        (self.groups / "other").unlink()
        (self.groups / "twin").write_text(stored("twin", displayName="Crew").text)
        # A request for one id compares the file with the index.
        adapter.get(GROUP, "twin")

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[StorageAdapter]:
        adapter = open_backend("files", data_path=tmp_path / "data", indexed_attributes=ALL)
        adapter.prepare(REGISTRY.resource_types)
        yield adapter
        adapter.close()


class TestByDefault(DifferentialContract):
    """Random selections, most of which name attributes without an index."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[StorageAdapter]:
        adapter = open_backend("files", data_path=tmp_path / "data")
        adapter.prepare(REGISTRY.resource_types)
        yield adapter
        adapter.close()
