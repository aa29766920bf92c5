"""The settings of flat files."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from storage import option_types as types
from storage.options import StorageOptions, setting
from storage.shared_options import Indexes, Names, SqliteFiles


@dataclass(frozen=True)
class Options(Names, Indexes, SqliteFiles, StorageOptions):
    """Flat files"""

    address: ClassVar[str] = "data_path"
    precedence: ClassVar[int] = 7

    data_path: Path | None = setting(
        None,
        types.folder,
        "The folder in which each resource is a JSON file.",
        "The setting selects this backend.",
    )

    @property
    def state_url(self) -> str | None:
        return f"sqlite:///{quote(str(self.data_path / '.state.db'))}" if self.data_path else None
