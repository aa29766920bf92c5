"""Push delivery to receivers that really listen, and fail in every way."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from joserfc import jwt
from joserfc.jwk import KeySet

from set_delivery import push
from set_delivery.answers import judged, pause_after
from set_delivery.change_log import ChangeLog
from set_delivery.clock import now_ms
from set_delivery.events import ChangeEvents
from set_delivery.inventory import Inventory
from set_delivery.leases import take_lease
from set_delivery.push import Pusher
from set_delivery.streams import Publishing, Receiver
from set_delivery.tokens import private_key, published
from storage.index.database import Database
from tests.receivers import (
    ACCEPTS,
    Behaviour,
    HttpReceiver,
    answers,
    drips,
    hangs_up,
    make_certificate,
    refuses,
    says_nothing,
)
from tests.set_delivery.conftest import (
    append,
    dispatcher_of,
    user_change,
    user_event,
)

# Nobody is as slow as that by accident.
TIMEOUT_S = 5.0
IMPATIENT_S = 0.5

TOKEN_IS_OVER = "status 400: authentication_failed: the token is over"
# Its zone is further away than any date of Python.
FAR_ZONE = "Mon, 01 Jan 2026 00:00:00 +99999999999999"


class Delivery:
    """What delivers to one receiver, under a clock that tests set."""

    def __init__(self, database: Database, url: str, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self.receiver = Receiver("r", url, token)
        publishing = Publishing("scim", receivers=(self.receiver,), timeout_s=timeout_s)
        self.database = database
        self.later_ms = 0
        self.log = ChangeLog(database)
        self.dispatcher = dispatcher_of(database, publishing)
        self.inventory = Inventory(database, publishing)
        self.pushers = [Pusher(database, publishing, owner, self.now) for owner in ("one", "two")]

    def now(self) -> int:
        return now_ms() + self.later_ms

    def change(self, *numbers: int) -> None:
        """Make changes that are to be delivered."""
        for number in numbers:
            append(self.log, user_change(number))
        self.dispatcher.run()

    def run(self) -> int:
        """Deliver what is due."""
        return self.pushers[0].run(self.receiver)

    def wait(self) -> None:
        """Let the pause after a failure pass."""
        self.later_ms += 400_000

    def close(self) -> None:
        for pusher in self.pushers:
            pusher.close()


@pytest.fixture
def deliver(database: Database) -> Iterator[Callable[..., Delivery]]:
    made: list[Delivery] = []

    def make(url: str, token: str = "", timeout_s: float = TIMEOUT_S) -> Delivery:
        made.append(Delivery(database, url, token, timeout_s))
        return made[-1]

    yield make
    for delivery in made:
        delivery.close()


def users(receiver: HttpReceiver) -> list[str]:
    """Return the ids of the users that arrived, in order."""
    return [claims["sub_id"]["id"] for claims in receiver.claims]


def test_sets_are_delivered_in_order_over_one_connection(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url, "the-token")
    delivery.change(*range(120))

    assert delivery.run() == 120

    assert users(receiver) == [str(number) for number in range(120)]
    assert len(receiver.connections) == 1
    headers = receiver.attempts[0].headers
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["Content-Type"] == "application/json"
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.dead, state.problem) == (0, 120, 0, None)


def test_sets_that_threads_sign_ahead_leave_in_order_and_again_after_a_failure(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url)
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    key = private_key(pem, "RS256")
    signing = replace(delivery.receiver, key=key)
    delivery.change(*range(70))
    receiver.first = [*[ACCEPTS] * 12, refuses("invalid_request"), *[ACCEPTS] * 5, answers(500)]

    assert delivery.pushers[0].run(signing) == 18
    delivery.wait()
    assert delivery.pushers[0].run(signing) == 52

    arrived = [*range(19), *range(18, 70)]
    assert users(receiver) == [str(number) for number in arrived]
    jtis = [claims["jti"] for claims in receiver.claims]
    assert jtis[18] == jtis[19] and len(set(jtis)) == 70
    keys = KeySet.import_key_set(json.loads(json.dumps(published([key]))))
    for attempt in receiver.attempts:
        assert jwt.decode(attempt.body.decode(), keys, algorithms=["RS256"]).claims == attempt.claims
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.dead) == (0, 69, 1)


@pytest.mark.parametrize(
    "behaviour, problem",
    [
        (answers(500), "status 500"),
        (answers(503, {"Retry-After": "1"}), "status 503"),
        (answers(429, {"Retry-After": "1"}), "status 429"),
        (answers(401), "status 401"),
        (answers(400), "status 400"),
        (answers(400, body=b'{"err": 5}'), "status 400"),
        (answers(400, body=b'{"err": ""}'), "status 400"),
        (refuses("authentication_failed", "the token is over"), TOKEN_IS_OVER),
        (refuses("access_denied"), "status 400: access_denied: "),
        (answers(302, {"Location": "/elsewhere"}), "status 302"),
        (answers(500, {"Retry-After": "\xb2"}), "status 500"),
        (answers(503, {"Retry-After": FAR_ZONE}), "status 503"),
        (answers(429, {"Retry-After": "1 Jan 99999999999 0:0:0 GMT"}), "status 429"),
        (says_nothing, "ReadTimeout"),
        (hangs_up, "ConnectionError"),
        (drips(500), "status 500"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_is_tried_again_and_nothing_is_lost_or_overtaken(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, behaviour: Behaviour, problem: str
) -> None:
    delivery = deliver(receiver.url, timeout_s=IMPATIENT_S)
    delivery.change(1, 2, 3)
    receiver.first = [ACCEPTS, behaviour]

    assert delivery.run() == 1
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.attempts, state.problem) == (2, 1, problem)
    assert delivery.run() == 0, "it is left alone until the pause is over"
    delivery.wait()
    assert delivery.run() == 2

    assert users(receiver) == ["1", "2", "2", "3"]
    jtis = [claims["jti"] for claims in receiver.claims]
    assert jtis[1] == jtis[2], "a SET that is sent again is the same SET"
    assert delivery.inventory.receivers()[0].problem is None


def test_a_set_that_cannot_be_sent_takes_nothing_back(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is nested more deeply than JSON is written: what was taken before it is not sent again."""
    delivery = deliver(receiver.url)
    full = replace(delivery.receiver, mode="full")
    delivery.change(1)
    append(delivery.log, ChangeEvents("txn-2", [replace(user_event(2), data={"deep": 0})]))
    delivery.dispatcher.run()
    deep = '{"a":' * 300 + "0" + "}" * 300
    with delivery.database.transaction():
        where = "UPDATE scim_set SET event = REPLACE(event, ?, ?)"
        delivery.database.run(where, ('{"deep":0}', deep))

    assert delivery.pushers[0].run(full) == 1
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.attempts) == (1, 1, 1)
    assert state.due_in_s > 0 and "cannot be sent" in caplog.text
    assert delivery.pushers[0].run(full) == 0, "it is left alone until the pause is over"
    delivery.wait()
    assert delivery.pushers[0].run(full) == 0

    assert users(receiver) == ["1"]
    assert delivery.inventory.receivers()[0].attempts == 2


