"""From settings to the adapter of flat files."""

from storage.files.adapter import FilesAdapter
from storage.files.options import Options


def open_adapter(options: Options) -> FilesAdapter:
    """Return an adapter on the folder of the options, without touching it. Raises ValueError without one."""
    if options.data_path is None:
        raise ValueError("DATA_PATH is not set")
    folder = options.data_path.absolute()
    durable = options.sqlite_synchronous == "FULL"
    return FilesAdapter(folder, options.table_names, options.indexed_attributes, durable=durable)
