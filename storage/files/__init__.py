"""Resources in flat files: one JSON file each, with an index beside them."""

from collections.abc import Mapping
from pathlib import Path

from storage.files.adapter import FilesAdapter


def open_adapter(
    path: Path,
    folders: Mapping[str, str],
    indexed: frozenset[str] | None = None,
    synchronous: str = "FULL",
) -> FilesAdapter:
    """Return an adapter on the folder `path`, without touching it.

    `folders` maps names of resource types to folders; others are called as the endpoint. `indexed`
    holds the paths to index, None is for all. `synchronous` FULL keeps an acknowledged write through
    a power failure.
    """
    return FilesAdapter(Path(path).absolute(), folders, indexed, durable=synchronous == "FULL")
