"""Flat files: the contract, and what files and their index go through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.adapter import StorageAdapter
from storage.registry import open_storage
from tests.storage.contract import REGISTRY, StorageContract, TransactionContract


class TestFiles(StorageContract, TransactionContract):
    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[StorageAdapter]:
        adapter = open_storage("files", {"path": tmp_path / "data", "folders": {}})
        adapter.prepare(REGISTRY.resource_types)
        yield adapter
        adapter.close()
