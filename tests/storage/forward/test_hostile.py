"""Upstreams that answer rubbish, half, late, elsewhere or not at all."""

import datetime
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, Selection, StorageAdapter
from storage.errors import (
    BackendTimeout,
    BadBackendAnswer,
    OutcomeUnknown,
    ResourceNotFound,
    StorageError,
    StorageReadOnly,
    StorageUnavailable,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from storage.search import search
from storage.testing import GROUP, REGISTRY, USER, represent, stored
from tests.backends import open_backend
from tests.conftest import KEY, ScimClient, error_of
from tests.storage.forward.hostile import (
    Behaviour,
    HostileServer,
    answering,
    dripping,
    in_turn,
    raw,
    silent,
)

SECRET = "s3cret-upstream-key"
TIMEOUT_S = 0.6

CALLS: list[Callable[[StorageAdapter], object]] = [
    lambda adapter: adapter.check(),
    lambda adapter: adapter.get(USER, "1"),
    lambda adapter: adapter.create(USER, stored("2", userName="b")),
    lambda adapter: adapter.replace(USER, stored("1", userName="b")),
    lambda adapter: adapter.delete(USER, "1"),
    lambda adapter: list(adapter.scan(USER)),
    lambda adapter: search(adapter, USER, Selection(), represent),
    lambda adapter: list(adapter.members(GROUP, stored("g"))),
    lambda adapter: adapter.among_members(GROUP, stored("g"), ["1"]),
    lambda adapter: adapter.change_members(
        GROUP, stored("g"), [Member("1", "User")], [Member("2", "User")]
    ),
    lambda adapter: adapter.memberships(USER, [stored("1")]),
    lambda adapter: adapter.find(["1", "2"]),
]


@pytest.fixture
def hostile() -> Iterator[Callable[[Behaviour], HostileServer]]:
    servers: list[HostileServer] = []

    def start(behaviour: Behaviour) -> HostileServer:
        servers.append(HostileServer(behaviour))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., StorageAdapter]]:
    adapters: list[StorageAdapter] = []

    def connected(url: str, key: str = SECRET, timeout_s: float = TIMEOUT_S) -> StorageAdapter:
        settings = {"forward_scim_url": url, "forward_scim_key": key, "remote_timeout": timeout_s}
        adapters.append(open_backend("forward", **settings))
        adapters[-1].prepare(REGISTRY.resource_types)
        return adapters[-1]

    yield connected
    for adapter in adapters:
        adapter.close()


