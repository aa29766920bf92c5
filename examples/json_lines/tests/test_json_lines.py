"""The contract of the storage on a file of JSON lines, and the promises of the file itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from json_lines.adapter import JsonLinesAdapter
from json_lines.opening import open_adapter
from json_lines.options import Options
from storage.adapter import StorageAdapter
from storage.errors import StorageUnavailable
from storage.testing import GROUP, USER, StorageContract, ready, stored


def opened(folder: Path) -> JsonLinesAdapter:
    return open_adapter(Options(json_lines_path=folder / "scim.jsonl"))


class TestJsonLines(StorageContract):
    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Iterator[StorageAdapter]:
        self.lines = opened(tmp_path)
        adapter = ready(self.lines)
        yield adapter
        adapter.close()

    def plant(self, adapter: StorageAdapter) -> None:
        # Without what `ready` adds, no id is compared with those of other types.
        self.lines.delete(GROUP, "other")
        self.lines.create(GROUP, stored("twin", displayName="Crew"))


def names(adapter: StorageAdapter) -> list[str]:
    return [one.document["userName"] for one in adapter.scan(USER)]


@pytest.mark.parametrize("cut", [1, 2, 40], ids=["without its end", "without a brace", "half"])
def test_a_line_that_was_cut_has_no_effect(tmp_path: Path, cut: int) -> None:
    first = ready(opened(tmp_path))
    first.create(USER, stored("1", userName="a"))
    first.create(USER, stored("2", userName="b"))
    written = (tmp_path / "scim.jsonl").read_bytes()
    (tmp_path / "scim.jsonl").write_bytes(written[:-cut])
    second = ready(opened(tmp_path))

    assert names(second) == ["a"]
    second.create(USER, stored("3", userName="b"))

    for reader in (second, ready(opened(tmp_path))):
        assert names(reader) == ["a", "b"]


def test_a_file_that_is_gone_is_unavailable_and_never_made_anew(tmp_path: Path) -> None:
    adapter = ready(opened(tmp_path))
    (tmp_path / "scim.jsonl").unlink()

    for call in (adapter.check, lambda: adapter.create(USER, stored("1", userName="a"))):
        with pytest.raises(StorageUnavailable):
            call()
    assert not (tmp_path / "scim.jsonl").exists()
