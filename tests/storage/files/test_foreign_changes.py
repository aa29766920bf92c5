"""Files that other programs write, change, break and remove, before the start and while it runs."""

import logging
import os
import sqlite3
import time
from pathlib import Path

import orjson
import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import ResourceNotFound, UniquenessConflict, VersionMismatch
from storage.testing import (
    GROUP,
    USER,
    change_members,
    found_by_id,
    members_of,
    memberships_of,
    stored,
)
from tests.storage.files.conftest import Open, ids, write, written

REFERENCE_USER = {
    "userName": "hkodden5",
    "active": True,
    "externalId": "44cb3ba1@sram.surf.nl",
    "name": {"familyName": "Kodden", "givenName": "Harry"},
    "emails": [{"primary": True, "value": "harry.kodden@surf.nl"}],
    "meta": {
        "resourceType": "User",
        "location": "/Users/u1",
        "lastModified": "2024-05-01T10:00:00.123456",
        "version": 'W/"ab12"',
    },
}
REFERENCE_GROUP = {
    "id": "g1",
    "displayName": "Staff",
    "members": [{"value": "u1", "display": "Harry Kodden", "$ref": "/Users/u1"}, {"value": "gone"}],
}


def wait_for(path: Path) -> None:
    """Let so much time pass that a change of the file has another time stamp."""
    while time.time_ns() - path.stat().st_ctime_ns < 60_000_000:
        time.sleep(0.01)


def test_files_of_the_reference_are_read_as_they_are(folder: Path, opened: Open) -> None:
    write(folder / "Users" / "u1", **REFERENCE_USER)
    write(folder / "Groups" / "g1", **REFERENCE_GROUP)
    before = (folder / "Users" / "u1").read_bytes()

    adapter = opened(folder)

    user = adapter.get(USER, "u1")
    assert user.document["userName"] == "hkodden5"
    assert user.document["id"] == "u1"
    assert (user.created, user.last_modified) == ("2024-05-01T10:00:00.123Z",) * 2
    assert "meta" not in user.document
    assert ids(adapter, 'emails.value eq "HARRY.kodden@surf.nl"') == ["u1"]
    assert list(members_of(adapter, "g1")) == [Member("u1", "User", "Harry Kodden")]
    assert [m.resource_id for m in memberships_of(adapter, ["u1"])["u1"]] == ["g1"]
    assert (folder / "Users" / "u1").read_bytes() == before


def test_a_member_that_comes_later_joins_the_group_that_names_it(folder: Path, opened: Open) -> None:
    write(folder / "Groups" / "g1", **REFERENCE_GROUP)
    adapter = opened(folder)
    assert list(members_of(adapter, "g1")) == []

    write(folder / "Users" / "u1", **REFERENCE_USER)

    assert [m.resource_id for m in members_of(adapter, "g1")] == ["u1"]


def test_groups_in_groups_are_joined_in_whatever_order_they_are_read(folder: Path, opened: Open) -> None:
    write(folder / "Groups" / "a", displayName="A", members=[{"value": "b"}])
    write(folder / "Groups" / "b", displayName="B", members=[{"value": "c"}])
    write(folder / "Groups" / "c", displayName="C", members=[{"value": "a"}])

    adapter = opened(folder)

    for group, member in ("ab", "bc", "ca"):
        assert [m.resource_id for m in members_of(adapter, group)] == [member]


def test_members_that_nobody_knows_stay_in_the_file(folder: Path, opened: Open) -> None:
    write(folder / "Users" / "u1", **REFERENCE_USER)
    write(folder / "Groups" / "g1", **REFERENCE_GROUP)
    adapter = opened(folder)

    change_members(adapter, "g1", (), ["u1"])

    assert written(folder / "Groups" / "g1")["members"] == [{"value": "gone"}]
    change_members(adapter, "g1", (), ["gone"])
    assert "members" not in written(folder / "Groups" / "g1")