def test_a_receiver_that_is_down_gets_everything_when_it_is_up_again(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url)
    receiver.stop()
    delivery.change(1, 2)

    assert delivery.run() == 0
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.problem) == (2, "ConnectionError")
    receiver.start()
    delivery.wait()

    assert delivery.run() == 2
    assert users(receiver) == ["1", "2"]


def test_an_answer_that_drips_holds_up_nobody_and_its_status_counts(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url, timeout_s=IMPATIENT_S)
    delivery.change(1, 2)
    receiver.first = [drips(202)]

    started = time.monotonic()
    assert delivery.run() == 2

    assert time.monotonic() - started < 40 * IMPATIENT_S
    assert users(receiver) == ["1", "2"]


def test_a_redirect_is_not_followed(deliver: Callable[..., Delivery], receiver: HttpReceiver) -> None:
    other = HttpReceiver()
    delivery = deliver(receiver.url, "the-token")
    delivery.change(1)
    for status in (301, 302, 303, 307, 308):
        receiver.first = [answers(status, {"Location": other.url})]
        assert delivery.run() == 0
        delivery.wait()
    other.stop()

    assert other.attempts == []
    assert delivery.inventory.receivers()[0].pending == 1


@pytest.mark.parametrize("location", ["\xff\xfe", "http://[::1", "http://x:99999/"])
def test_a_redirect_to_no_url_is_a_failure_like_any_other(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, location: str
) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1, 2)
    receiver.first = [ACCEPTS, answers(302, {"Location": location})]

    assert delivery.run() == 1

    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.problem) == (1, 1, "status 302")


