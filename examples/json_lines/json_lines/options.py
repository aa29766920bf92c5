"""The settings of the backend. The server reads them before it imports the adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from storage import option_types as types
from storage.options import StorageOptions, setting


@dataclass(frozen=True)
class Options(StorageOptions):
    """JSON lines"""

    contract_version: ClassVar[int] = 1
    address: ClassVar[str] = "json_lines_path"

    json_lines_path: Path | None = setting(None, types.folder, "The file that holds all resources.")
