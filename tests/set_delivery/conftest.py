"""What the tests of event delivery share: a state database of each kind, and changes to fill it with."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from set_delivery.change_log import ChangeEntry, ChangeLog
from set_delivery.change_order import ChangeOrder
from set_delivery.clock import now_ms
from set_delivery.dispatch import Dispatcher
from set_delivery.events import CREATE, ChangeEvents, Event, FeedMembership, Subject
from set_delivery.streams import Publishing
from set_delivery.tables import prepare_state
from storage.index.database import Database
from storage.sql.opening import open_database
from tests.receivers import HttpReceiver

STATES = ("sqlite", "postgresql", "mariadb")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of the state database on every kind of it."""
    if "state_url" in metafunc.fixturenames:
        names = metafunc.config.getoption("--backend") or STATES
        metafunc.parametrize("state_url", [name for name in STATES if name in names], indirect=True)


@pytest.fixture
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    url: str = request.getfixturevalue(request.param).new_database()
    return url


@pytest.fixture
def database(state_url: str) -> Iterator[Database]:
    opened = open_database(state_url)
    prepare_state(opened)
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    listening = HttpReceiver()
    yield listening
    listening.stop()


def user_event(number: int, kind: str = CREATE) -> Event:
    """Return an event about a user of that number."""
    return Event(kind, Subject(f"/Users/{number}", str(number), f"ext-{number}"), 'W/"1"', ["userName"])


def user_change(number: int) -> ChangeEvents:
    """Return the change that made a user of that number."""
    return ChangeEvents(f"txn-{number}", [user_event(number)])


def members_change(count: int) -> ChangeEvents:
    """Return a change that let so many users join the feed of a group."""
    joined = tuple(FeedMembership(Subject(f"/Users/{number}", str(number)), True) for number in range(count))
    event = Event(CREATE, Subject("/Groups/g", "g"), 'W/"1"', ["members"])
    return ChangeEvents("txn-g", [event], ["g"], "g", joined)


def entry_of(change: ChangeEvents, at: int | None = None) -> ChangeEntry:
    """Return a row of the log for a change, made now or `at` that time."""
    return ChangeEntry(
        at or now_ms(), "User", "1", None, "create", 'W/"1"', "[]", "p", "c", "", "rest", change.txn, None
    )


def append(log: ChangeLog, change: ChangeEvents, at: int | None = None) -> int:
    """Append a change to the log as a writer does, with its events, and return its `seq`."""
    log.append(entry_of(change, at), orjson.dumps(change.as_json()).decode())
    return log.of_txn(change.txn)[-1].seq


def dispatcher_of(database: Database, publishing: Publishing) -> Dispatcher:
    """Return what takes over the changes of a log that keeps history."""
    return Dispatcher(database, ChangeLog(database), ChangeOrder(database), publishing)