RUBBISH: dict[str, tuple[Behaviour, type[StorageError]]] = {
    "a web page": (answering("200 OK", b"<html>hello</html>", kind="text/html"), BadBackendAnswer),
    "text called JSON": (answering("200 OK", b"hello"), BadBackendAnswer),
    "a list": (answering("200 OK", b"[1, 2]"), BadBackendAnswer),
    "no UTF-8": (answering("200 OK", b'{"id": "\xff"}'), BadBackendAnswer),
    "half a body": (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": "1'), BadBackendAnswer),
    "half an object": (raw(b'HTTP/1.1 200 OK\r\n\r\n{"id": "1'), BadBackendAnswer),
    "half a chunk": (
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{"id"'),
        BadBackendAnswer,
    ),
    "no HTTP": (raw(b"+OK POP3 ready\r\n"), BadBackendAnswer),
    "nothing": (raw(b""), BadBackendAnswer),
    "a failure": (answering("500 Oops", b'{"detail": "stack"}'), BadBackendAnswer),
    "another place": (answering("302 Found", b"", "Location: http://192.0.2.1/"), BadBackendAnswer),
    "down for long": (answering("503 Down", b"", "Retry-After: 3600"), StorageUnavailable),
    "down for no number": (
        raw(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\nRetry-After: \xb2\r\n\r\n"),
        StorageUnavailable,
    ),
    "down for very long": (answering("503 Down", b"", f"Retry-After: {'9' * 5000}"), StorageUnavailable),
    "down until no date": (
        answering("503 Down", b"", "Retry-After: Mon, 01 Jan 2026 00:00:00 -99999999999999"),
        StorageUnavailable,
    ),
    "down until the year 99999999999": (
        answering("503 Down", b"", "Retry-After: 1 Jan 99999999999 0:0:0 GMT"),
        StorageUnavailable,
    ),
    "silence": (silent, BackendTimeout),
    "drops": (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b" " * 99), BackendTimeout),
    "a refused key": (answering("401 No", b'{"detail": "who are you"}'), StorageUnavailable),
}


# After these, the upstream has certainly created nothing.
UNTOUCHED = ("another place", "a refused key", "down")


@pytest.mark.parametrize("kind", RUBBISH)
@pytest.mark.parametrize("call", CALLS[1:4] + CALLS[5:7])
def test_rubbish_is_a_clear_error_in_time(
    hostile: Callable[[Behaviour], HostileServer],
    connect: Callable[..., StorageAdapter],
    kind: str,
    call: Callable[[StorageAdapter], object],
) -> None:
    behaviour, expected = RUBBISH[kind]
    if call is CALLS[2] and not kind.startswith(UNTOUCHED):
        expected = OutcomeUnknown
    adapter = connect(hostile(behaviour).url)
    begun = time.monotonic()

    with pytest.raises(expected) as caught:
        call(adapter)

    # The configuration of the upstream may be asked for first, and rubbish is no configuration.
    assert time.monotonic() - begun < 2 * TIMEOUT_S + 5
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
def test_an_upstream_that_is_down_is_unavailable(
    hostile: Callable[[Behaviour], HostileServer],
    connect: Callable[..., StorageAdapter],
    call: Callable[[StorageAdapter], object],
) -> None:
    server = HostileServer(silent)
    server.close()
    adapter = connect(server.url)

    with pytest.raises(StorageUnavailable) as caught:
        call(adapter)

    assert not isinstance(caught.value, (BackendTimeout, BadBackendAnswer))


def test_the_key_goes_to_no_other_place(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    other = hostile(answering("200 OK", b'{"id": "1"}'))
    for status in ("301 Moved", "307 There", "308 There"):
        adapter = connect(hostile(answering(status, b"", f"Location: {other.url}/Users/1")).url)
        with pytest.raises(BadBackendAnswer):
            adapter.get(USER, "1")

    assert other.requests == []


def test_the_key_is_in_no_log_and_in_no_error(
    hostile: Callable[[Behaviour], HostileServer],
    connect: Callable[..., StorageAdapter],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    said = []
    busy = in_turn(answering("429 Wait", b"", "Retry-After: 0"), answering("401 No"))
    server = hostile(busy)
    for key in (SECRET, f"{SECRET}\u00e9", f"{SECRET}\r\nX: y", f"{SECRET}\u20ac"):
        with pytest.raises(StorageUnavailable) as caught:
            connect(server.url, key).get(USER, "1")
        said.append(repr(caught.value))

    assert SECRET not in "".join(said) + caplog.text
    assert any(SECRET.encode() in request for request in server.requests)


def test_a_certificate_nobody_vouches_for_is_refused(
    tmp_path: Path, connect: Callable[..., StorageAdapter]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))

    with HostileServer(silent, context) as server:
        adapter = connect(f"https://localhost:{server.port}")

        with pytest.raises(StorageUnavailable, match="not trusted"):
            adapter.get(USER, "1")

    assert server.requests == []


def test_what_speaks_no_tls_is_unavailable(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    server = hostile(raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"))

    with pytest.raises(StorageUnavailable, match="TLS with the upstream"):
        connect(server.url.replace("http:", "https:")).get(USER, "1")


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


# -- asking again

USER_JSON = b'{"schemas": [], "id": "7", "userName": "a", "meta": {"version": "W/\\"1\\""}}'


def test_a_request_that_was_put_off_is_sent_again(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    wait = answering("429 Too Many", b"", "Retry-After: 0")
    server = hostile(in_turn(wait, wait, answering("201 Created", USER_JSON)))

    created = connect(server.url).create(USER, stored("x", userName="a"))

    assert created.id == "7"
    assert [request.split(b" ")[0] for request in server.requests][:3] == [b"POST"] * 3


def test_reading_is_tried_again_and_creating_is_not(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    for broken in (answering("503 Down"), raw(b"")):
        server = hostile(in_turn(broken, answering("200 OK", USER_JSON)))
        assert connect(server.url).get(USER, "7").id == "7"
        server = hostile(in_turn(broken, answering("201 Created", USER_JSON)))
        with pytest.raises(OutcomeUnknown):
            connect(server.url).create(USER, stored("x", userName="a"))
        assert len(server.requests) == 1


def test_a_deletion_that_is_sent_twice_is_done_once(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    server = hostile(in_turn(answering("502 Bad Gateway"), answering("404 Not Found")))

    connect(server.url).delete(USER, "7")

    assert len(server.requests) == 2


READ = b'{"schemas": [], "id": "7", "userName": "a", "title": "t", "meta": {"version": "W/\\"1\\""}}'
FAILED_AFTER_SENDING: list[tuple[str, list[Behaviour]]] = [
    ("PUT", [answering("502 Bad Gateway"), answering("412 No")]),
    ("PUT", [answering("500 Oops")]),
    ("PUT", [raw(b"")] * 4),
    ("PUT", [answering("503 Down"), answering("503 Down", b"", "Retry-After: 9")]),
    # It was done, and what became of it cannot be read.
    ("PUT", [answering("204 No Content"), answering("500 Oops")]),
    ("DELETE", [answering("502 Bad Gateway"), answering("412 No")]),
    ("DELETE", [silent]),
    ("POST", [answering("201 Created", b"{}")]),
    ("POST", [answering("201 Created", b"", "Location: /Users/7"), answering("500 Oops")]),
    ("PATCH", [answering("200 OK", b"<")]),
]


@pytest.mark.parametrize(("method", "behaviours"), FAILED_AFTER_SENDING)
def test_what_becomes_of_a_change_that_was_sent_is_not_known(
    hostile: Callable[[Behaviour], HostileServer],
    connect: Callable[..., StorageAdapter],
    method: str,
    behaviours: list[Behaviour],
) -> None:
    first = [] if method == "POST" else [answering("200 OK", READ)]
    # The configuration is asked for once, before or after.
    config = answering("200 OK", b'{"patch": {"supported": true}}')
    later = in_turn(*first, *behaviours)

    def behaviour(connection: Any, request: bytes) -> None:
        (config if b"ServiceProviderConfig" in request else later)(connection, request)

    adapter = connect(hostile(behaviour).url, timeout_s=3.0 if len(behaviours) == 4 else TIMEOUT_S)
    calls: dict[str, Callable[[], object]] = {
        "POST": lambda: adapter.create(USER, stored("x", userName="a")),
        "PUT": lambda: adapter.replace(USER, stored("7", userName="b"), "1"),
        "DELETE": lambda: adapter.delete(USER, "7", "1"),
        "PATCH": lambda: adapter.change_members(GROUP, stored("7"), [Member("1", "User")], ()),
    }

    with pytest.raises(OutcomeUnknown):
        calls[method]()


def test_a_later_attempt_that_reaches_nobody_does_not_hide_the_first(
    connect: Callable[..., StorageAdapter],
) -> None:
    def behaviour(connection: Any, request: bytes) -> None:
        if request.startswith(b"PUT"):
            server.close()
            answering("502 Bad Gateway")(connection, request)
        else:
            answering("200 OK", READ)(connection, request)

    server = HostileServer(behaviour)

    with pytest.raises(OutcomeUnknown, match="cannot be reached"):
        connect(server.url, timeout_s=2.0).replace(USER, stored("7", userName="b"), "1")


# -- what the upstream says to a client


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        ("400", b'{"scimType": "invalidValue", "detail": "title: too long"}', ValueRefused),
        ("400", b"oops", ValueRefused),
        ("403", b'{"detail": "not yours"}', StorageReadOnly),
        ("409", b'{"scimType": "uniqueness", "detail": "the userName is taken"}', UniquenessConflict),
        ("413", b'{"detail": "too large"}', ValueRefused),
        ("501", b'{"detail": "cannot"}', UnsupportedByBackend),
    ],
)
def test_refusals_of_the_upstream_are_those_of_the_client(
    hostile: Callable[[Behaviour], HostileServer],
    connect: Callable[..., StorageAdapter],
    status: str,
    body: bytes,
    expected: type[StorageError],
) -> None:
    adapter = connect(hostile(answering(f"{status} No", body)).url)

    with pytest.raises(expected) as caught:
        adapter.create(USER, stored("x", userName="a"))

    assert type(caught.value) is expected


def test_a_lost_race_is_a_mismatch(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    def behaviour(connection: Any, request: bytes) -> None:
        is_read = request.startswith(b"GET")
        answering("200 OK", USER_JSON)(connection, request) if is_read else answering("412 No")(
            connection, request
        )

    server = hostile(behaviour)
    adapter = connect(server.url)

    with pytest.raises(VersionMismatch):
        adapter.replace(USER, stored("7", userName="b"), "1")
    with pytest.raises(VersionMismatch):
        adapter.delete(USER, "7", "1")
    assert b'If-Match: W/"1"' in server.requests[-1]


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [(silent, 504), (answering("200 OK", b"hello"), 502), (answering("503 Down"), 503)],
)
def test_clients_are_told_what_is_wrong_with_the_upstream(
    hostile: Callable[[Behaviour], HostileServer], behaviour: Behaviour, status: int
) -> None:
    server = hostile(behaviour)
    environ = {
        "API_KEY": KEY,
        "FORWARD_SCIM_URL": server.url,
        "FORWARD_SCIM_KEY": SECRET,
        "REMOTE_TIMEOUT": "0.5",
    }
    app = create_app(Settings.from_env(environ))
    scim = ScimClient(app.test_client())

    detail = error_of(scim("GET", "/Users/1"), status)

    assert SECRET not in detail
    assert scim("GET", "/health/ready").status_code == status
    app.extensions["scim.storage"].close()


def test_ids_that_are_none_are_not_asked_for(
    hostile: Callable[[Behaviour], HostileServer], connect: Callable[..., StorageAdapter]
) -> None:
    server = hostile(answering("204 No Content"))
    adapter = connect(server.url)

    for resource_id in ("", ".", "..", "../Groups/1", "a/../b", "a\x00b", "a\nb", "\ud800", "x" * 2000):
        for call in (adapter.get, adapter.delete):
            with pytest.raises(ResourceNotFound):
                call(USER, resource_id)
    assert server.requests == []
