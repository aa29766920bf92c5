"""Processes that are killed at any instant, and indexes that are lost, damaged or out of date."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import ResourceNotFound, StorageUnavailable, UniquenessConflict
from storage.sql.opening import open_database
from storage.testing import GROUP, USER, change_members, members_of, memberships_of, stored
from tests.storage.files.conftest import Open, ids, is_pending, open_files, write, written

STEPS = ("open", "rename", "unlink", "fsync", "utime", "stat")


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Do `work` in a child that is killed at that system call; return whether it came so far."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = [step]

    def deadly(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **options: object) -> object:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return counted

    try:
        for name in STEPS:
            setattr(os, name, deadly(getattr(os, name)))
        work()
        os._exit(0)
    finally:
        os._exit(1)


def indexes(folder: Path) -> list[Path]:
    return list(folder.glob(".index-*"))


def left_behind(folder: Path) -> list[str]:
    """Return what writers left lying about."""
    return [p.name for p in folder.rglob(".*") if not p.name.startswith((".index-", ".journal", ".queue"))]


@pytest.mark.parametrize("lost", [False, True])
def test_killed_at_any_step_one_change_is_whole_or_not_there(
    folder: Path, opened: Open, lost: bool
) -> None:
    adapter = opened(folder)
    adapter.create(USER, stored("1", userName="a", title="0"))
    step, title = 0, "0"
    while True:
        step += 1

        def change(step: int = step) -> None:
            open_files(folder).replace(USER, stored("1", userName="a", title=str(step)))

        came_through = not killed_at(step, change)
        if lost:
            for path in indexes(folder):
                path.unlink(missing_ok=True)
        now = adapter.get(USER, "1").document["title"]
        assert now in (title, str(step))
        assert now == written(folder / "Users" / "1")["title"]
        assert ids(adapter, f'title eq "{now}"') == ["1"]
        adapter.create(USER, stored(f"after{step}", userName=f"after{step}"))
        # What was written down but not acknowledged may have been done now.
        title = adapter.get(USER, "1").document["title"]
        assert title in (now, str(step))
        assert not is_pending(folder)
        if came_through:
            break
    opened(folder)
    assert left_behind(folder) == []
    assert title == str(step)
    assert step > 15


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_killed_at_any_step_several_changes_are_all_there_or_none(
    folder: Path, opened: Open, order: str
) -> None:
    adapter = opened(folder)
    for name in "ab":
        adapter.create(USER, stored(name, userName=name, title="0"))
    step, seen = 0, set()
    while True:
        step += 1
        adapter.create(USER, stored("member", userName="member"))
        adapter.create(GROUP, stored("g", displayName="G"))
        change_members(adapter, "g", [Member("member", "User")], ())

        def change(step: int = step) -> None:
            child = open_files(folder)
            with child.transaction():
                for name in "ab":
                    child.replace(USER, stored(name, userName=name, title=str(step)))
                child.delete(USER, "member")

        came_through = not killed_at(step, change)
        assert len({adapter.get(USER, name).document["title"] for name in order}) == 1
        with adapter.transaction():
            titles = {adapter.get(USER, name).document["title"] for name in "ab"}
        assert len(titles) == 1
        assert titles == {written(folder / "Users" / name)["title"] for name in "ab"}
        done = titles == {str(step)}
        seen.add(done)
        assert (folder / "Users" / "member").exists() == (not done)
        assert ("members" in written(folder / "Groups" / "g")) == (not done)
        assert bool(list(members_of(adapter, "g"))) == (not done)
        assert not is_pending(folder)
        if not done:
            adapter.delete(USER, "member")
        adapter.delete(GROUP, "g")
        if came_through:
            break
    opened(folder)
    assert left_behind(folder) == []
    assert done and seen == {True, False}


STORM = """
import sys
from pathlib import Path
from storage.testing import USER, stored
from tests.storage.files.conftest import open_files
adapter = open_files(Path(sys.argv[1]))
for number in range(10**6):
    name = f"{sys.argv[2]}-{number}"
    adapter.create(USER, stored(name, userName=name))
    adapter.replace(USER, stored(name, userName=name, title="done"))
    print(name, flush=True)
