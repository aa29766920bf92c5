"""The known backends by name; an adapter and its driver are imported when it is chosen."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from storage.adapter import StorageAdapter

# Each module has `open_adapter(**options)`, which does no I/O.
ADAPTERS: Final[Mapping[str, str]] = {
    "sql": "storage.sql",
    "files": "storage.files",
    "mongo": "storage.mongo",
    "ldap": "storage.ldap",
    "jumpcloud": "storage.jumpcloud",
    "forward": "storage.forward",
    "irods": "storage.irods",
}


def open_storage(name: str, options: Mapping[str, Any]) -> StorageAdapter:
    """Return the adapter called `name`, made from its own `options`.

    Raises KeyError for a name that is not in ADAPTERS, TypeError for options it does not have.
    """
    adapter: StorageAdapter = import_module(ADAPTERS[name]).open_adapter(**options)
    return adapter
