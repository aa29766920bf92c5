"""The registry of work, and the wake-ups within a process."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from app.work.registry import DEFAULT_BASE, Piece, Work
from app.work.threads import Threads
from app.work.wakeups import CHANGES, CLOCK, FEEDS, PUSH, REQUESTS, RESULTS, Wakeups
from tests.conftest import ScimClient

# Longer than any test: a wait of that length ends by a wake-up alone.
_LONG_S = 3600.0
_ALL = {"ASYNC_REQUEST": "long", "SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false"}


def nothing(until: Callable[[], bool]) -> int:
    return 0


def test_a_wake_up_ends_the_wait_for_its_topic_and_no_other() -> None:
    wakeups = Wakeups()
    changes, push = wakeups.count(CHANGES), wakeups.count(PUSH)
    ended = threading.Event()

    def wait() -> None:
        if wakeups.wait(CHANGES, changes, _LONG_S):
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    wakeups.wake(CHANGES, FEEDS)
    thread.join()

    assert ended.is_set()
    assert not wakeups.wait(PUSH, push, 0)


def test_a_wake_up_before_the_wait_counts() -> None:
    wakeups = Wakeups()
    count = wakeups.count(RESULTS)
    wakeups.wake(RESULTS)

    assert wakeups.wait(RESULTS, count, _LONG_S)
    assert not wakeups.wait(RESULTS, wakeups.count(RESULTS), 0)


def test_a_driver_hears_of_work_that_is_due_and_not_of_results() -> None:
    wakeups, heard = Wakeups(), []
    wakeups.forward = lambda: heard.append("due")

    wakeups.wake(RESULTS, FEEDS, PUSH)
    wakeups.due(REQUESTS)

    assert heard == ["due"]


def test_a_reader_looks_once_more_after_a_wake_up_that_came_during_its_look() -> None:
    wakeups = Wakeups()
    looks = wakeups.looks(RESULTS, _LONG_S)

    next(looks)
    wakeups.wake(RESULTS)
    next(looks)
    wakeups.wake(RESULTS)
    next(looks)

    assert wakeups.count(RESULTS) == 2


def test_a_reader_looks_by_itself_less_and_less_often() -> None:
    looks = sum(1 for _ in Wakeups().looks(RESULTS, 1.0))

    # At 20 ms, 30, 45, ... 250; looks every 20 ms would be 50.
    assert 2 <= looks <= 12


def test_a_child_of_a_fork_can_wake_and_wait_whatever_the_parent_held() -> None:
    wakeups = Wakeups()
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with wakeups._conditions[CHANGES]:
            held.set()
            free.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(60)
        count = wakeups.count(CHANGES)
        wakeups.wake(CHANGES)
        os._exit(0 if wakeups.wait(CHANGES, count, 1.0) else 1)
    free.set()
    thread.join()

    assert os.waitpid(child, 0)[1] == 0


def test_threads_do_a_piece_again_after_a_wake_up_and_end_at_once() -> None:
    wakeups, runs, closed = Wakeups(), threading.Semaphore(0), []

    def run(until: Callable[[], bool]) -> int:
        runs.release()
        return 0

    piece = Piece("one", PUSH, lambda: True, run, _LONG_S)
    slow = Piece("two", CLOCK, lambda: True, nothing, _LONG_S)
    threads = Threads(Work("other", [piece, slow], wakeups, lambda: closed.append(1)))
    threads.start()
    runs.acquire()
    wakeups.wake(PUSH)
    runs.acquire()
    names = {thread.name for thread in threading.enumerate()}
    threads.stop()

    assert {"scim other/one", "scim other/two"} <= names
    assert closed == [1, 1]


def test_a_failure_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    wakeups, failed = Wakeups(), threading.Event()

    def run(until: Callable[[], bool]) -> int:
        failed.set()
        raise ValueError("a defect")

    piece = Piece("one", PUSH, lambda: True, run, _LONG_S)
    threads = Threads(Work(DEFAULT_BASE, [piece], wakeups, lambda: None))
    threads.start()
    failed.wait()
    alive = "scim one" in {thread.name for thread in threading.enumerate()}
    threads.stop()

    assert alive
    assert "scim one failed" in caplog.text


@pytest.mark.sqlite
def test_a_piece_is_due_when_another_one_has_made_its_work(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The storage is looked at much later.
    monkeypatch.setattr("app.wiring.pieces._SWEEP_S", 3_600.0)
    scim = make_scim(SET_RECEIVERS='[{"name": "r", "url": "https://r.example"}]', **_ALL)
    work = scim.app.extensions["scim.work"]
    assert list(work.pieces) == [
        *("storage", "intents", "events", "retention"),
        *("requests 1", "requests 2", "push r"),
    ]
    work.pieces["retention"].run(lambda: False)
    before = [piece.name for piece in work.due()]
    scim.user("a")

    found = []
    for piece in work.due():
        found.append(piece.name)
        if piece.is_brief:
            piece.run(lambda: False)

    assert before == []
    assert found == ["events", "push r"]


@pytest.mark.sqlite
def test_expired_rows_are_removed_once_a_minute_over_all_processes(
    make_scim: Callable[..., ScimClient],
) -> None:
    # Two applications on one database, as in two processes.
    first, second = make_scim(**_ALL), make_scim(**_ALL)
    pieces = [scim.app.extensions["scim.work"].pieces["retention"] for scim in (first, second)]

    due = [piece.is_due() for piece in pieces]
    pieces[0].run(lambda: False)

    assert due == [True, True]
    assert [piece.is_due() for piece in pieces] == [False, False]
    database = first.app.extensions["scim.delivery"].database
    with database.transaction():
        database.run("UPDATE scim_lease SET until = 1 WHERE name = 'retention'")
    assert [piece.is_due() for piece in pieces] == [True, True]


@pytest.mark.sqlite
def test_leases_name_the_base(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**_ALL)

    scim.work()

    database = scim.app.extensions["scim.delivery"].database
    (owner,) = database.row("SELECT owner FROM scim_lease WHERE name = 'retention'")
    assert owner.startswith("default/")


@pytest.mark.sqlite
def test_a_request_that_waits_is_answered_by_the_result_made_in_the_process(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without looks of its own, a wake-up alone ends the wait.
    monkeypatch.setattr("app.work.wakeups._FIRST_LOOK_S", _LONG_S)
    monkeypatch.setattr("app.edge.deferral._BRIEFLY_S", 15)
    scim = make_scim(**{**_ALL, "EMBEDDED_WORKER": "true"})

    answer = scim("POST", "/Users", {"userName": "a"}, headers={"Prefer": "respond-async, wait=15"})

    assert answer.status_code == 201


@pytest.mark.sqlite
def test_each_result_wakes_readers_once(make_scim: Callable[..., ScimClient]) -> None:
    scim = make_scim(**_ALL)
    wakeups = scim.app.extensions["scim.delivery"].wakeups
    before = wakeups.count(RESULTS)

    scim.work()
    idle = wakeups.count(RESULTS)
    for name in "ab":
        scim("POST", "/Users", {"userName": name}, headers={"Prefer": "respond-async"})
    scim.work()

    assert (idle - before, wakeups.count(RESULTS) - before) == (0, 2)


@pytest.mark.sqlite
def test_a_long_poll_ends_with_a_change_made_in_the_process(
    make_scim: Callable[..., ScimClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.work.wakeups._FIRST_LOOK_S", _LONG_S)
    scim = make_scim(**{**_ALL, "SET_POLL_WAIT": str(int(_LONG_S))})
    delivery, answers = scim.app.extensions["scim.delivery"], []
    waiting = threading.Event()
    wait = delivery.wakeups.wait

    def watched(*arguments: object) -> bool:
        waiting.set()
        return bool(wait(*arguments))

    monkeypatch.setattr(delivery.wakeups, "wait", watched)
    reader = threading.Thread(target=lambda: answers.append(scim("POST", "/Events/Feeds/default/Stream", {})))
    reader.start()
    waiting.wait()
    scim.user("a")
    reader.join()

    assert len(answers[0].json["sets"]) == 1
