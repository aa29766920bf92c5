"""The installed backends, found by the entry-point group `scim.storage`.

The name of an entry point is the name of the backend, its value a package with two modules: `options` has
the class `Options`, and is imported without the driver; `opening` has `open_adapter(options)`, which does no
I/O, and is imported when the backend is chosen.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
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
    own = {name: _declared(point) for name, point in _installed().items() if _is_ours(point)}
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
    opening = import_module(f"{_installed()[name].value}.opening")
    adapter: StorageAdapter = opening.open_adapter(options)
    return adapter


def _installed() -> Mapping[str, EntryPoint]:
    """Return the entry point of each backend by its lower-case name. No other package can take our names."""
    return {point.name.lower(): point for point in sorted(entry_points(group=_GROUP), key=_is_ours)}


def _is_ours(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == _OURS


def _declared(point: EntryPoint) -> type[StorageOptions]:
    try:
        options: type[StorageOptions] = import_module(f"{point.value}.options").Options
    except (ImportError, AttributeError) as exc:
        raise ValueError(f"the backend {point.name} cannot be used: {exc}") from exc
    if not issubclass(options, StorageOptions) or not hasattr(options, "address"):
        raise ValueError(f"the backend {point.name} cannot be used: its Options have no address")
    version = CONTRACT_VERSION if _is_ours(point) else options.contract_version
    if version != CONTRACT_VERSION:
        raise ValueError(
            f"the backend {point.name} cannot be used: it is written for version {version} of the contract,"
            f" and this server has version {CONTRACT_VERSION}"
        )
    return options
