"""The least that a backend can be: all else is done by `storage.complete` and `storage.search`."""

from pathlib import Path

import pytest

from tests.plugged import plug

BACKENDS = ("lines",)


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that choose an empty file."""
    plugged = plug(monkeypatch.setattr, "tests.storage.lines", path=f"{tmp_path}/scim.jsonl")
    return {"STATE_DATABASE_URL": f"sqlite:///{tmp_path}/state.db", **plugged}
