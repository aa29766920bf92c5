"""From settings to the adapter in memory."""

from tests.storage.memory import MemoryAdapter
from tests.storage.memory.options import Options


def open_adapter(options: Options) -> MemoryAdapter:
    """Return an adapter without any resource."""
    return MemoryAdapter()
