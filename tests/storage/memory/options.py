"""The settings of a backend in memory: there is nothing to choose but a name."""

from dataclasses import dataclass
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, setting


@dataclass(frozen=True)
class Options(StorageOptions):
    """Memory"""

    contract_version: ClassVar[int] = 1
    address: ClassVar[str] = "memory_name"

    memory_name: str = setting("", types.text, "The name of what is in memory, for the log.")
