"""`scim serve` as an operator runs it: several processes, signals, power failures."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Server


def test_sigterm_stops_it_cleanly(serve: Callable[..., Server]) -> None:
    server = serve()

    assert server("GET", "/Users").status_code == 200
    assert server.stop() == 0


def test_every_problem_with_the_settings_is_said_at_the_start() -> None:
    scim = Path(sys.executable).parent / "scim"

    ended = subprocess.run(
        [scim, "serve"], env={"PORT": "abc", "PAGE_SIZE": "0"}, capture_output=True, text=True, timeout=30
    )

    assert ended.returncode != 0
    assert "PORT" in ended.stderr and "PAGE_SIZE" in ended.stderr
    assert "Traceback" not in ended.stderr


def in_threads(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_twenty_parallel_creates_one_wins(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="2", LOGLEVEL="ERROR")
    statuses: Counter[int] = Counter()

    def create(_: int) -> None:
        statuses[server("POST", "/Users", json={"userName": "same"}).status_code] += 1

    in_threads(create, 20)

    assert statuses == {201: 1, 409: 19}
    assert server("GET", "/Users").json()["totalResults"] == 1


@pytest.mark.parametrize("after", [10, 40])
def test_what_was_acknowledged_survives_kill_9(serve: Callable[..., Server], after: int) -> None:
    server = serve(WORKERS="2", LOGLEVEL="ERROR")
    acknowledged: list[str] = []
    enough = threading.Event()

    def create(number: int) -> None:
        for step in range(200):
            name = f"u{number}-{step}"
            try:
                answer = server("POST", "/Users", json={"userName": name, "emails": [{"value": f"{name}@x"}]})
            except OSError:
                return
            assert answer.status_code == 201
            acknowledged.append(name)
            if len(acknowledged) >= after:
                enough.set()

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(30)
    server.kill()
    for thread in threads:
        thread.join()
    server.start()

    for name in acknowledged:
        both = f'userName eq "{name}" and emails.value eq "{name}@x"'
        found = server("GET", "/Users", params={"filter": both})
        assert found.json()["totalResults"] == 1, name
    # Nothing is half-written either: what is listed can be found by each of its values.
    everything = server("GET", "/Users?count=0").json()["totalResults"]
    found = server("GET", "/Users", params={"filter": "emails.value pr", "count": 0})
    assert found.json()["totalResults"] == everything >= len(acknowledged)


def test_processes_see_each_others_changes_at_once(serve: Callable[..., Server]) -> None:
    server = serve(WORKERS="3", LOGLEVEL="ERROR")
    path = server("POST", "/Users", json={"userName": "a"}).json()["meta"]["location"]

    for number in range(20):
        server("PUT", path, json={"userName": "a", "title": str(number)})
        assert server("GET", path).json()["title"] == str(number)
