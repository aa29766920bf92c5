"""`scim serve` and clients that send little, slowly or nothing: requests of others are answered."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from app.server.connections import Bounds, Channel, Connections
from tests.conftest import KEY, USER, Server
from tests.web_servers import connect, head, many_connections, rest_of

_HALF_HEAD = head("GET", "/Users")[:-4]
_HALF_BODY = head("POST", "/Users", "Content-Length: 1000") + b'{"userName":'
_CHUNKED = head("POST", "/Users", "Transfer-Encoding: chunked")
_BEGINNINGS = {
    "half a head": _HALF_HEAD,
    "half a body": _HALF_BODY,
    "half a chunk": _CHUNKED + b"ff\r\n{",
    "nothing": b"",
    "a whole request": head("GET", "/health"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """One server that is patient and one that is not."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/scim.db"
    common = {"DATABASE_URL": url, "LOGLEVEL": "ERROR", "WORKERS": "1", "THREADS": "4"}
    made = {
        "patient": Server(**common),
        "quick": Server(**common, REQUEST_TIMEOUT="0.5", KEEPALIVE_TIMEOUT="0.5"),
        "small": Server(**common, MAX_CONNECTIONS="20"),
    }
    yield made
    for server in made.values():
        server.kill()


def is_served(server: Server) -> bool:
    return all(server("GET", path).status_code == 200 for path in ("/health", "/Users?count=1"))


@pytest.mark.parametrize("beginning", _BEGINNINGS)
def test_two_thousand_connections_keep_nobody_from_being_served(
    servers: dict[str, Server], beginning: str
) -> None:
    held = many_connections(servers["patient"], 2000, _BEGINNINGS[beginning])

    assert is_served(servers["patient"])

    for connection in held:
        connection.close()


def test_of_too_many_connections_those_that_waited_longest_end(servers: dict[str, Server]) -> None:
    held = many_connections(servers["small"], 100, _HALF_HEAD)

    assert is_served(servers["small"])
    assert held[0].recv(1) == b""
    held[-1].sendall(b"\r\nConnection: close\r\n\r\n")
    assert rest_of(held[-1]).startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()


def test_whoever_is_answered_where_there_is_no_room_learns_that_it_was_the_last(
    servers: dict[str, Server],
) -> None:
    with connect(servers["small"]) as connection:
        held = many_connections(servers["small"], 19, _HALF_HEAD)
        answer = b""
        for _ in range(50):
            if b"Connection: close" not in answer:
                connection.sendall(head("GET", "/health"))
                answer = connection.recv(65536)

    assert b"\r\nConnection: close\r\n" in answer
    for one in held:
        one.close()


@pytest.mark.parametrize("beginning", ["half a head", "half a body", "half a chunk"])
def test_half_a_request_has_its_time(servers: dict[str, Server], beginning: str) -> None:
    with connect(servers["quick"]) as connection:
        connection.sendall(_BEGINNINGS[beginning])
        answer = rest_of(connection)

    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == "408"


@pytest.mark.parametrize("beginning", ["half a head", "half a body"])
def test_a_byte_now_and_then_buys_no_time(servers: dict[str, Server], beginning: str) -> None:
    with connect(servers["quick"]) as connection:
        connection.settimeout(0.1)
        connection.sendall(_BEGINNINGS[beginning])
        for _ in range(100):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(b"a")

    assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("beginning", ["nothing", "a whole request"])
def test_an_idle_connection_ends(servers: dict[str, Server], beginning: str) -> None:
    with connect(servers["quick"]) as connection:
        connection.sendall(_BEGINNINGS[beginning])
        answer = rest_of(connection)

    assert answer.startswith(b"HTTP/1.1 200") or (beginning == "nothing" and answer == b"")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /Users\x01 HTTP/1.1\r\nHost\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (head("POST", "/Users", "Content-Length: -1"), 400),
        (head("POST", "/Users", "Content-Length: 9x") + b"{}", 400),
        (head("POST", "/Users", "Transfer-Encoding: gzip") + b"{}", 501),
        (head("GET", "/Users?filter=" + "x" * 300_000), 431),
        (head("GET", "/Users", "X-Much: " + "x" * 300_000), 431),
        (head("POST", "/Users", f"Content-Length: {(8 << 20) + 1}") + b"x" * ((8 << 20) + 1), 413),
        (head("POST", "/Users", "Content-Length: " + "9" * 5000), 400),
        (head("POST", "/Users", "Content-Length: x", "Expect: 100-continue"), 400),
        (head("GET", "http://[/Users"), 400),
        (head("GET", "/Users", "X-Folded: a\r\n b"), 400),
        # Naive expressions take minutes for these, and nobody is served meanwhile.
        (b"GET a://" + b"1" * 60_000 + b" x HTTP/1.1\r\n\r\n", 400),
        (head("GET", "/Users", "X-Much:" + " " * 60_000 + "\x01"), 400),
        (_CHUNKED + b"1;a=" + b"x" * 60_000, 431),
        (_CHUNKED + b"0\r\nX-Trailer: " + b"x" * 60_000, 431),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_what_never_becomes_a_request_is_answered_with_a_scim_error(
    servers: dict[str, Server], request_bytes: bytes, status: int
) -> None:
    with connect(servers["patient"]) as connection:
        connection.sendall(request_bytes)
        beginning, _, body = rest_of(connection).partition(b"\r\n\r\n")

    assert beginning.startswith(b"HTTP/1.1 %d" % status)
    assert b"Content-Type: application/scim+json" in beginning
    assert json.loads(body)["status"] == str(status)


