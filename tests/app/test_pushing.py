"""Events as receivers get them (RFC 8935): who gets what, signed how, and what operators see of it."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey

from app.cli import main
from app.configuration.settings import Settings, SettingsError
from tests.conftest import KEY, ScimClient, Server
from tests.events import EVENT, POLL, ask, kinds, patch, pushes, sets
from tests.receivers import ACCEPTS, HttpReceiver, answers, refuses


def test_receivers_get_their_own_share_in_their_own_way(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver
) -> None:
    other = HttpReceiver()
    described = [
        {
            "name": "deletes",
            "url": other.url,
            "token": "t2",
            "event_uris": [f"{EVENT}:prov:delete"],
            "audience": "o",
        },
        {"name": "full", "url": receiver.url + "/full", "mode": "full"},
    ]
    scim = pushes(
        *(make_scim, receiver), SET_PUSH_TOKEN="t1", SET_RECEIVERS=json.dumps(described), SET_AUDIENCE="all"
    )
    user = scim.user("a")["id"]
    scim("DELETE", f"/Users/{user}")
    scim.work()
    other.stop()

    (deleted,) = other.claims
    assert (deleted["aud"], other.attempts[0].headers["Authorization"]) == ("o", "Bearer t2")
    by_path: dict[str, list[str]] = {}
    for attempt in receiver.attempts:
        assert attempt.claims["aud"] == "all"
        by_path.setdefault(attempt.path, []).append(kinds([attempt.claims])[0][0])
        expected = "Bearer t1" if attempt.path == "/events" else None
        assert attempt.headers.get("Authorization") == expected
    assert by_path == {
        "/events": ["prov:create:notice", "prov:delete"],
        "/events/full": ["prov:create:full", "prov:delete"],
    }


def test_a_receiver_of_one_feed_gets_what_is_in_it(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver
) -> None:
    scim = make_scim(**POLL)
    inside, outside = scim.user("a")["id"], scim.user("b")["id"]
    group = scim.group("g", inside)["id"]
    described = json.dumps([{"url": receiver.url, "feeds": [group]}])
    scim = make_scim(SET_RECEIVERS=described, EMBEDDED_WORKER="false")
    for user in (inside, outside):
        patch(scim, f"/Users/{user}", {"op": "replace", "path": "title", "value": "T"})
    scim.work()

    pushed = [kind for kind in kinds(receiver.claims) if kind[0] == "prov:patch:notice"]
    assert pushed == [("prov:patch:notice", f"/Users/{inside}")]


def test_pushed_sets_are_signed_with_the_secret(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver
) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    scim = pushes(make_scim, receiver, SET_SIGNING_SECRET=secret)
    user = scim.user("a")
    scim.work()

    (attempt,) = receiver.attempts
    token = jwt.decode(attempt.body.decode(), OctKey.import_key(secret), algorithms=["HS256"])
    assert attempt.headers["Content-Type"] == "application/secevent+jwt"
    assert token.header == {"alg": "HS256", "typ": "secevent+jwt"}
    assert token.claims["sub_id"]["id"] == user["id"]


KEYS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def key_file(folder: Path, name: str, algorithm: str) -> str:
    path = folder / name
    key: Any = KEYS[algorithm]()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


@pytest.mark.sqlite
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_who_is_asked_to_end_lets_go_of_its_receivers(
    serve: Callable[..., Server], receiver: HttpReceiver, tmp_path: Path, command: str
) -> None:
    def takes_its_time(handler: Any) -> None:
        time.sleep(0.1)
        ACCEPTS(handler)

    receiver.behaviour = takes_its_time
    embedded = {"EMBEDDED_WORKER": str(command == "serve").lower()}
    server = serve(SET_PUSH_URL=receiver.url, WORKERS="1", LOGLEVEL="ERROR", **embedded)
    for number in range(30):
        server("POST", "/Users", json={"userName": f"u{number}"})
    scim = Path(sys.executable).parent / "scim"
    worker = subprocess.Popen([scim, command], env=server.environ) if command == "worker" else server.process
    assert receiver.wait_for(lambda: len(receiver.attempts) >= 3)

    worker.terminate()
    assert worker.wait(20) == 0

    assert len(receiver.attempts) < 30
    with closing(sqlite3.connect(tmp_path / "data" / "scim.db")) as database:
        leases = database.execute("SELECT name FROM scim_lease WHERE name LIKE 'push%'").fetchall()
        (pending,) = database.execute(
            "SELECT (SELECT COUNT(*) FROM scim_queue) + (SELECT COUNT(*) FROM scim_delivery)"
        ).fetchone()
    assert leases == []
    # What was taken is written down: it does not come twice.
    assert pending == 30 - len(receiver.attempts)


# RFC 9864 has new names for it; receivers know the old one.
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.sqlite
@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_keys_are_published_and_rotated_without_a_set_that_cannot_be_verified(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver, tmp_path: Path, algorithm: str
) -> None:
    old, new = key_file(tmp_path, "old.pem", algorithm), key_file(tmp_path, "new.pem", algorithm)
    signed = {"SET_SIGNING_ALGORITHM": algorithm, "SET_POLL_ENABLED": "true"}
    scim = pushes(make_scim, receiver, SET_SIGNING_KEY_FILES=f"{old}, {new}", **signed)
    scim.user("a")
    scim.work()
    known = scim("GET", "/.well-known/jwks.json", headers={"Authorization": ""})
    rotated = pushes(make_scim, receiver, SET_SIGNING_KEY_FILES=f"{new},{old}", **signed)
    rotated.user("b")
    rotated.work()

    assert known.headers["Content-Type"] == "application/jwk-set+json"
    assert "d" not in {name for key in known.json["keys"] for name in key}
    # Who fetched the keys before the rotation can verify what is signed after it.
    key_set = KeySet.import_key_set(known.json)
    tokens = [
        jwt.decode(attempt.body.decode(), key_set, algorithms=[algorithm]) for attempt in receiver.attempts
    ]
    assert [token.header["kid"] for token in tokens] == [key["kid"] for key in known.json["keys"]]
    assert {token.header["typ"] for token in tokens} == {"secevent+jwt"}
    for text in ask(rotated, {})["sets"].values():
        assert jwt.decode(text, key_set, algorithms=[algorithm]).claims["iss"] == "scim"


@pytest.mark.parametrize(
    "environ, problem",
    [
        ({"SET_RECEIVERS": "{"}, "SET_RECEIVERS: is not JSON"),
        ({"SET_RECEIVERS": '["http://x"]'}, "SET_RECEIVERS: [0]: must be an object with a url"),
        ({"SET_RECEIVERS": '[{"url": "ftp://x"}]'}, "SET_RECEIVERS: [0].url"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "tokn": "t"}]'}, "tokn is not a member of a receiver"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "feeds": [{}]}]'}, "[0].feeds"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "mode": "all"}]'}, "[0].mode"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "algorithm": "ES256"}]'}, "[0].algorithm"),
        ({"SET_RECEIVERS": '[{"url": "http://x"}, {"url": "http://x"}]'}, "two receivers called x"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "key_file": "/nowhere"}]'}, "/nowhere"),
        (
            {"SET_RECEIVERS": '[{"url": "http://x", "secret": "s", "algorithm": "RS256"}]'},
            "needs a private key",
        ),
        ({"SET_RECEIVERS": '[{"url": "http://x", "secret": ""}]'}, "[0].secret: is empty"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "secret": "s", "key_file": "k"}]'}, "both a secret and"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "name": "a\\nb"}]'}, "[0].name"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "feeds": "a"}]'}, "[0].feeds: must be a list"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "event_uris": ["a:b"]}]'}, "there is no event a:b"),
        (
            {"SET_RECEIVERS": json.dumps([{"url": "http://x", "event_uris": [f"{EVENT}:prov:put:full"]}])},
            f"[0].event_uris: {EVENT}:prov:put:full needs the mode full",
        ),
        ({"SET_RECEIVERS": '[{"url": "http://x"}, {}]'}, "SET_RECEIVERS: [1].url: is required"),
        ({"SET_RECEIVERS": '[{"url": "http://["}]'}, "SET_RECEIVERS: [0].url: Invalid IPv6 URL"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "token": null}]'}, "[0].token: must be a string"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "event_uris": [7]}]'}, "event_uris[0]: must be a string"),
        ({"SET_RECEIVERS": '[{"url": "http://x", "name": ""}]'}, "[0].name: is empty"),
        ({"SET_RECEIVERS": "7"}, "SET_RECEIVERS: must be a JSON list of objects"),
        ({"SET_PUSH_URL": "receiver.example.com"}, "SET_PUSH_URL"),
        ({"SET_PUSH_URL": "http://x:99999/"}, "SET_PUSH_URL: must be a URL"),
        ({"SET_PUSH_URL": "http://x", "SET_SIGNING_ALGORITHM": "ES256"}, "needs SET_SIGNING_KEY_FILES"),
        ({"SET_PUSH_URL": "http://x", "SET_PUSH_TOKEN": "a\u20acb"}, "token of the receiver push"),
        ({"SET_PUSH_URL": "http://x", "SET_PUSH_REQUIRE_TLS": "true"}, "receiver push is not https"),
        (
            {"SET_RECEIVERS": '[{"name": "r", "url": "http://x"}]', "SET_PUSH_REQUIRE_TLS": "true"},
            "the URL of the receiver r is not https",
        ),
        (
            {"SET_RECEIVERS": '[{"name": "push", "url": "http://x"}]', "SET_PUSH_URL": "http://y"},
            "has the name push",
        ),
        ({"SET_SIGNING_SECRET": "s", "SET_SIGNING_ALGORITHM": "ES256"}, "needs a private key"),
        ({"SET_SIGNING_ALGORITHM": "none"}, "SET_SIGNING_ALGORITHM: must be one of"),
        ({"SET_SIGNING_KEY_FILES": "/nowhere/key.pem", "SET_SIGNING_ALGORITHM": "ES256"}, "No such file"),
        ({"SET_SIGNING_KEY_FILES": __file__, "SET_SIGNING_ALGORITHM": "ES256"}, "is not a private key"),
        ({"SET_FEEDS": '["a", "a"]'}, "two feeds called a"),
        ({"SET_FEEDS": "a/b"}, "SET_FEEDS"),
        ({"SET_FEEDS": "[7]"}, "SET_FEEDS: [0]: must be a feed id, or an object with an id"),
        ({"SET_FEEDS": '["a", {"displayName": "B"}]'}, "SET_FEEDS: [1].id: is required"),
        ({"SET_FEEDS": '[{"id": "a", "displayName": 7}]'}, "SET_FEEDS: [0].displayName: must be a string"),
        ({"SET_FEEDS": "[]"}, "SET_FEEDS: must name a feed"),
        ({"SET_FEEDS": "a,.."}, "'..' cannot be a feed id"),
        ({"EVENT_MODE": "some"}, "EVENT_MODE"),
        ({"SET_POLL_MAX_EVENTS": "0"}, "SET_POLL_MAX_EVENTS"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({"API_KEY": KEY, **environ})

    assert problem in str(refusal.value)
    assert "a\u20acb" not in str(refusal.value)


def test_a_key_that_does_not_fit_the_algorithm_is_refused_at_the_start(tmp_path: Path) -> None:
    path = key_file(tmp_path, "key.pem", "ES256")
    for algorithm, problem in (("RS256", "does not fit RS256"), ("HS256", "cannot sign with HS256")):
        environ = {"SET_SIGNING_KEY_FILES": path, "SET_SIGNING_ALGORITHM": algorithm}
        with pytest.raises(SettingsError, match=problem):
            Settings.from_env(environ)


def test_the_log_of_the_settings_holds_no_secret() -> None:
    environ = {
        "SET_PUSH_URL": "https://user:the-secret@x/",
        "SET_PUSH_TOKEN": "the-secret",
        "SET_SIGNING_SECRET": "the-secret that is long enough to sign with",
        "SET_RECEIVERS": '[{"url": "https://x", "token": "the-secret"}]',
    }

    assert "the-secret" not in Settings.from_env(environ).shown()
    assert "the-secret" not in repr(Settings.from_env(environ).publishing)


def test_who_joins_or_leaves_a_feed_is_told_to_the_audience_and_of_the_feed(
    make_scim: Callable[..., ScimClient], receiver: HttpReceiver
) -> None:
    """The audience checks that it is meant, and learns from the feed where somebody joined."""
    own = [{"name": "own", "url": f"{receiver.url}/own", "audience": "own"}]
    environ = {"SET_AUDIENCE": "all", "BASE_URL": "https://scim.example.com", "SET_POLL_ENABLED": "true"}
    scim = pushes(make_scim, receiver, SET_RECEIVERS=json.dumps(own), **environ)
    user = scim.user("a")["id"]
    group = scim.group("g", user)["id"]
    patch(scim, f"/Groups/{group}", {"op": "remove", "path": "members"})
    scim.work()

    feed = f"https://scim.example.com/Events/Feeds/{group}"
    for path, audience in (("/events", "all"), ("/events/own", "own")):
        found = [attempt.claims for attempt in receiver.attempts if attempt.path == path]
        assert {kind for kind, _ in kinds(found)} > {"feed:add", "feed:remove"}
        for one in found:
            is_of_feed = kinds([one])[0][0].startswith("feed:")
            assert one["aud"] == ([audience, feed] if is_of_feed else audience)
    for name in ("default", group):
        told = [one["aud"] for one in sets(scim, name) if kinds([one])[0][0].startswith("feed:")]
        assert told == [["all", feed]] * 2


def test_figures_for_monitoring(make_scim: Callable[..., ScimClient], receiver: HttpReceiver) -> None:
    scim = pushes(make_scim, receiver, SET_POLL_ENABLED="true")
    receiver.first = [refuses("invalid_key")]
    receiver.behaviour = answers(500)
    for name in "abc":
        scim.user(name)
    waiting = scim("GET", "/metrics").text
    scim.work()

    answer = scim("GET", "/metrics")

    assert "\nscim_events_waiting 3.0\n" in waiting
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    figures = scim.figures()
    assert figures["scim_events_enabled"] == 1
    assert figures["scim_events_waiting"] == 0
    assert figures['scim_events_pending{receiver="push"}'] == 2
    assert figures['scim_events_dead{receiver="push"}'] == 1
    assert figures['scim_events_refused_total{receiver="push"}'] == 1
    assert figures['scim_events_delivered_total{receiver="push"}'] == 0
    assert figures['scim_events_dropped_total{receiver="push"}'] == 0
    assert figures['scim_events_failures{receiver="push"}'] == 1
    assert 0 <= float(figures['scim_events_oldest_pending_seconds{receiver="push"}']) < 60
    assert figures['scim_feed_held{feed="default"}'] == 3
    assert figures['scim_feed_unacknowledged{feed="default"}'] == 3
    assert figures['scim_feed_dropped_total{feed="default"}'] == 0
    described = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}
    of_histograms = re.compile("(_bucket|_sum|_count)$")
    assert {of_histograms.sub("", name.partition("{")[0]) for name in figures} <= described


def test_without_receivers_there_are_no_figures_of_them(scim: ScimClient) -> None:
    lines = scim("GET", "/metrics").text.splitlines()
    figures = [line for line in lines if line.startswith(("scim_events", "scim_feed"))]

    assert figures == ["scim_events_enabled 0.0"]


def run(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], *words: str) -> str:
    """Run the command `scim` and return what it says."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.sqlite