def test_a_host_that_cannot_be_is_a_failure_like_any_other(deliver: Callable[..., Delivery]) -> None:
    delivery = deliver(f"http://{'a' * 64}.example/")
    delivery.change(1)

    assert delivery.run() == 0

    assert delivery.inventory.receivers()[0].attempts == 1


def test_tls_is_verified(
    deliver: Callable[..., Delivery], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = make_certificate(tmp_path)
    receiver = HttpReceiver(context)
    delivery = deliver(receiver.url)
    delivery.change(1)

    assert delivery.run() == 0
    assert delivery.inventory.receivers()[0].problem == "SSLError"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    delivery.wait()
    assert delivery.pushers[1].run(delivery.receiver) == 1

    assert users(receiver) == ["1"]
    receiver.stop()


def test_a_set_that_is_refused_without_a_reason_does_not_hold_up_the_queue_for_ever(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1, 2, 3)

    def minds_the_second(handler: object) -> None:
        is_second = receiver.claims[-1]["sub_id"]["id"] == "2"
        (answers(400, body=b"I do not like it") if is_second else ACCEPTS)(handler)  # type: ignore[arg-type]

    receiver.behaviour = minds_the_second
    assert delivery.run() == 1
    delivery.later_ms += 86_000_000
    assert delivery.run() == 0
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.dead, state.refused) == (2, 1, 0, 0)
    delivery.later_ms += 800_000
    assert delivery.run() == 2

    assert users(receiver) == ["1", "2", "2", "2", "3"]
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.dead, state.refused) == (0, 2, 1, 1)
    (letter,) = delivery.inventory.dead_letters()
    assert letter.reason == "status 400" and letter.jti == receiver.claims[1]["jti"]
    assert f"the SET {letter.jti} is given up" in caplog.text
    assert delivery.inventory.retry("r") == 1
    assert delivery.run() == 0, "it has its time again"
    assert delivery.inventory.receivers()[0].dead == 0