@pytest.mark.parametrize(
    "request_head",
    [
        head("POST", "/Users", "Transfer-Encoding: chunked", "Content-Length: 5"),
        head("POST", "/Users", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        head("POST", "/Users", "Transfer-Encoding: ", "Content-Length: 5"),
        _CHUNKED.replace(b"1.1", b"1.0").replace(b"Host:", b"Connection: keep-alive\r\nHost:"),
        _CHUNKED.replace(b"1.1", b"1.2"),
    ],
)
def test_a_body_whose_end_may_be_seen_elsewhere_is_refused(
    servers: dict[str, Server], request_head: bytes
) -> None:
    with connect(servers["patient"]) as connection:
        connection.sendall(request_head + b"0\r\n\r\n" + head("GET", "/health"))
        answers = rest_of(connection)

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"400"]


def test_whoever_expects_to_continue_without_a_body_is_answered(servers: dict[str, Server]) -> None:
    with connect(servers["patient"]) as connection:
        connection.sendall(head("GET", "/health", "Expect: 100-continue", "Connection: close"))

        assert rest_of(connection).startswith(b"HTTP/1.1 200")


def test_the_indent_of_a_header_costs_no_more_than_its_length(servers: dict[str, Server]) -> None:
    with connect(servers["patient"]) as connection:
        connection.sendall(head("GET", "/health", "X-Much:" + " " * 60_000 + "a", "Connection: close"))

        assert rest_of(connection).startswith(b"HTTP/1.1 200")


def test_requests_in_one_packet_are_answered_in_order(servers: dict[str, Server]) -> None:
    with connect(servers["patient"]) as connection:
        one = head("GET", "/health")
        connection.sendall(one + head("GET", "/Users/none") + head("GET", "/health", "Connection: close"))
        answers = rest_of(connection)

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200"]


def test_a_longer_answer_than_a_client_reads_at_once_arrives_whole(servers: dict[str, Server]) -> None:
    server = servers["patient"]
    filler = [{"value": f"{number:0100}@example.com"} for number in range(5000)]
    created = server("POST", "/Users", json={"userName": "long", "emails": filler})
    path = created.json()["meta"]["location"]
    with connect(server) as connection:
        for _ in range(9):
            connection.sendall(head("GET", path))
        connection.sendall(head("GET", path, "Connection: close"))
        # The other threads are free meanwhile.
        assert is_served(server)
        answers = rest_of(connection)

    assert answers.count(b"@example.com") == 10 * 5000


def test_a_client_that_does_not_read_its_answer_ends(servers: dict[str, Server]) -> None:
    filler = [{"value": f"{number:0100}@example.org"} for number in range(5000)]
    created = servers["patient"]("POST", "/Users", json={"userName": "unread", "emails": filler})
    with connect(servers["quick"]) as connection:
        connection.sendall(head("GET", created.json()["meta"]["location"]) * 20)
        with pytest.raises(ConnectionError):
            for _ in range(300):
                time.sleep(0.1)
                connection.sendall(b"\r\n")


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A connection without a process, and its client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=30)
        with pytest.warns(DeprecationWarning, match="send_bytes"):
            connections = Connections(None, [listener], Bounds(30, 75, 10, 1000), 0)
        channel = Channel(connections, *listener.accept())
        yield channel, client
        channel.handle_close()
        client.close()
        connections.receiving.close()
        connections.sending.close()


def test_the_end_of_an_answer_does_not_wait_for_the_next(pair: tuple[Channel, socket.socket]) -> None:
    channel, client = pair
    channel.requests.append(None)
    channel.write_soon(b"the end")

    channel.handle_write()

    assert client.recv(100) == b"the end"


def test_a_request_that_has_come_is_not_cut_by_the_end_of_an_idle_connection(
    pair: tuple[Channel, socket.socket],
) -> None:
    channel, client = pair
    client.sendall(head("GET", "/health"))

    channel.judge(time.monotonic() + 76)
    assert channel.connected
    channel.handle_read()
    assert channel.requests

    channel.requests.clear()
    channel.judge(time.monotonic() + 76)
    assert not channel.connected


def test_an_answer_without_a_body_keeps_the_connection(servers: dict[str, Server]) -> None:
    client = http.client.HTTPConnection("127.0.0.1", servers["patient"].port, timeout=30)
    credentials = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/scim+json"}

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
        client.request(method, path, body, credentials | headers)
        answer = client.getresponse()
        answer.read()
        return answer

    made = ask("POST", "/Users", json.dumps({"schemas": [USER], "userName": "keeps"}))
    first = client.sock
    path, tag = made.getheader("Location", ""), made.getheader("ETag", "")

    assert ask("GET", path, **{"If-None-Match": tag}).status == 304
    assert ask("DELETE", path).status == 204
    assert ask("GET", path).status == 404
    assert client.sock is first is not None
    assert ask("DELETE", path, Connection="close").getheader("Connection") == "close"