def test_operators_list_retry_and_drop(
    make_scim: Callable[..., ScimClient],
    receiver: HttpReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scim = pushes(make_scim, receiver, SET_POLL_ENABLED="true")
    environ = {
        "API_KEY": KEY,
        "LOGLEVEL": "ERROR",
        "DATABASE_URL": f"sqlite:///{tmp_path}/data/scim.db",
        "SET_PUSH_URL": receiver.url,
    }
    receiver.first = [refuses("invalid_key", "who?")] * 2 + [answers(503, {"Retry-After": "100"})]
    for name in "abc":
        scim.user(name)
    scim.work()
    first, second, _ = (claims["jti"] for claims in receiver.claims)

    listed = run(monkeypatch, environ, "events", "list")
    dead = run(monkeypatch, environ, "events", "list", "--dead")

    assert "receiver push: pending 1, delivered 0, dead 2, dropped 0" in listed
    assert "1 failed attempts in a row (status 503)" in listed
    assert "feed default: 3 events, 3 not acknowledged, 0 dropped" in listed
    assert [line.split("\t")[:2] for line in dead.splitlines()] == [["push", second], ["push", first]]
    assert "invalid_key: who?" in dead
    assert run(monkeypatch, environ, "events", "retry", "push", second) == "1 SETs to deliver again\n"
    scim.work()
    assert [claims["jti"] for claims in receiver.claims[3:]][0] == second
    assert run(monkeypatch, environ, "events", "drop", "push") == "1 SETs deleted\n"
    listed = run(monkeypatch, environ, "events", "list")
    assert "receiver push: pending 0, delivered 2, dead 0, dropped 0" in listed


@pytest.mark.sqlite
def test_what_is_not_meant_is_not_dropped(
    make_scim: Callable[..., ScimClient],
    receiver: HttpReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scim = pushes(make_scim, receiver)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/data/scim.db")
    monkeypatch.setenv("SET_PUSH_URL", receiver.url)
    monkeypatch.setenv("LOGLEVEL", "ERROR")
    scim.user("a")
    delivery = scim.app.extensions["scim.delivery"]
    delivery.dispatcher.run()

    for words, said in (
        (("retry", "psuh"), "there is no receiver psuh; the receivers are: push"),
        (("drop", "psuh", "--pending"), "there is no receiver psuh; the receivers are: push"),
        (("drop", "push", "a-jti", "--pending"), "cannot be used with JTI"),
    ):
        result = CliRunner().invoke(main, ["events", *words])
        assert result.exit_code != 0
        assert said in result.output
    (state,) = delivery.inventory.receivers()
    assert state.pending == 1


_FORKS = """
import os, threading, time
import wsgi

def runs():
    return any(thread.name == "scim events" for thread in threading.enumerate())

def waited():
    deadline = time.monotonic() + 60
    while not runs() and time.monotonic() < deadline:
        time.sleep(0.05)
    return runs()

assert not runs()
children = [os.fork()]
if children[0] == 0:
    os._exit(0 if waited() else 1)
assert os.waitpid(children[0], 0)[1] == 0
assert not runs(), "what the threads of a process are doing when it forks stays locked in the other one"
wsgi.application.test_client().get("/health")
assert runs()
"""


@pytest.mark.sqlite
def test_a_process_that_forks_those_that_serve_does_no_work_meanwhile(tmp_path: Path) -> None:
    environ = {"API_KEY": KEY, "LOGLEVEL": "ERROR", "SET_POLL_ENABLED": "true"}
    environ |= {"DATABASE_URL": f"sqlite:///{tmp_path}/scim.db", "PYTHONPATH": str(Path.cwd())}

    result = subprocess.run(
        [sys.executable, "-c", _FORKS], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert result.returncode == 0, result.stderr
