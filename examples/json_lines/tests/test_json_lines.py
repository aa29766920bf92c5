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


@pytest.fixture
def lines(tmp_path: Path) -> JsonLinesAdapter:
    return open_adapter(Options(json_lines_path=tmp_path / "scim.jsonl"))


@pytest.fixture
def adapter(lines: JsonLinesAdapter) -> Iterator[StorageAdapter]:
    adapter = ready(lines)
    yield adapter
    adapter.close()


class TestJsonLines(StorageContract):
    @pytest.fixture
    def twins(self, lines: JsonLinesAdapter, adapter: StorageAdapter) -> StorageAdapter:
        # The adapter itself compares no ids across types, so that it writes as another program could.
        lines.create(USER, stored("twin", userName="ann", displayName="Ann"))
        lines.create(GROUP, stored("twin", displayName="Crew"))
        adapter.create(GROUP, stored("g", displayName="G"))
        return adapter


def names(adapter: StorageAdapter) -> list[str]:
    return [one.document["userName"] for one in adapter.scan(USER)]


@pytest.mark.parametrize("cut", [1, 2, 40], ids=["without its end", "without a brace", "half"])
def test_a_line_that_was_cut_has_no_effect(
    lines: JsonLinesAdapter, adapter: StorageAdapter, tmp_path: Path, cut: int
) -> None:
    adapter.create(USER, stored("1", userName="a"))
    before = (tmp_path / "scim.jsonl").read_bytes()
    adapter.create(USER, stored("2", userName="b"))
    written = (tmp_path / "scim.jsonl").read_bytes()
    (tmp_path / "scim.jsonl").write_bytes(written[:-cut])
    new = ready(open_adapter(Options(json_lines_path=tmp_path / "scim.jsonl")))

    assert written.startswith(before) and names(new) == ["a"]
    new.create(USER, stored("3", userName="b"))

    for reader in (new, ready(open_adapter(Options(json_lines_path=tmp_path / "scim.jsonl")))):
        assert names(reader) == ["a", "b"]
        assert reader.get(USER, "3").version == "3"


def test_a_file_that_is_gone_is_unavailable_and_never_made_anew(
    adapter: StorageAdapter, tmp_path: Path
) -> None:
    (tmp_path / "scim.jsonl").unlink()

    for call in (adapter.check, lambda: adapter.create(USER, stored("1", userName="a"))):
        with pytest.raises(StorageUnavailable):
            call()
    assert not (tmp_path / "scim.jsonl").exists()
