"""Writers go ahead in the order in which they came, whatever process they are in."""

import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from storage.errors import StorageUnavailable
from storage.queue import FairQueue
from storage.testing import REGISTRY, USER, stored
from tests.backends import open_backend


def child(work: Callable[[], object]) -> int:
    """Do `work` in a child of a fork and return its process id."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    finally:
        os._exit(0)


def drawn(path: Path, number: int) -> None:
    """Return when so many numbers were drawn."""
    while not path.exists() or int.from_bytes(path.read_bytes()[:8], "little") < number:
        time.sleep(0.001)


@pytest.mark.parametrize("apart", [False, True])
def test_those_who_wait_go_ahead_in_the_order_in_which_they_came(tmp_path: Path, apart: bool) -> None:
    path, order = tmp_path / "queue", tmp_path / "order"

    def come(number: int) -> None:
        with FairQueue(path, 30).turn(), order.open("a") as file:
            file.write(f"{number} ")

    started: list[threading.Thread] = []
    with FairQueue(path, 30).turn():
        for number in range(8):
            if apart:
                children = [child(lambda number=number: come(number))]  # type: ignore[misc]
                started += [threading.Thread(target=os.waitpid, args=(children[0], 0))]
            else:
                started += [threading.Thread(target=come, args=(number,))]
            started[-1].start()
            drawn(path, number + 2)
    for thread in started:
        thread.join()

    assert order.read_text().split() == [str(number) for number in range(8)]


def test_who_is_killed_holding_or_waiting_gives_the_place_back(tmp_path: Path) -> None:
    path = tmp_path / "queue"

    def stay() -> None:
        with FairQueue(path, 30).turn():
            time.sleep(60)

    children = []
    for number in range(3):
        children.append(child(stay))
        drawn(path, number + 1)
    for process in children:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    with FairQueue(path, 5).turn():
        pass


def test_waiting_ends(tmp_path: Path) -> None:
    with FairQueue(tmp_path / "queue", 30).turn():
        with pytest.raises(StorageUnavailable), FairQueue(tmp_path / "queue", 0.05).turn():
            pass
    with FairQueue(tmp_path / "queue", 0.05).turn():
        pass


def test_without_a_file_there_is_no_queue_and_nobody_waits(tmp_path: Path) -> None:
    with FairQueue(tmp_path / "none" / "queue", 30).turn():
        with FairQueue(tmp_path / "none" / "queue", 0).turn():
            pass


@pytest.mark.parametrize("kind", ["sql", "files"])
def test_who_writes_again_and_again_lets_others_in_between(tmp_path: Path, kind: str) -> None:
    """Of two who always want to write, neither gets many turns in a row."""
    options: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/scim.db"}
    if kind == "files":
        options = {"data_path": tmp_path / "data"}
    adapter = open_backend(kind, **options)
    adapter.prepare(REGISTRY.resource_types)
    turns: list[str] = []
    both = threading.Barrier(2)

    def write(name: str) -> None:
        both.wait()
        for number in range(20):
            with adapter.transaction():
                adapter.create(USER, stored(f"{name}{number}", userName=f"{name}{number}"))
                turns.append(name)
                # Long enough for the other one to be there.
                time.sleep(0.02)
        adapter.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    adapter.close()

    # Until one of them is done.
    together = turns[: min(n for n in range(41) if max(map(turns[:n].count, "ab")) == 20)]
    assert max(len(list(run)) for _, run in groupby(together)) < 6
