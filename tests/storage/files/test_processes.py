"""Several processes on one folder, each with an adapter of its own, and children of a fork."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.adapter import Member, StorageAdapter
from storage.errors import StorageUnavailable, UniquenessConflict, VersionMismatch
from storage.files.lock import FolderLock
from storage.testing import GROUP, USER, change_members, members_of, stored
from tests.storage.files.conftest import Open, ids, in_child, open_files, written

SPAWNED = multiprocessing.get_context("spawn")


def at_once(work: Callable[..., Any], *arguments: tuple[Any, ...]) -> list[Any]:
    """Run `work` in a process per tuple of arguments, all beginning together; return the results."""
    with SPAWNED.Manager() as manager:
        barrier = manager.Barrier(len(arguments))
        with SPAWNED.Pool(len(arguments)) as pool:
            jobs = [pool.apply_async(work, (barrier, *one)) for one in arguments]
            results = [job.get(60) for job in jobs]
            pool.close()
            pool.join()
    return results


def create(barrier: Any, folder: Path, number: int) -> str:
    adapter = open_files(folder)
    barrier.wait()
    try:
        adapter.create(USER, stored(str(number), userName="Same" if number % 2 else "same"))
        return "created"
    except UniquenessConflict as conflict:
        return conflict.attribute


def increase(barrier: Any, folder: Path, times: int) -> int:
    adapter = open_files(folder)
    barrier.wait()
    mismatches = 0
    for _ in range(times):
        while True:
            before = adapter.get(USER, "1")
            title = str(int(before.document["title"]) + 1)
            try:
                adapter.replace(USER, stored("1", userName="a", title=title), before.version)
                break
            except VersionMismatch:
                mismatches += 1
    return mismatches


def join(barrier: Any, folder: Path, members: str) -> None:
    adapter = open_files(folder)
    barrier.wait()
    for member in members:
        assert change_members(adapter, "g", [Member(member, "User")], ())


def test_of_8_processes_that_create_one_user_name_one_wins(folder: Path, opened: Open) -> None:
    outcomes = at_once(create, *((folder, number) for number in range(8)))

    assert sorted(outcomes) == ["created"] + ["userName"] * 7
    adapter = opened(folder)
    assert len(ids(adapter, 'userName eq "SAME"')) == 1
    assert len(list((folder / "Users").glob("[!.]*"))) == 1


def test_compare_and_set_loses_nothing_among_processes(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("1", userName="a", title="0"))

    at_once(increase, *((folder, 20) for _ in range(4)))

    assert adapter.get(USER, "1").document["title"] == "80"
    assert written(folder / "Users" / "1")["title"] == "80"


def test_members_added_by_several_processes_are_all_there(adapter: StorageAdapter, folder: Path) -> None:
    # Without the id of the group.
    names = "abcdefhijklmnopqrstu"
    for name in names:
        adapter.create(USER, stored(name, userName=name))
    adapter.create(GROUP, stored("g", displayName="G"))

    at_once(join, *((folder, names[start : start + 5]) for start in range(0, 20, 5)))

    assert {m.resource_id for m in members_of(adapter, "g")} == set(names)
    assert {m["value"] for m in written(folder / "Groups" / "g")["members"]} == set(names)


def test_what_one_process_writes_the_others_read_at_once(folder: Path, opened: Open) -> None:
    first, second = opened(folder), opened(folder)

    for number in range(20):
        name = str(number)
        first.create(USER, stored(name, userName=name))
        assert second.get(USER, name).document["userName"] == name
        second.replace(USER, stored(name, userName=name, title="t"))
        assert ids(first, 'title eq "t"')[-1] == name
        first.delete(USER, name) if number % 2 else second.delete(USER, name)
        assert ids(first, "userName pr") == ids(second, "userName pr") == []


def test_children_of_a_fork_go_on_by_themselves(adapter: StorageAdapter, folder: Path) -> None:
    adapter.create(USER, stored("0", userName="u0"))

    def create(number: int) -> None:
        assert ids(adapter, "userName pr")[0] == "0"
        adapter.create(USER, stored(str(number), userName=f"u{number}"))

    children = [in_child(partial(create, number)) for number in range(1, 4)]
    statuses = [os.waitpid(child, 0)[1] for child in children]

    assert statuses == [0, 0, 0]
    assert sorted(ids(adapter, "userName pr")) == ["0", "1", "2", "3"]
    adapter.create(USER, stored("4", userName="u4"))
    assert len(ids(adapter, "userName pr")) == 5


def test_a_child_that_is_forked_in_the_middle_of_a_change_hinders_nobody(adapter: StorageAdapter) -> None:
    reading, writing = os.pipe()
    with adapter.transaction():
        adapter.create(USER, stored("1", userName="a"))
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)

    adapter.create(USER, stored("2", userName="b"))
    assert ids(adapter, "userName pr") == ["1", "2"]
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)


def test_waiting_for_the_lock_ends(tmp_path: Path) -> None:
    holder, waiter = FolderLock(tmp_path, 30), FolderLock(tmp_path, 0.05)

    with holder.held(), pytest.raises(StorageUnavailable), waiter.held():
        pass
    with waiter.held():
        assert waiter.is_held and not holder.is_held


def test_threads_wait_for_each_other_in_a_process_too(tmp_path: Path) -> None:
    lock, inside, most = FolderLock(tmp_path, 30), [0], [0]

    def work() -> None:
        for _ in range(50):
            with lock.held(), lock.held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1]
