"""Flat files, for the tests of every folder."""

from pathlib import Path

import pytest

BACKENDS = ("files",)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The variables that choose an empty folder."""
    return {"DATA_PATH": str(tmp_path / "files")}