"""


def test_everything_acknowledged_before_a_kill_in_a_storm_of_writes_is_there(
    folder: Path, opened: Open
) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", STORM, folder, name], stdout=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    acknowledged: list[str] = []

    def listen(writer: "subprocess.Popen[str]") -> None:
        assert writer.stdout is not None
        with writer.stdout:
            acknowledged.extend(line.strip() for line in writer.stdout)

    threads = [threading.Thread(target=listen, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(acknowledged) < 150 and time.monotonic() < deadline:
        time.sleep(0.01)
    for writer in writers:
        writer.kill()
        writer.wait()
    for thread in threads:
        thread.join()

    adapter = opened(folder)

    assert len(acknowledged) >= 150
    assert set(acknowledged) <= set(ids(adapter, 'title eq "done"'))
    for name in acknowledged:
        assert written(folder / "Users" / name)["title"] == "done"
    assert len(ids(adapter, "userName pr")) == len(list((folder / "Users").glob("[!.]*")))
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("x", userName=acknowledged[-1].upper()))


def test_a_torn_journal_is_no_obstacle(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a"))
    (folder / ".journal").write_bytes(b'[{"fol')
    (folder / "Users" / f".tmp-{uuid4().hex}").write_bytes(b"{")

    adapter.create(USER, stored("2", userName="b"))

    assert ids(adapter, "userName pr") == ["1", "2"]
    assert left_behind(folder) == []


def test_what_other_programs_have_in_the_folder_stays(folder: Path) -> None:
    (folder / ".tmp-of-others").mkdir(parents=True)
    (folder / ".tmp-file").touch()

    open_files(folder).close()

    assert (folder / ".tmp-of-others").is_dir() and (folder / ".tmp-file").is_file()


def test_a_journal_that_comes_back_removes_nothing_that_is_newer(
    adapter: StorageAdapter, folder: Path
) -> None:
    adapter.create(USER, stored("1", userName="a"))
    with adapter.transaction():
        adapter.delete(USER, "1")
        adapter.create(USER, stored("2", userName="b"))
        steps = '[{"folder":"Users","name":"1","temporary":null,"signature":"1 2 3 4"},'
        steps += '{"folder":"Users","name":"2","temporary":".tmp-gone","signature":null}]'
    adapter.create(USER, stored("1", userName="a"))
    (folder / ".journal").write_text(steps)

    adapter.create(USER, stored("3", userName="c"))

    assert sorted(ids(adapter, "userName pr")) == ["1", "2", "3"]


@pytest.mark.parametrize(
    "step",
    [
        {"folder": "..", "name": "victim", "temporary": ".tmp-x", "signature": None},
        {"folder": "Users", "name": "../../victim", "temporary": ".tmp-x", "signature": None},
        {"folder": "Users", "name": "1", "temporary": "../../victim", "signature": None},
        {"folder": 5, "name": None, "temporary": [], "signature": None},
    ],
)
def test_a_journal_that_others_wrote_reaches_nothing(
    adapter: StorageAdapter, folder: Path, step: dict[str, Any]
) -> None:
    adapter.create(USER, stored("1", userName="a"))
    victim = folder.parent / "victim"
    victim.write_text("precious")
    (folder / "Users" / ".tmp-x").write_text("{}")
    (folder.parent / ".tmp-x").write_text("{}")
    (folder / ".journal").write_bytes(orjson.dumps([step]) + b"\n")

    adapter.create(USER, stored("2", userName="b"))

    assert victim.read_text() == "precious"
    assert ids(adapter, "userName pr") == ["1", "2"]


# -- the index


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\xa5" * 8192 + content[8192:])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE scim_attribute")
    database.close()


def of_a_later_release(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE scim_layout SET version = 99")
    database.close()


DAMAGES = [Path.unlink, damaged, emptied, without_a_table, of_a_later_release]


def some(adapter: StorageAdapter) -> None:
    for number in range(40):
        adapter.create(USER, stored(f"{number:02}", userName=f"u{number}", title="t" * 300))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("07", "User", "Seven"), Member("03", "User")], ())


def assert_whole(adapter: StorageAdapter, versions: dict[str, str]) -> None:
    assert ids(adapter, 'userName eq "U7"') == ["07"]
    assert {r.id: r.version for r in adapter.scan(USER)} == versions
    assert list(members_of(adapter, "g")) == [Member("03", "User", "u3"), Member("07", "User", "Seven")]
    with pytest.raises(UniquenessConflict):
        adapter.create(USER, stored("new", userName="U7"))
    adapter.replace(USER, stored("07", userName="u7", title="after"))
    assert ids(adapter, 'title eq "after"') == ["07"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_index_that_was_damaged_while_nothing_ran_is_made_anew(
    folder: Path, opened: Open, damage: Callable[[Path], None]
) -> None:
    first = opened(folder)
    some(first)
    versions = {r.id: r.version for r in first.scan(USER)}
    first.close()
    (index,) = folder.glob(".index-*.sqlite")
    damage(index)

    adapter = opened(folder)

    assert_whole(adapter, versions)
    assert len(list(folder.glob(".index-*.sqlite"))) == 1


@pytest.mark.parametrize("damage", [Path.unlink, damaged, emptied, without_a_table])
def test_an_index_that_is_damaged_while_several_run_is_made_anew(
    folder: Path, opened: Open, damage: Callable[[Path], None]
) -> None:
    adapter, other = opened(folder), opened(folder)
    some(adapter)
    versions = {r.id: r.version for r in other.scan(USER)}
    # What is in the log of the database or in memory would hide the damage.
    adapter.close()
    other.close()
    (index,) = folder.glob(".index-*.sqlite")
    damage(index)

    assert_whole(adapter, versions)
    assert ids(other, 'title eq "after"') == ["07"]
    other.create(USER, stored("more", userName="more"))
    assert ids(adapter, 'userName eq "more"') == ["more"]


def test_an_index_that_is_removed_in_the_middle_of_a_change_loses_nothing(
    adapter: StorageAdapter, folder: Path, opened: Open
) -> None:
    other = opened(folder)
    adapter.create(USER, stored("1", userName="a"))

    with adapter.transaction():
        adapter.create(USER, stored("2", userName="b"))
        for path in indexes(folder):
            path.unlink()

    assert ids(adapter, "userName pr") == ["1", "2"]
    assert ids(other, "userName pr") == ["1", "2"]
    with pytest.raises(UniquenessConflict):
        other.create(USER, stored("3", userName="B"))


def test_a_server_that_starts_finds_what_was_changed_while_none_ran(folder: Path, opened: Open) -> None:
    first = opened(folder)
    for name in "abc":
        first.create(USER, stored(name, userName=name))
    first.close()

    write(folder / "Users" / "a", userName="edited")
    (folder / "Users" / "b").unlink()
    write(folder / "Users" / "d", userName="d")

    adapter = opened(folder)
    assert ids(adapter, "userName pr") == ["a", "c", "d"]
    assert ids(adapter, 'userName eq "edited"') == ["a"]


def test_files_and_an_older_index_from_a_backup_are_brought_together(
    folder: Path, tmp_path: Path, opened: Open
) -> None:
    first = opened(folder)
    first.create(USER, stored("1", userName="a"))
    first.create(USER, stored("2", userName="b"))
    first.close()
    shutil.copytree(folder, tmp_path / "backup")
    again = opened(folder)
    versions = {r.id: r.version for r in again.scan(USER)}
    again.replace(USER, stored("1", userName="changed"))
    again.delete(USER, "2")
    again.create(USER, stored("3", userName="c"))

    # Restored over what is there, while it runs.
    for path in (tmp_path / "backup").rglob("*"):
        if path.is_file():
            shutil.copy2(path, folder / path.relative_to(tmp_path / "backup"))

    assert sorted(ids(again, "userName pr")) == ["1", "2", "3"]
    assert ids(again, 'userName eq "a"') == ["1"]
    assert {r.id: r.version for r in again.scan(USER) if r.id != "3"} == versions


def test_a_new_index_has_resources_in_the_order_in_which_they_were_made(folder: Path, opened: Open) -> None:
    first = opened(folder)
    for number, name in enumerate("zmax"):
        first.create(USER, stored(name, f"2026-01-0{number + 1}T00:00:00.000Z", userName=name))
    for path in indexes(folder):
        path.unlink()

    assert [r.id for r in first.scan(USER)] == list("zmax")


def test_a_folder_that_is_gone_is_not_taken_for_an_empty_one(
    adapter: StorageAdapter, folder: Path, tmp_path: Path
) -> None:
    adapter.create(USER, stored("1", userName="a"))
    folder.rename(tmp_path / "aside")

    for call in (
        lambda: adapter.get(USER, "1"),
        lambda: adapter.create(USER, stored("2", userName="b")),
        lambda: adapter.replace(USER, stored("1", userName="b")),
        lambda: adapter.delete(USER, "1"),
        lambda: list(adapter.scan(USER)),
        lambda: ids(adapter, "userName pr"),
        lambda: list(members_of(adapter, "g")),
        lambda: change_members(adapter, "g", [], ["1"]),
        lambda: memberships_of(adapter, ["1"]),
        lambda: adapter.find(["1"]),
        lambda: adapter.check(),
    ):
        with pytest.raises(StorageUnavailable):
            call()
    (tmp_path / "aside").rename(folder)

    assert ids(adapter, "userName pr") == ["1"]
    (folder / "Users").rename(tmp_path / "aside")
    with pytest.raises(StorageUnavailable):
        adapter.get(USER, "1")
    (tmp_path / "aside").rename(folder / "Users")
    assert adapter.get(USER, "1").document["userName"] == "a"
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, "2")


@pytest.mark.parametrize("damage", [damaged, emptied])
def test_a_damaged_database_of_the_events_leaves_the_index_alone(
    folder: Path, adapter: StorageAdapter, damage: Callable[[Path], None]
) -> None:
    some(adapter)
    (index,) = folder.glob(".index-*.sqlite")
    state = folder / ".state.db"
    with sqlite3.connect(state) as connection:
        connection.execute("CREATE TABLE scim_queue (seq INTEGER)")
    connection.close()
    damage(state)
    database = open_database(f"sqlite:///{state}")

    with pytest.raises(StorageUnavailable), adapter.transaction():
        adapter.create(USER, stored("new", userName="new"))
        database.rows("SELECT seq FROM scim_queue")

    assert list(folder.glob(".index-*.sqlite")) == [index]
    assert ids(adapter, 'userName eq "new"') == []
