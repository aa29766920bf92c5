"""The client for services over HTTP, at servers on sockets."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest

from storage.errors import BackendTimeout, BadBackendAnswer, OutcomeUnknown, StorageUnavailable
from storage.remote import Client, Request, Service, client
from tests.storage.forward.hostile import Behaviour, HostileServer, answering, dripping, in_turn, raw, silent

KEY = "s3cret-key"
READ = Request("GET", "/x")
CREATE = Request("POST", "/x", body={"a": 1}, changes=True, repeatable=False)
CHANGE = Request("PUT", "/x", body={"a": 1}, changes=True)
OK = answering("200 OK", b'{"a": 1}')

Make = Callable[..., tuple[Client, HostileServer]]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[tuple[Client, HostileServer]] = []

    def start(*behaviours: Behaviour, timeout_s: float = 1.0, pool_size: int = 4) -> tuple[Client, Any]:
        server = HostileServer(in_turn(*behaviours))
        service = Service("the service", server.url, {}, KEY, ("X-Key", KEY), "refuses the key")
        made.append((Client(service, timeout_s, pool_size), server))
        return made[-1]

    yield start
    for one, server in made:
        one.close()
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"
SLOW: dict[str, list[Behaviour]] = {
    "silence": [silent],
    "a slow head": [dripping(HEAD + b" " * 60)],
    "a slow body": [lambda c, r: (c.sendall(HEAD), dripping(b" " * 60)(c, r))[1]],
    "silence after failures": [answering("503 Down"), raw(b""), silent],
}


@pytest.mark.parametrize("kind", SLOW)
def test_the_deadline_is_that_of_all_attempts_together(make: Make, kind: str) -> None:
    service, _ = make(*SLOW[kind])
    begun = time.monotonic()

    with pytest.raises(BackendTimeout):
        service.send(READ)

    assert 0.9 < time.monotonic() - begun < 1.5


@pytest.mark.parametrize("is_date", [False, True])
def test_a_service_names_the_time_of_the_next_attempt(make: Make, is_date: bool) -> None:
    begun = time.time()
    # A date has no fractions of a second.
    said = formatdate(begun + 2, usegmt=True) if is_date else "1"
    service, server = make(answering("503 Down", b"", f"Retry-After: {said}"), OK, timeout_s=5.0)

    assert service.send(CREATE).document == {"a": 1}

    assert 1 <= time.time() - begun < 3 and len(server.requests) == 2


def test_a_time_after_the_deadline_is_not_waited_for(make: Make) -> None:
    service, server = make(answering("429 Wait", b"", "Retry-After: 2"))
    begun = time.monotonic()

    with pytest.raises(StorageUnavailable, match="429"):
        service.send(CHANGE)

    assert time.monotonic() - begun < 0.9 and len(server.requests) == 1


@pytest.mark.parametrize("failure", [answering("500 Oops"), answering("502 Bad"), raw(b"")])
def test_of_changes_those_are_sent_again_that_may_be_done_twice(make: Make, failure: Behaviour) -> None:
    service, server = make(failure, OK)
    assert service.send(CHANGE).repeated and len(server.requests) == 2

    service, server = make(failure, OK)
    with pytest.raises(OutcomeUnknown):
        service.send(CREATE)
    assert len(server.requests) == 1


def test_a_service_that_always_fails_gets_a_bounded_number_of_requests(make: Make) -> None:
    service, server = make(answering("429 Wait", b"", "Retry-After: 0"), timeout_s=20.0)

    with pytest.raises(StorageUnavailable):
        service.send(Request("GET", "/x"))

    assert len(server.requests) == 8


@pytest.mark.parametrize("length", [b"", b"Content-Length: 3000\r\n"])
def test_an_answer_has_a_limit_of_size(
    make: Make, length: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_BYTES", 2000)
    monkeypatch.setattr(client, "MAX_STREAM_BYTES", 2000)
    service, _ = make(raw(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b" " * 3000))

    with pytest.raises(BadBackendAnswer, match="more than 2000 bytes"):
        service.send(READ)
    with pytest.raises(BadBackendAnswer, match="more than 2000 bytes"):
        with service.stream(READ) as (_, pieces):
            b"".join(pieces)


def test_a_caller_may_take_its_time_over_a_stream(make: Make) -> None:
    body = b" " * 400_000
    service, _ = make(answering("200 OK", body), timeout_s=0.5)

    with service.stream(READ) as (_, pieces):
        got = next(pieces)
        time.sleep(0.7)
        assert got + b"".join(pieces) == body


def test_the_key_is_in_no_text(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = b'{"detail": "no ' + KEY.encode() + b'"}'
    service, server = make(answering("429 Wait"), answering("400 No", echo))

    answer = service.send(READ)

    assert answer.document == {"detail": "no ***"}
    assert KEY not in caplog.text + repr(service) and f"X-Key: {KEY}".encode() in server.requests[0]


def test_no_more_requests_run_at_once_than_the_pool_has_connections(make: Make) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def counting(connection: Any, request: bytes) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        OK(connection, request)

    service, server = make(counting, timeout_s=10.0, pool_size=2)
    threads = [threading.Thread(target=service.send, args=(READ,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 2 and len(server.requests) == 8


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fork_waits_for_no_connection_of_its_parent(make: Make) -> None:
    service, _ = make(OK, pool_size=1)
    with service._connections.leased(time.monotonic() + 1):
        child = os.fork()
        if child == 0:
            os._exit(0 if service.send(READ).document == {"a": 1} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
