"""The example: all that it lacks is done by `storage.complete` and `storage.search`."""

from pathlib import Path

import pytest

from tests.distributions import example_at

BACKENDS = ("lines",)


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that choose an empty file."""
    found = example_at(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    chosen = {"STORAGE": "json_lines", "JSON_LINES_PATH": f"{tmp_path}/scim.jsonl"}
    return {"STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db", **chosen, **found}
