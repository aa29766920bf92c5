"""Looking things up without reading files: filters, members, and what a change costs."""

from pathlib import Path

import pytest

from storage.adapter import Member, StorageAdapter
from storage.files.folders import Folders
from storage.index.database import Database
from storage.testing import GROUP, USER, change_members, stored
from tests.storage.files.conftest import Open, ids, write, written

NATIVE = [
    'userName eq "U7"',
    'emails.value eq "U7@X.example"',
    'externalId eq "e7"',
    'userName sw "u7" and emails[type eq "work" and value pr]',
    'userName eq "u7" or id eq "nobody"',
]


@pytest.mark.parametrize("text", NATIVE)
def test_common_filters_read_neither_files_nor_other_documents(
    adapter: StorageAdapter, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    for number in range(9):
        emails = [{"value": f"u{number}@x.example", "type": "work"}]
        external_id = f"e{number}"
        user = stored(str(number), userName=f"u{number}", externalId=external_id, emails=emails)
        adapter.create(USER, user)
    assert ids(adapter, text) == ["7"]

    def refused(*_: object) -> None:
        raise AssertionError("every candidate is read")

    monkeypatch.setattr("storage.index.pages.Pages.every", refused)
    monkeypatch.setattr(Folders, "read", refused)
    monkeypatch.setattr(Folders, "listing", refused)

    assert ids(adapter, text) == ["7"]


@pytest.mark.parametrize("others", [10, 1000])
def test_one_member_more_is_one_row_more_in_a_group_of_any_size(
    adapter: StorageAdapter, folder: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    adapter.create_many(USER, [stored(f"{n}", userName=f"u{n}") for n in range(others + 1)])
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member(f"{n}", "User") for n in range(others)], ())
    changed: list[int] = []
    run = Database.run

    def counted(database: Database, statement: str, params: tuple[object, ...] = ()) -> object:
        cursor = run(database, statement, params)
        changed.append(max(0, cursor.rowcount))
        return cursor

    monkeypatch.setattr(Database, "run", counted)

    assert change_members(adapter, "g", [Member(str(others), "User")], ())

    assert sum(changed) <= 3
    assert len(written(folder / "Groups" / "g")["members"]) == others + 1


def test_a_password_in_readable_form_is_not_shown_and_goes_with_the_next_change(
    folder: Path, opened: Open
) -> None:
    write(folder / "Users" / "1", userName="a", password="in clear", nickName="n")
    adapter = opened(folder)

    found = adapter.get(USER, "1")
    assert "in clear" not in found.text and found.secrets == {}
    assert all(b"in clear" not in path.read_bytes() for path in folder.glob(".index-*"))
    adapter.replace(USER, found)

    assert "password" not in written(folder / "Users" / "1")
    assert written(folder / "Users" / "1")["nickName"] == "n"


def test_what_no_schema_has_stays_in_the_file(folder: Path, opened: Open) -> None:
    write(folder / "Users" / "1", userName="a", **{"x:custom": {"deep": [1, None, "\u00e9"]}})
    adapter = opened(folder)

    adapter.replace(USER, adapter.get(USER, "1"))

    assert written(folder / "Users" / "1")["x:custom"] == {"deep": [1, None, "\u00e9"]}