def test_a_receiver_that_does_not_know_the_transmitter_gets_everything_when_it_does(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    """However long that takes: nothing is wrong with any of the SETs."""
    delivery = deliver(receiver.url)
    delivery.change(1, 2)
    receiver.first = [refuses("authentication_failed"), refuses("access_denied"), refuses("access_denied")]
    for _ in range(3):
        assert delivery.run() == 0
        delivery.later_ms += 90_000_000

    assert delivery.run() == 2
    assert users(receiver) == ["1", "1", "1", "1", "2"]


@pytest.mark.parametrize("words", ["not for us", "two\nlines\x00and\x1b[31mmore", "\u2028", "x" * 5000])
def test_what_is_refused_stays_visible_and_holds_up_nothing(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1, 2)
    receiver.first = [refuses("invalid_request", words)]

    assert delivery.run() == 2

    assert users(receiver) == ["1", "2"]
    (state,) = delivery.inventory.receivers()
    assert (state.pending, state.delivered, state.dead) == (0, 1, 1)
    (letter,) = delivery.inventory.dead_letters()
    assert letter.reason.startswith("invalid_request: ") and letter.reason.isprintable()
    assert letter.jti == receiver.claims[0]["jti"]
    assert len(caplog.records) == 1 and "\n" not in caplog.records[0].getMessage()


def test_a_dead_letter_is_delivered_again_or_forgotten(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url)
    receiver.first = [refuses("invalid_key")] * 3
    delivery.change(1, 2, 3)
    delivery.run()
    first, second, third = (claims["jti"] for claims in receiver.claims)

    assert delivery.inventory.retry("r", [second, "unknown"]) == 1
    assert delivery.inventory.drop("r", [first]) == 1
    assert delivery.run() == 1
    assert delivery.inventory.drop("r") == 1

    assert receiver.claims[-1]["jti"] == second
    assert delivery.inventory.dead_letters() == []
    assert delivery.inventory.receivers()[0].delivered == 1


def test_retry_does_not_wait_for_the_pause_to_pass(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1)
    receiver.first = [answers(503, {"Retry-After": "3600"})]
    delivery.run()
    assert delivery.inventory.receivers()[0].due_in_s > 3500

    assert delivery.inventory.retry("r") == 0
    assert delivery.run() == 1


def test_what_is_pending_can_be_given_up(deliver: Callable[..., Delivery], receiver: HttpReceiver) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1, 2)

    assert delivery.inventory.drop_pending("r") == 2
    assert delivery.run() == 0
    assert receiver.attempts == []


def test_a_log_line_tells_of_each_failure_and_of_no_secret(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "set_delivery")
    delivery = deliver(receiver.url, "the-token", IMPATIENT_S)
    delivery.change(1)
    for behaviour in (answers(500), hangs_up, says_nothing):
        receiver.first = [behaviour]
        delivery.run()
        delivery.wait()

    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert all("receiver r: attempt" in record.getMessage() for record in caplog.records)
    assert "the-token" not in caplog.text and "ext-1" not in caplog.text