def test_a_hand_edit_shows_at_once(adapter: StorageAdapter, folder: Path) -> None:
    version = adapter.create(USER, stored("1", userName="a", title="old")).version
    path = folder / "Users" / "1"

    path.write_text(path.read_text().replace("old", "new"))

    edited = adapter.get(USER, "1")
    assert edited.document["title"] == "new"
    assert edited.version != version
    assert edited.last_modified > "2026-01-02"
    assert ids(adapter, 'title eq "new"') == ["1"]
    assert ids(adapter, 'title eq "old"') == []


def test_a_hand_edit_is_not_overwritten_by_one_who_has_not_seen_it(
    adapter: StorageAdapter, folder: Path
) -> None:
    version = adapter.create(USER, stored("1", userName="a", title="old")).version
    path = folder / "Users" / "1"
    path.write_text(path.read_text().replace("old", "by hand"))

    with pytest.raises(VersionMismatch):
        adapter.replace(USER, stored("1", userName="a", title="mine"), version)

    assert written(path)["title"] == "by hand"


def test_two_edits_within_a_tick_of_the_clock_are_both_seen(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a", title="t00"))
    path = folder / "Users" / "1"
    text = path.read_text()

    for number in range(1, 100):
        path.write_text(text.replace("t00", f"t{number:02}"))
        assert adapter.get(USER, "1").document["title"] == f"t{number:02}"


def test_an_edit_that_hides_its_time_makes_a_new_version(adapter: StorageAdapter, folder: Path) -> None:
    before = adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("1", "User")], ())
    path = folder / "Users" / "1"
    wait_for(path)
    status = path.stat()

    write(path, **{**written(path), "title": "edited"})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    # Read again while it may still be changing, and when it cannot any more.
    versions = [adapter.get(USER, "1").version for _ in range(3)]
    wait_for(path)
    versions.append(adapter.get(USER, "1").version)
    assert adapter.get(USER, "1").document["title"] == "edited"
    assert len(set(versions)) == 1 and before.version not in versions


def test_new_removed_and_renamed_files_are_noticed(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a"))
    write(folder / "Users" / "2", userName="b")
    assert ids(adapter, "userName pr") == ["1", "2"]

    (folder / "Users" / "2").rename(folder / "Users" / "3")
    assert ids(adapter, "userName pr") == ["1", "3"]
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, "2")

    (folder / "Users" / "1").unlink()
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, "1")
    assert ids(adapter, "userName pr") == ["3"]
    adapter.create(USER, stored("4", userName="A"))


def test_a_user_whose_file_comes_back_is_a_member_again(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("1", "User")], ())
    path = folder / "Users" / "1"
    content = path.read_bytes()

    path.unlink()
    assert list(members_of(adapter, "g")) == []
    path.write_bytes(content)

    assert [m.resource_id for m in members_of(adapter, "g")] == ["1"]


def test_a_file_waits_for_the_one_of_its_type(adapter: StorageAdapter, folder: Path) -> None:
    write(folder / "Groups" / "1", displayName="Crew")
    write(folder / "Groups" / "g", displayName="G", members=[{"value": "1", "type": "user"}])
    assert list(members_of(adapter, "g")) == []

    change_members(adapter, "g", [Member("1", "Group")], ())

    assert list(members_of(adapter, "g")) == [Member("1", "Group", "Crew")]
    kept = [{"value": "1", "type": "Group"}, {"value": "1", "type": "User"}]
    assert written(folder / "Groups" / "g")["members"] == kept
    write(folder / "Users" / "1", userName="ann")
    assert set(members_of(adapter, "g")) == {Member("1", "Group", "Crew"), Member("1", "User", "ann")}
    assert written(folder / "Groups" / "g")["members"] == kept


def test_of_two_of_one_id_the_one_whose_file_goes_is_no_member(
    adapter: StorageAdapter, folder: Path, opened: Open
) -> None:
    both = [{"value": "1", "type": "User", "display": "Babs"}, {"value": "1", "type": "Group"}]
    write(folder / "Users" / "1", userName="ann")
    write(folder / "Groups" / "1", displayName="Crew")
    write(folder / "Groups" / "g", displayName="G", members=both)
    assert set(members_of(adapter, "g")) == {Member("1", "User", "Babs"), Member("1", "Group", "Crew")}

    (folder / "Users" / "1").unlink()
    assert list(members_of(adapter, "g")) == [Member("1", "Group", "Crew")]
    adapter.replace(GROUP, stored("g", displayName="H"))
    assert written(folder / "Groups" / "g")["members"] == both[::-1]
    adapter.close()
    for index in folder.glob(".index-*"):
        index.unlink()

    adapter = opened(folder)
    assert list(members_of(adapter, "g")) == [Member("1", "Group", "Crew")]
    write(folder / "Users" / "1", userName="ann")
    assert set(members_of(adapter, "g")) == {Member("1", "User", "Babs"), Member("1", "Group", "Crew")}


