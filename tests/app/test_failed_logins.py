"""Failed logins in the change log: counted per address and minute, bounded, and never with a credential."""

import threading
from collections.abc import Callable, Sequence

import orjson
import pytest

from app.protocol.failed_logins import MOST_ADDRESSES, FailedLogin, FailedLogins
from set_delivery.change_log import LoggedChange
from storage.errors import StorageUnavailable
from tests.conftest import KEY, ScimClient, Server
from tests.events import POLL, sets

Make = Callable[..., ScimClient]
WRONG = "wrong-key-of-somebody"


def written(scim: ScimClient) -> list[LoggedChange]:
    """Return the rows of failed logins, after a look at whether the log verifies."""
    delivery = scim.app.extensions["scim.delivery"]
    if delivery.audit.failed_logins is not None:
        delivery.audit.failed_logins.write()
    delivery.dispatcher.run()
    assert delivery.order.verify() == []
    return [one for one in delivery.log.after(0, 1000) if one.entry.kind == "login-failed"]


def test_failed_logins_of_an_address_are_a_row_with_a_count(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="on", **POLL)
    for number in range(3):
        headers = {"Authorization": f"Bearer {WRONG}{number // 2}"}
        assert scim("GET", "/Users", headers=headers).status_code == 401
    assert scim("POST", "/Users", {}, {"Authorization": "", "x-api-key": WRONG}).status_code == 401
    assert scim("GET", "/Groups/g", headers={"Authorization": ""}).status_code == 401
    assert scim("GET", "/Bulk", headers={"Authorization": "Basic c2VjcmV0"}).status_code == 405
    assert scim("GET", "/metrics", headers={"Authorization": "Basic c2VjcmV0"}).status_code == 401
    scim.user("ann")

    rows = written(scim)

    found = [(one.entry.credential, orjson.loads(one.after or "")["attempts"]) for one in rows]
    assert found == [("bearer", 3), ("x-api-key", 1), ("none", 1), ("other", 1)]
    for one in rows:
        entry = one.entry
        assert (entry.address, entry.principal, entry.resource_type) == ("127.0.0.1", None, "")
    fingerprints = [orjson.loads(one.after or "")["fingerprints"] for one in rows]
    assert [len(some) for some in fingerprints] == [2, 1, 0, 0]
    assert not set(fingerprints[1]) & set(fingerprints[0])
    database = scim.app.extensions["scim.delivery"].database
    cells = str([database.rows(f"SELECT * FROM {table}") for table in ("scim_change", "scim_change_value")])
    assert WRONG not in cells and KEY not in cells and "c2VjcmV0" not in cells
    assert len(sets(scim)) == 1, "events are of resources only"
    assert written(scim) == rows


@pytest.mark.on("sqlite")
def test_without_a_log_nothing_is_counted(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="off", **POLL)
    assert scim("GET", "/Users", headers={"Authorization": ""}).status_code == 401

    assert scim.app.extensions["scim.delivery"].audit.failed_logins is None and written(scim) == []


@pytest.mark.on("sqlite", "postgresql")
def test_many_addresses_share_a_row(make_scim: Make) -> None:
    scim = make_scim(CHANGE_LOG="on", EMBEDDED_WORKER="false")
    for number in range(MOST_ADDRESSES + 20):
        address = {"REMOTE_ADDR": f"192.0.2.{number}"}
        scim("GET", "/Users", headers={"Authorization": "Bearer x"}, environ_overrides=address)

    rows = written(scim)

    assert len(rows) == MOST_ADDRESSES + 1
    (shared,) = [one for one in rows if one.entry.address is None]
    assert orjson.loads(shared.after or "")["attempts"] == 20


@pytest.mark.on("sqlite", "postgresql")
def test_a_server_that_ends_writes_what_it_has_counted(serve: Callable[..., Server], make_scim: Make) -> None:
    environ = {"CHANGE_LOG": "on", "EMBEDDED_WORKER": "false"}
    server = serve(**environ)
    assert server("GET", "/Users", headers={"Authorization": f"Bearer {WRONG}"}).status_code == 401

    server.stop()

    (row,) = written(make_scim(**environ))
    assert row.entry.address == "127.0.0.1"


class Store:
    """Keeps what is written, or cannot."""

    def __init__(self) -> None:
        self.is_down = False
        self.kept: list[FailedLogin] = []
        self.written = threading.Event()

    def __call__(self, logins: Sequence[FailedLogin]) -> None:
        if self.is_down:
            raise StorageUnavailable("down")
        self.kept += logins
        self.written.set()


def test_what_cannot_be_written_is_counted_on() -> None:
    store = Store()
    logins = FailedLogins(store, key=b"k" * 32)
    store.is_down = True
    logins.note("192.0.2.1", "bearer", "a")
    logins.write()
    logins.note("192.0.2.1", "bearer", "b")
    logins.write()
    store.is_down = False
    logins.note("192.0.2.1", "bearer", "a")
    logins.write()
    logins.write()

    (one,) = store.kept
    assert (one.attempts, len(one.fingerprints)) == (3, 2)
    assert one.first_at <= one.last_at


def test_requests_of_many_threads_are_all_counted_and_written_by_the_clock() -> None:
    store = Store()
    logins = FailedLogins(store, window_s=0.05)

    def send() -> None:
        for _ in range(500):
            logins.note("192.0.2.1", "bearer", "a")

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.written.wait(60)
    logins.write()

    assert sum(one.attempts for one in store.kept) == 2000
    assert all(one.fingerprints == set() for one in store.kept), "there is no key for them"


def test_a_row_has_a_few_fingerprints_at_the_most() -> None:
    store = Store()
    logins = FailedLogins(store, key=b"k" * 32)
    for number in range(50):
        logins.note("192.0.2.1", "bearer", f"guess {number}")
    logins.write()

    assert len(store.kept[0].fingerprints) == 10 and store.kept[0].attempts == 50
