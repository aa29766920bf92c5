"""A folder of definition files for each test."""

import json
from pathlib import Path
from typing import Any

import pytest

from schema.registry import Registry, load_registry
from tests.schema.files import Load


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """A function that loads files, given by path: text, or what is to be written as JSON."""

    def loaded(files: dict[str, Any]) -> Registry:
        (tmp_path / "core").mkdir(exist_ok=True)
        for name, content in files.items():
            source = tmp_path / name
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_registry(tmp_path)

    return loaded