@pytest.mark.parametrize("said", [{}, {"type": "User"}, {"type": "USER"}, {"type": "direct"}])
def test_what_a_file_says_of_the_type_is_no_change(
    adapter: StorageAdapter, folder: Path, said: dict[str, str]
) -> None:
    members = [{"value": "1", **said}, {"value": "gone", **said}]
    write(folder / "Users" / "1", userName="ann")
    write(folder / "Groups" / "g", displayName="G", members=members)
    members_before = list(members_of(adapter, "g"))
    wait_for(folder / "Groups" / "g")
    status = (folder / "Groups" / "g").stat()
    write(folder / "Groups" / "g", displayName="G", members=members)
    os.utime(folder / "Groups" / "g", ns=(status.st_mtime_ns, status.st_mtime_ns))
    version = adapter.get(GROUP, "g").version

    assert list(members_of(adapter, "g")) == members_before == [Member("1", "User", "ann")]
    assert adapter.get(GROUP, "g").version == version


def test_an_index_of_0_2_0_goes_on(adapter: StorageAdapter, folder: Path, opened: Open) -> None:
    write(folder / "Groups" / "g1", **REFERENCE_GROUP)
    write(folder / "Users" / "u1", **REFERENCE_USER)
    assert len(list(members_of(adapter, "g1"))) == 1
    adapter.close()
    (path,) = folder.glob(".index-*.sqlite")
    identity = path.stat().st_ino
    with sqlite3.connect(path) as database:
        database.executescript(
            "DROP TABLE scim_absent; CREATE TABLE scim_absent (member TEXT NOT NULL, type INTEGER NOT NULL, "
            "id TEXT NOT NULL, display TEXT, PRIMARY KEY (member, type, id)) WITHOUT ROWID; "
            "CREATE INDEX scim_absent_of ON scim_absent (type, id); INSERT INTO scim_absent "
            "SELECT 'gone', type, id, NULL FROM scim_file WHERE id = 'g1'"
        )
    database.close()

    adapter = opened(folder)

    write(folder / "Users" / "gone", userName="back")
    assert {member.resource_id for member in members_of(adapter, "g1")} == {"u1", "gone"}
    (path,) = folder.glob(".index-*.sqlite")
    assert path.stat().st_ino == identity
    with sqlite3.connect(path) as database:
        # As a process of 0.2.0 beside this one does.
        columns = "scim_absent (member, type, id, display)"
        database.execute(f"INSERT OR REPLACE INTO {columns} VALUES ('x', 9, 'y', '')")
        database.rollback()
    database.close()


def test_an_edited_group_has_the_members_of_its_file(adapter: StorageAdapter, folder: Path) -> None:
    for name in "abc":
        adapter.create(USER, stored(name, userName=name))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a", "User"), Member("b", "User")], ())
    before = adapter.get(GROUP, "g").version
    path = folder / "Groups" / "g"

    write(path, **{**written(path), "members": [{"value": "b", "display": "Bee"}, {"value": "c"}]})

    assert list(members_of(adapter, "g")) == [Member("b", "User", "Bee"), Member("c", "User", "c")]
    assert adapter.get(GROUP, "g").version != before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"userName": "to',
        b"[1]",
        b"\xff\xfe",
        b'{"id": "other", "userName": "x"}',
        b'{"id": 7, "userName": "x"}',
        b'{"id": "torn", "userName": "\\ud800"}',
    ],
)
def test_a_file_that_holds_no_resource_is_reported_and_skipped(
    folder: Path, caplog: pytest.LogCaptureFixture, content: bytes, opened: Open
) -> None:
    (folder / "Users").mkdir(parents=True)
    (folder / "Users" / "torn").write_bytes(content)
    write(folder / "Users" / "whole", userName="whole")

    with caplog.at_level(logging.WARNING):
        adapter = opened(folder)

    assert [r.id for r in adapter.scan(USER)] == ["whole"]
    assert f"{folder}/Users/torn" in caplog.text
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, "torn")
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("torn", userName="torn"))
    assert (folder / "Users" / "torn").read_bytes() == content


