"""Processes with other definitions or INDEXED_ATTRIBUTES on one folder: each has an index of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.adapter import StorageAdapter
from storage.errors import UniquenessConflict
from storage.testing import USER, stored
from storage.testing.resources import ids_matching
from tests.backends import open_backend
from tests.storage.other_settings import BEFORE, FREE, OTHERS, TITLE, Settings

OpenWith = Callable[[Settings], StorageAdapter]


@pytest.fixture
def opened_with(tmp_path: Path) -> Iterator[OpenWith]:
    """Return a function that opens the folder with some settings, as a process does at its start."""
    adapters = []

    def start(settings: Settings) -> StorageAdapter:
        adapter = open_backend("files", data_path=tmp_path / "data", indexed_attributes=settings[1])
        adapter.prepare(settings[0])
        adapters.append(adapter)
        return adapter

    yield start
    for adapter in adapters:
        adapter.close()


@pytest.mark.parametrize("is_old_first", [True, False])
@pytest.mark.parametrize("other", OTHERS)
def test_each_process_finds_by_its_own_settings_what_the_others_write(
    opened_with: OpenWith, other: str, is_old_first: bool
) -> None:
    if is_old_first:
        old = opened_with(BEFORE)
    user = OTHERS[other][0][0]
    new = opened_with(OTHERS[other])
    new.create(user, stored("one", userName="One", nickName="N", title="T"))
    if not is_old_first:
        old = opened_with(BEFORE)
    old.create(USER, stored("two", userName="Two", nickName="N", title="T", externalId="e"))
    old.replace(USER, stored("one", userName="Uno", nickName="M", title="T"))
    new.create(user, stored("three", userName="Three", nickName="N"))

    for adapter, of_type in ((old, USER), (new, user)):
        assert ids_matching(adapter, of_type, 'nickName eq "n"') == ["two", "three"]
        assert ids_matching(adapter, of_type, 'userName eq "Uno" or title eq "t"') == ["one", "two"]
        assert ids_matching(adapter, of_type, 'userName eq "One"') == []
    is_exact = other == "other caseExact"
    assert ids_matching(new, user, 'userName eq "TWO"') == ([] if is_exact else ["two"])
    with pytest.raises(UniquenessConflict):
        old.create(USER, stored("four", userName="THREE"))
    with pytest.raises(UniquenessConflict):
        new.create(user, stored("four", userName="Two"))
    old.delete(USER, "two")
    assert new.create(user, stored("four", userName="Two", externalId="e")).document["userName"] == "Two"


def test_a_value_that_is_free_to_one_process_is_refused_by_the_other(opened_with: OpenWith) -> None:
    free = opened_with((FREE, TITLE))
    strict = opened_with(BEFORE)
    free.create(FREE[0], stored("one", userName="one", externalId="e"))

    free.create(FREE[0], stored("two", userName="two", externalId="e"))

    with pytest.raises(UniquenessConflict):
        strict.create(USER, stored("three", userName="three", externalId="e"))
    assert ids_matching(strict, USER, 'externalId eq "e"') == ["one", "two"]


def test_indexes_of_other_settings_and_releases_are_removed_at_a_start(
    opened_with: OpenWith, tmp_path: Path
) -> None:
    opened_with(OTHERS["more indexed"]).close()
    left = [*(tmp_path / "data").glob(".index-*")]
    earlier = tmp_path / "data" / ".index-1700000000000000000.db"
    earlier.write_bytes(b"an index of release 0.2.0")

    opened_with(BEFORE)

    assert left and not any(path.exists() for path in (*left, earlier))
    assert len([*(tmp_path / "data").glob(".index-*.sqlite")]) == 1
