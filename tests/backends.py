"""Adapters for tests, by the name of their backend and its settings."""

from typing import Any

from storage.adapter import StorageAdapter
from storage.measured import Measured
from storage.registry import open_storage, options_of


def open_backend(name: str, **settings: Any) -> StorageAdapter:
    """Return the adapter of a backend with some settings, called as their variables in lower case."""
    return open_storage(name, options_of(name)(**settings))


def measured_of(adapter: StorageAdapter) -> StorageAdapter:
    """Return the adapter whose calls an application counts: its own, for tests of what is inside."""
    assert isinstance(adapter, Measured)
    return adapter._adapter