@pytest.mark.parametrize(
    "document",
    [
        {"userName": 7},
        {"userName": "x", "emails": "none"},
        {"userName": "x", "emails": [7, None, {"value": {}}]},
        {"userName": "x", "meta": 7, "$secrets": [1]},
        {"userName": "x", "meta": {"created": 7, "version": ["1"]}},
        {"userName": "x", "urn:mace:surf.nl:sram:scim:extension:User": "none"},
        {"userName": "x", "big": 2**63, "name": []},
        {"userName": "x", "schemas": "none", "groups": [{"value": "1"}]},
    ],
)
def test_values_that_do_not_fit_are_left_out_and_the_rest_is_read(
    folder: Path, document: dict[str, object], opened: Open
) -> None:
    write(folder / "Users" / "odd", nickName="odd", **document)

    adapter = opened(folder)

    assert ids(adapter, 'nickName eq "odd"') == ["odd"]
    adapter.replace(USER, stored("odd", userName="even"))
    assert written(folder / "Users" / "odd")["userName"] == "even"


def test_a_file_that_is_torn_while_it_runs_leaves_the_resource_as_it_was(
    adapter: StorageAdapter, folder: Path
) -> None:
    adapter.create(USER, stored("1", userName="a", title="t"))
    path = folder / "Users" / "1"
    whole = path.read_text()

    path.write_text(whole[:20])
    assert adapter.get(USER, "1").document["title"] == "t"
    assert ids(adapter, 'title eq "t"') == ["1"]
    path.write_text(whole.replace('"t"', '"u"'))

    assert adapter.get(USER, "1").document["title"] == "u"


def test_what_is_no_resource_file_does_no_harm(folder: Path, opened: Open) -> None:
    write(folder / "Users" / "1", userName="a")
    (folder / "Users" / "lost+found").mkdir()
    (folder / "Users" / ".hidden").write_text("{")
    (folder / "Users" / "1~").write_bytes((folder / "Users" / "1").read_bytes())
    os.mkfifo(folder / "Users" / "pipe")
    os.symlink("nowhere", folder / "Users" / "dangling")
    (folder / os.fsdecode(b"Users/\xff")).write_text("{}")

    adapter = opened(folder)

    assert [r.id for r in adapter.scan(USER)] == ["1"]
    for resource_id in ("lost+found", ".hidden", "1~", "pipe", "dangling", "\udcff"):
        with pytest.raises(ResourceNotFound):
            adapter.get(USER, resource_id)


def test_of_two_files_with_one_user_name_both_are_there(
    folder: Path, caplog: pytest.LogCaptureFixture, opened: Open
) -> None:
    write(folder / "Users" / "1", userName="same", externalId="x", meta={"created": "2024-01-01T00:00:00Z"})
    write(folder / "Users" / "0", userName="Same", externalId="y", meta={"created": "2024-01-02T00:00:00Z"})

    with caplog.at_level(logging.WARNING):
        adapter = opened(folder)

    assert ids(adapter, 'userName eq "same"') == ["1", "0"]
    assert "userName" in caplog.text and "Users/0" in caplog.text
    for taken in ({"userName": "SAME"}, {"userName": "other", "externalId": "y"}):
        with pytest.raises(UniquenessConflict):
            adapter.create(USER, stored("2", **taken))
    adapter.replace(USER, stored("0", userName="Same", externalId="y", title="still"))


def test_names_that_are_safe_and_names_that_the_reference_wrote_are_both_found(
    folder: Path, opened: Open
) -> None:
    write(folder / "Users" / "jos\u00e9 (1)", userName="a")
    adapter = opened(folder)

    adapter.replace(USER, stored("jos\u00e9 (1)", userName="b"))

    assert [path.name for path in (folder / "Users").iterdir()] == ["jos\u00e9 (1)"]
    assert written(folder / "Users" / "jos\u00e9 (1)")["userName"] == "b"


