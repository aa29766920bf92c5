"""The receiver of docs/how-to/receive-events.md: which SETs it takes and refuses, and that it loses none."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.conftest import Server
from tests.docs.pages import DOCS, blocks
from tests.ports import free_port
from tests.receivers import HttpReceiver

SCRIPT: Final = DOCS / "how-to/receiver.py"
SECEVENT: Final = {"Content-Type": "application/secevent+jwt"}
_PATIENCE_S: Final = 60


class Process:
    """The receiver as a process; its database is in `folder`."""

    def __init__(self, folder: Path, keys: str) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._arguments = [str(self.port), keys, "scim", "me"]
        self.start()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        with open(self._folder / "receiver.log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *self._arguments], cwd=self._folder, stdout=log, stderr=log
            )
        _wait_for(lambda: self._answers() or self.process.poll() is not None)
        assert self.process.poll() is None, (self._folder / "receiver.log").read_text()

    def _answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).status_code == 501
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        """End the process as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def is_at_a_request(self) -> bool:
        """Return whether it has a connection besides the socket that it listens on."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return sum("socket:" in os.readlink(entry) for entry in folder.iterdir()) > 1

    def post(self, token: str, headers: Mapping[str, str] = SECEVENT) -> requests.Response:
        """Send a token as a transmitter does."""
        return requests.post(self.url, token.encode(), headers=dict(headers), timeout=_PATIENCE_S)

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / "received.db", timeout=60, isolation_level=None)

    def inbox(self) -> list[dict[str, Any]]:
        """Return the claims that it has stored, in order."""
        with closing(self.database()) as database:
            rows = database.execute("SELECT claims FROM inbox ORDER BY rowid")
            return [json.loads(text) for (text,) in rows]


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def relay() -> Iterator[HttpReceiver]:
    """What the server sends to; a test decides what becomes of it."""
    relay = HttpReceiver()
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, key: ec.EllipticCurvePrivateKey, relay: HttpReceiver
) -> Iterator[Server]:
    """A server that signs with `key` and pushes to `relay`."""
    folder = tmp_path_factory.mktemp("server")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    server = Server(
        DATABASE_URL=f"sqlite:///{folder}/scim.db",
        SET_PUSH_URL=relay.url,
        SET_AUDIENCE="me",
        SET_SIGNING_KEY_FILES=str(folder / "key.pem"),
        SET_SIGNING_ALGORITHM="ES256",
        WORKERS="1",
        LOGLEVEL="ERROR",
    )
    yield server
    server.kill()


@pytest.fixture
def process(server: Server, relay: HttpReceiver, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, f"{server.url}/.well-known/jwks.json")
    relay.behaviour = _passes_on(process)
    relay.attempts.clear()
    yield process
    process.kill()


@pytest.fixture
def signed(server: Server, key: ec.EllipticCurvePrivateKey) -> Callable[..., str]:
    """Return a function that makes a SET of the server's key, with the claims and parts given."""
    kid = requests.get(f"{server.url}/.well-known/jwks.json", timeout=30).json()["keys"][0]["kid"]

    def sign(
        claims: Mapping[str, Any] | None = None, signer: Any = key, algorithm: str = "ES256", **header: str
    ) -> str:
        whole = {
            "iss": "scim",
            "aud": "me",
            "iat": int(time.time()),
            "jti": "j1",
            "sub_id": {"format": "scim", "uri": "/Users/1"},
            "events": {"urn:ietf:params:scim:event:prov:delete": {}},
        }
        merged = {name: value for name, value in {**whole, **(claims or {})}.items() if value is not None}
        return jwt.encode(merged, signer, algorithm, {"typ": "secevent+jwt", "kid": kid, **header})

    return sign


def test_the_page_shows_the_script() -> None:
    page = (DOCS / "how-to/receive-events.md").read_text()

    assert [b.text for b in blocks(page) if b.language == "python"] == [SCRIPT.read_text()]


def test_each_event_of_the_server_arrives_once_and_in_order(server: Server, process: Process) -> None:
    user = server("POST", "/Users", json={"userName": "a"}).json()["meta"]["location"]
    server("PUT", user, json={"userName": "b"})
    server("DELETE", user)

    _wait_for(lambda: len(process.inbox()) == 3)

    kinds = [next(iter(claims["events"])).split("event:")[1] for claims in process.inbox()]
    assert kinds == ["prov:create:notice", "prov:put:notice", "prov:delete"]


