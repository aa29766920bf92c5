"""The installed backends, found by the entry-point group `scim.storage`.

The name of an entry point is the name of the backend, its value a package with two modules: `options` has
the class `Options`, and is imported without the driver; `opening` has `open_adapter(options)`, which does no
I/O, and is imported when the backend is chosen.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Final

from storage.adapter import CONTRACT_VERSION, StorageAdapter
from storage.options import StorageOptions

_GROUP: Final = "scim.storage"
_OURS: Final = "scim-gateway"


class NotInstalled(Exception):
    """The packages of the server are not installed: nothing registers a backend."""


def own_backends() -> Mapping[str, type[StorageOptions]]:
    """Return the settings of each backend that comes with the server, in the order of their precedence.

    Raises NotInstalled where there is none.
    """
    own = {name: _declared(one) for name, one in _installed().items() if one.is_own}
    if not own:
        raise NotInstalled("no storage backend is installed: install this version of the server with pip")
    return dict(sorted(own.items(), key=lambda item: item[1].precedence))


def backend_name(value: str) -> str:
    """the name of an installed backend, in any case"""
    name, installed = value.strip().lower(), _installed()
    if name not in installed:
        raise ValueError(f"must be one of {', '.join(sorted(installed))}")
    return name


def options_of(name: str) -> type[StorageOptions]:
    """Return the class that declares the settings of a backend, without importing its driver.

    Raises KeyError for a name that is not installed, ValueError for a package that declares no settings.
    """
    return _declared(_installed()[name])


def open_storage(name: str, options: StorageOptions) -> StorageAdapter:
    """Return the adapter of a backend. Its driver is imported here.

    Raises KeyError for a name that is not installed, ImportError for a driver that is not, and ValueError for
    options that cannot be used.
    """
    opening = import_module(f"{_installed()[name].package}.opening")
    adapter: StorageAdapter = opening.open_adapter(options)
    return adapter


@dataclass(frozen=True)
class _Installed:
    """A backend, and whether it comes with the server."""

    name: str
    package: str
    is_own: bool


def _installed() -> Mapping[str, _Installed]:
    """Return each backend by its lower-case name. No other package can take our names."""
    return _found(tuple(sys.path))


@cache
def _found(search_path: tuple[str, ...]) -> Mapping[str, _Installed]:
    # Finding them takes as long as half of the rest of the start: it reads the metadata of every package.
    found = [
        _Installed(point.name, point.value, point.dist is not None and point.dist.name == _OURS)
        for point in entry_points(group=_GROUP)
    ]
    return {one.name.lower(): one for one in sorted(found, key=attrgetter("is_own"))}


def _declared(backend: _Installed) -> type[StorageOptions]:
    try:
        options: type[StorageOptions] = import_module(f"{backend.package}.options").Options
    except (ImportError, AttributeError) as exc:
        raise ValueError(f"the backend {backend.name} cannot be used: {exc}") from exc
    if not issubclass(options, StorageOptions) or not hasattr(options, "address"):
        raise ValueError(f"the backend {backend.name} cannot be used: its Options have no address")
    version = CONTRACT_VERSION if backend.is_own else options.contract_version
    if version != CONTRACT_VERSION:
        raise ValueError(
            f"the backend {backend.name} cannot be used: it is written for version {version} of the contract,"
            f" and this server has version {CONTRACT_VERSION}"
        )
    return options
