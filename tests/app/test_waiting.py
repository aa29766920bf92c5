"""Requests that wait hold no thread of `scim serve`: long polls, and `Prefer: wait`."""

import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import Server
from tests.web_servers import connect, head, rest_of

THREADS = 2
POLL = head("POST", "/Events/Feeds/default/Stream", "Content-Length: 2", "Connection: close") + b"{}"

Ask = Callable[[bytes, int], list[socket.socket]]


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve(
        WORKERS="1",
        THREADS=str(THREADS),
        SET_POLL_ENABLED="true",
        SET_POLL_WAIT="60",
        ASYNC_REQUEST="long",
        EMBEDDED_WORKER="false",
        LOGLEVEL="ERROR",
    )


@pytest.fixture
def ask(server: Server) -> Iterator[Ask]:
    """Yield a function that sends a request on several connections, and returns these."""
    with ExitStack() as stack:

        def sent(request: bytes, count: int) -> list[socket.socket]:
            connections = [stack.enter_context(connect(server)) for _ in range(count)]
            for connection in connections:
                connection.sendall(request)
            return connections

        yield sent


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    return select.select(connections, [], [], 0)[0]


def user_later(name: str) -> bytes:
    body = json.dumps({"userName": name}).encode()
    lines = (f"Content-Length: {len(body)}", "Prefer: respond-async, wait=15", "Connection: close")
    return head("POST", "/Users", *lines) + body


def sets_in(answer: bytes) -> dict[str, Any]:
    assert answer.startswith(b"HTTP/1.1 200"), answer
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["sets"]
    return found


@pytest.mark.sqlite
@pytest.mark.parametrize("request_", [POLL, user_later("later")], ids=["polls", "asynchronous requests"])
def test_others_are_served_while_more_requests_wait_than_there_are_threads(
    server: Server, ask: Ask, request_: bytes
) -> None:
    waiting = ask(request_, 4 * THREADS)

    statuses = [server("GET", "/Users").status_code for _ in range(4 * THREADS)]

    assert statuses == [200] * (4 * THREADS)
    assert answered(waiting) == []


@pytest.mark.sqlite
def test_a_change_answers_every_poll_that_waits(server: Server, ask: Ask) -> None:
    waiting = ask(POLL, 4 * THREADS)
    assert server("GET", "/Users").status_code == 200

    assert server("POST", "/Users", json={"userName": "a"}).status_code == 201

    found = [sets_in(rest_of(connection)) for connection in waiting]
    assert [len(sets) for sets in found] == [1] * len(waiting)


@pytest.mark.sqlite
def test_the_end_of_the_server_answers_what_waits(server: Server, ask: Ask) -> None:
    polls, requests = ask(POLL, THREADS), ask(user_later("later"), 1)
    assert server("GET", "/Users").status_code == 200

    assert server.stop() == 0

    assert [sets_in(rest_of(connection)) for connection in polls] == [{}] * THREADS
    assert [rest_of(connection).startswith(b"HTTP/1.1 202") for connection in requests] == [True]


@pytest.mark.sqlite
def test_a_client_that_is_gone_keeps_nobody_from_being_served(server: Server, ask: Ask) -> None:
    for connection in ask(POLL, 4 * THREADS):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    (waiting,) = ask(POLL, 1)
    assert server("GET", "/Users").status_code == 200

    assert server("POST", "/Users", json={"userName": "a"}).status_code == 201

    assert len(sets_in(rest_of(waiting))) == 1
