"""Streams: what a reader sees, acknowledges and refuses, and what it is told when it comes too late."""

import logging

import pytest

from set_delivery.change_log import ChangeLog
from set_delivery.poll import OutOfWindow, Part, Streams
from set_delivery.retention import Retention
from set_delivery.streams import Publishing
from storage.index.database import Database
from tests.set_delivery.conftest import (
    append,
    dispatcher_of,
    members_change,
    user_change,
)

POLL = Publishing("scim", poll=True, feed_size=5)


@pytest.fixture
def streams(database: Database) -> Streams:
    log = ChangeLog(database)
    for number in range(8):
        append(log, user_change(number))
    dispatcher_of(database, POLL).run()
    return Streams(database)


def users(part: Part) -> list[str | None]:
    return [one.event.subject.resource_id for one in part.sets]


def test_reading_goes_on_after_the_last_set(streams: Streams) -> None:
    first = streams.after("default", None, 3)
    second = streams.after("default", first.sets[-1].jti, 5)
    end = streams.after("default", second.sets[-1].jti, 5)

    assert users(first) == ["0", "1", "2"] and first.more_available
    assert users(second) == ["3", "4", "5", "6", "7"] and not second.more_available
    assert users(end) == [] and not end.more_available


def test_a_name_that_the_stream_does_not_hold_is_told_so(streams: Streams) -> None:
    for jti in ("nope", "' OR 1=1 --", "x" * 1000):
        with pytest.raises(OutOfWindow):
            streams.after("default", jti, 5)
    known = streams.after("default", None, 1).sets[0].jti
    with pytest.raises(OutOfWindow):
        streams.after("another", known, 5)


def test_what_was_trimmed_is_told_and_counted(database: Database, streams: Streams) -> None:
    read = streams.after("default", None, 8).sets

    Retention(database, POLL).run()

    with pytest.raises(OutOfWindow):
        streams.after("default", read[2].jti, 5)
    assert users(streams.after("default", None, 8)) == ["3", "4", "5", "6", "7"]
    assert users(streams.after("default", read[3].jti, 8)) == ["4", "5", "6", "7"]
    assert database.row("SELECT dropped FROM scim_feed")[0] == 3


def test_what_is_acknowledged_is_not_given_again(streams: Streams) -> None:
    jtis = [one.jti for one in streams.unacknowledged("default", 8).sets]

    streams.acknowledge("default", [jtis[0], jtis[2], "unknown"])

    assert users(streams.unacknowledged("default", 8)) == ["1", "3", "4", "5", "6", "7"]
    # Who reads by GET goes by the last name it has, and does not lose its place.
    assert users(streams.after("default", jtis[0], 2)) == ["1", "2"]


def test_very_many_are_acknowledged_at_once(database: Database) -> None:
    append(ChangeLog(database), members_change(1200))
    dispatcher_of(database, POLL).run()
    streams = Streams(database)

    streams.acknowledge("default", [one.jti for one in streams.unacknowledged("default", 5000).sets])

    assert streams.unacknowledged("default", 1).sets == []


def test_acknowledging_in_one_feed_leaves_the_others_alone(database: Database) -> None:
    append(ChangeLog(database), members_change(1))
    dispatcher_of(database, POLL).run()
    streams = Streams(database)

    streams.acknowledge("default", [one.jti for one in streams.unacknowledged("default", 9).sets])

    assert users(streams.unacknowledged("g", 9)) == ["g", "0"]


def test_what_the_reader_refuses_is_settled_and_in_the_log(
    streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    jti = streams.unacknowledged("default", 1).sets[0].jti

    streams.refuse("default", {jti: {"err": "invalid_key", "description": "unknown"}})

    assert users(streams.unacknowledged("default", 1)) == ["1"]
    assert jti in caplog.text and "invalid_key" in caplog.text


@pytest.mark.parametrize("code", ["authentication_failed", "access_denied"])
def test_an_error_about_the_transmitter_settles_no_set(
    streams: Streams, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, *_ = streams.unacknowledged("default", 2).sets

    streams.refuse("default", {first.jti: {"err": code}, second.jti: {"err": "invalid_request"}})

    assert users(streams.unacknowledged("default", 2)) == ["0", "2"]
    assert code in caplog.text