@pytest.mark.parametrize(
    "claims, err",
    [
        ({"iss": "another"}, "invalid_issuer"),
        ({"aud": "another"}, "invalid_audience"),
        ({"aud": None}, "invalid_request"),
        ({"jti": None}, "invalid_request"),
        ({"events": None}, "invalid_request"),
        ({"iat": 4_000_000_000}, "invalid_request"),
    ],
)
def test_a_set_with_wrong_claims_is_refused(
    process: Process, signed: Callable[..., str], claims: dict[str, Any], err: str
) -> None:
    answer = process.post(signed(claims))

    assert (answer.status_code, answer.json()["err"]) == (400, err)
    assert answer.headers["Content-Type"] == "application/json"
    assert process.inbox() == []


def test_a_set_that_another_key_has_signed_is_refused(
    process: Process, signed: Callable[..., str], key: ec.EllipticCurvePrivateKey
) -> None:
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    forged = [
        signed(signer=ec.generate_private_key(ec.SECP256R1())),
        signed(signer=ec.generate_private_key(ec.SECP256R1()), kid="unknown"),
    ]
    # With what everybody may know as the secret, and without any signature.
    unsuitable = [signed(signer=public, algorithm="HS256"), signed(signer="", algorithm="none"), "x.y.z", ""]

    assert [process.post(token).json()["err"] for token in forged] == ["invalid_key"] * 2
    assert [process.post(token).status_code for token in unsuitable] == [400] * 4
    assert process.inbox() == []


def test_another_kind_of_token_is_refused(process: Process, signed: Callable[..., str]) -> None:
    answers = [
        process.post(signed(typ="JWT")),
        process.post(signed(), {"Content-Type": "application/json"}),
    ]

    assert [(a.status_code, a.json()["err"]) for a in answers] == [(400, "invalid_request")] * 2
    assert process.inbox() == []


def test_a_repeated_jti_is_acknowledged_and_stored_once(
    process: Process, signed: Callable[..., str]
) -> None:
    statuses = [process.post(signed()).status_code for _ in range(2)]
    process.kill()
    process.start()
    statuses.append(process.post(signed()).status_code)

    assert statuses == [202] * 3
    assert len(process.inbox()) == 1


def test_a_receiver_without_keys_asks_for_the_set_again(tmp_path: Path, signed: Callable[..., str]) -> None:
    process = Process(tmp_path, f"http://127.0.0.1:{free_port()}/jwks.json")

    assert process.post(signed()).status_code == 503
    process.kill()


def test_nothing_is_lost_when_the_receiver_dies_before_it_has_stored_a_set(
    server: Server, process: Process
) -> None:
    with closing(process.database()) as database:
        # The receiver waits for this lock with the SET in its hands.
        database.execute("BEGIN IMMEDIATE")
        server("POST", "/Users", json={"userName": "before"})
        _wait_for(process.is_at_a_request)
        process.kill()
        database.execute("ROLLBACK")
    assert process.inbox() == []

    process.start()

    _wait_for(lambda: len(process.inbox()) == 1)


def test_nothing_comes_twice_when_the_receiver_dies_before_it_has_answered(
    server: Server, process: Process, relay: HttpReceiver
) -> None:
    def loses_the_answer(handler: Any) -> None:
        _passed_on(handler, process)
        process.kill()
        handler.close_connection = True
        process.start()

    relay.first.append(loses_the_answer)

    server("POST", "/Users", json={"userName": "after"})

    _wait_for(lambda: len(relay.attempts) >= 2)
    server("POST", "/Users", json={"userName": "later"})
    _wait_for(lambda: len(process.inbox()) >= 2)
    assert [list(claims["events"].values())[0]["version"] for claims in process.inbox()] == ['W/"1"'] * 2
    assert len({claims["sub_id"]["id"] for claims in process.inbox()}) == 2


def _passed_on(handler: Any, process: Process) -> int:
    """Send on what the relay got last, and return the status of the answer."""
    attempt = handler.receiver.attempts[-1]
    return process.post(attempt.body.decode(), {"Content-Type": attempt.headers["Content-Type"]}).status_code


def _passes_on(process: Process) -> Callable[[Any], None]:
    def behave(handler: Any) -> None:
        try:
            status = _passed_on(handler, process)
        except requests.ConnectionError:
            handler.close_connection = True
            return
        handler.wfile.write(f"HTTP/1.1 {status} Relayed\r\nContent-Length: 0\r\n\r\n".encode())

    return behave


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