@pytest.mark.parametrize(
    "resource_id",
    ["../x", "..", ".", "a/b", "/etc/passwd", ".index-1.db", "*)(uid=*", "$where", "a\nb", "%2E", " ", "~"]
    + ["\u00e9" * 300, "x" * 300, "con", "\U0001f600"],
)
def test_any_id_makes_a_file_within_the_folder(
    adapter: StorageAdapter, folder: Path, resource_id: str, opened: Open
) -> None:
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, resource_id)

    adapter.create(USER, stored(resource_id, userName="a"))

    (path,) = [p for p in folder.parent.rglob("*") if p.is_file() and p.parent != folder]
    assert path.parent == folder / "Users"
    assert not path.name.startswith(".")
    assert written(path)["id"] == resource_id
    assert adapter.get(USER, resource_id).document["userName"] == "a"
    assert found_by_id(adapter, [resource_id]).keys() == {resource_id}
    other = opened(folder)
    assert [r.id for r in other.scan(USER)] == [resource_id]
    adapter.delete(USER, resource_id)
    assert not path.exists()


@pytest.mark.parametrize("resource_id", ["", "\0", "a\0b", "\ud800", "x" * 5000])
def test_ids_that_nothing_can_have_are_not_found(adapter: StorageAdapter, resource_id: str) -> None:
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, resource_id)


def test_a_file_is_for_people_to_read(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("1", "User")], ())

    text = (folder / "Groups" / "g").read_text()

    assert text.splitlines()[1:4] == [
        '  "schemas": [',
        '    "urn:ietf:params:scim:schemas:core:2.0:Group"',
        "  ],",
    ]
    assert orjson.loads(text)["members"] == [{"value": "1", "type": "User"}]
    assert orjson.loads(text)["meta"]["created"] == "2026-01-01T00:00:00.000Z"


def test_new_files_and_the_index_are_for_nobody_else(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a"))

    paths = [folder, *folder.rglob("*")]
    assert len(paths) >= 7
    assert {oct(path.stat().st_mode & 0o077) for path in paths} == {"0o0"}


def test_the_mode_that_somebody_gave_a_file_stays(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a"))
    (folder / "Users" / "1").chmod(0o640)

    adapter.replace(USER, stored("1", userName="b"))

    assert (folder / "Users" / "1").stat().st_mode & 0o777 == 0o640


def test_a_resource_made_again_has_another_version(adapter: StorageAdapter) -> None:
    first = adapter.create(USER, stored("1", userName="a")).version
    adapter.delete(USER, "1")

    assert adapter.create(USER, stored("1", userName="a")).version != first


@pytest.mark.parametrize("events", [True, False])
def test_what_another_program_did_to_1000_files_is_seen_soon(
    folder: Path, monkeypatch: pytest.MonkeyPatch, events: bool, opened: Open
) -> None:
    for number in range(1000):
        write(folder / "Users" / str(number), userName=f"u{number}")
    if not events:
        monkeypatch.setattr("storage.files.watch.INotify", None)
    adapter = opened(folder)
    assert len(ids(adapter, "userName pr")) == 1000

    write(folder / "Users" / "500", userName="changed")
    write(folder / "Users" / "new", userName="changed too")
    (folder / "Users" / "501").unlink()

    deadline = time.monotonic() + 30
    while ids(adapter, 'userName sw "changed"') != ["500", "new"] or ids(adapter, 'userName eq "u501"'):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reading_does_not_look_at_every_file_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    write(folder / "Users" / "1", userName="a")
    adapter = opened(folder)
    assert ids(adapter, 'userName eq "a"') == ["1"]
    scanned: list[object] = []
    scandir = os.scandir

    def counted(path: Path) -> object:
        scanned.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)

    for _ in range(20):
        assert ids(adapter, 'userName eq "a"') == ["1"]
        adapter.get(USER, "1")
        adapter.replace(USER, stored("1", userName="a"))

    assert scanned == []