def test_one_process_at_a_time_delivers_to_a_receiver(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its answer takes longer than the lease would last by itself."""
    monkeypatch.setattr(push, "_LEASE_S", 0.4)
    delivery = deliver(receiver.url)
    delivery.change(1, 2)
    arrived, go_on = threading.Event(), threading.Event()

    def is_slow(handler: object) -> None:
        arrived.set()
        go_on.wait(10)
        ACCEPTS(handler)  # type: ignore[arg-type]

    receiver.first = [is_slow]
    thread = threading.Thread(target=lambda: (delivery.run(), delivery.database.close()))
    thread.start()
    assert arrived.wait(5)
    time.sleep(0.8)

    assert delivery.pushers[1].run(delivery.receiver) == 0
    go_on.set()
    thread.join()

    assert users(receiver) == ["1", "2"]
    assert delivery.database.row("SELECT owner FROM scim_lease WHERE name = 'push r'") is None


def test_the_lease_of_a_process_that_is_gone_is_taken_over(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1)
    assert take_lease(delivery.database, "push r", "a process that is gone", 0.5)

    assert delivery.run() == 0
    time.sleep(0.6)

    assert delivery.run() == 1


def test_who_lost_its_lease_stops(
    deliver: Callable[..., Delivery], receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_LEASE_S", 0.4)
    delivery = deliver(receiver.url)
    delivery.change(1, 2, 3)

    def lets_it_be_taken(handler: object) -> None:
        with delivery.database.transaction():
            delivery.database.run("UPDATE scim_lease SET owner = 'another'")
        delivery.database.close()
        time.sleep(0.6)
        ACCEPTS(handler)  # type: ignore[arg-type]

    receiver.first = [lets_it_be_taken]

    assert delivery.run() == 1
    assert users(receiver) == ["1"]


def test_it_stops_between_two_sets_when_it_is_told_to(
    deliver: Callable[..., Delivery], receiver: HttpReceiver
) -> None:
    delivery = deliver(receiver.url)
    delivery.change(1, 2, 3)

    assert delivery.pushers[0].run(delivery.receiver, lambda: len(receiver.attempts) >= 2) == 2

    assert delivery.inventory.receivers()[0].pending == 1


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_success_is_an_acknowledgement(status: int) -> None:
    assert judged(status, b"", None).taken


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503, 504, 302, 100])
def test_what_may_pass_is_no_refusal(status: int) -> None:
    outcome = judged(status, b"not JSON", None)

    assert not outcome.taken and outcome.refused is None
    assert outcome.problem == f"status {status}"


@pytest.mark.parametrize("status", [409, 410, 413, 415, 422])
def test_what_cannot_pass_is_a_refusal(status: int) -> None:
    assert judged(status, b"", None).refused == f"status {status}"


def test_an_error_code_is_a_refusal_in_the_words_of_the_receiver() -> None:
    assert judged(400, b'{"err": "invalid_issuer"}', None).refused == "invalid_issuer"
    assert judged(400, b'{"err": "a", "description": "b"}', None).refused == "a: b"
    assert judged(500, b'{"err": "a"}', None).refused is None


@pytest.mark.parametrize("code", ["invalid_request", "invalid_key", "invalid_issuer", "invalid_audience"])
def test_codes_about_the_set_are_final(code: str) -> None:
    outcome = judged(400, b'{"err": "%s"}' % code.encode(), None)

    assert outcome.refused == code and not outcome.is_doubtful


@pytest.mark.parametrize("code", ["authentication_failed", "access_denied"])
def test_codes_about_the_transmitter_are_as_passing_as_401(code: str) -> None:
    outcome = judged(400, b'{"err": "%s"}' % code.encode(), "60")

    assert outcome.refused is None and not outcome.taken and not outcome.is_doubtful
    assert (outcome.problem, outcome.retry_after_s) == (f"status 400: {code}", 60.0)


@pytest.mark.parametrize(
    "said, seconds",
    [("120", 120.0), (" 7 ", 7.0), ("0", 0.0), ("", None), ("soon", None), ("-5", None), ("1.5", None)],
)
def test_retry_after_in_seconds(said: str, seconds: float | None) -> None:
    assert judged(503, b"", said).retry_after_s == seconds


def test_retry_after_as_a_date() -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)

    for said in (format_datetime(at, usegmt=True), format_datetime(at.replace(tzinfo=None))):
        assert judged(503, b"", said).retry_after_s == pytest.approx(100, abs=3)
    assert judged(503, b"", "Mon, 01 Jan 2001 00:00:00 GMT").retry_after_s == 0.0


@pytest.mark.parametrize(
    "said",
    [
        *("\xb2", "9" * 400, "9" * 5000, "Sat, 01 Jan 99999 00:00:00 GMT", "\xff" * 50, "1, 2"),
        *(FAR_ZONE, FAR_ZONE.replace("+", "-"), "1 Jan 99999999999 0:0:0 GMT", FAR_ZONE + "9" * 5000),
    ],
)
def test_retry_after_that_makes_no_sense_harms_nothing(said: str) -> None:
    assert 0.5 <= pause_after(1, judged(503, b"", said).retry_after_s) <= 86400


def test_pauses_grow_with_jitter_up_to_a_limit_and_never_below_what_was_asked_for() -> None:
    for attempts, longest in ((1, 1.0), (2, 2.0), (5, 16.0), (9, 256.0), (10, 300.0), (1000, 300.0)):
        pauses = [pause_after(attempts, None) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1
    assert pause_after(1, 60.0) == 60.0
    assert pause_after(20, 1.0) >= 150.0
