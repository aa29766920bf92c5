"""Cursors say where a page ended; only this server can have said so (RFC 9865)."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from app.protocol.cursors import Cursor, Cursors
from schema.errors import ExpiredCursor, InvalidCount, InvalidCursor
from storage.adapter import Position
from storage.index_keys import index_key
from storage.search import sort_key
from tests.protocol.samples import USER

NOW = datetime(2020, 1, 1, tzinfo=UTC)
QUERY = ("User", 'userName sw "b"', None)
CURSOR = Cursor(Position("7" * 16, "key"))


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, *keys: bytes) -> Cursors:
    return Cursors(lambda client: keys, 600, clock)


@pytest.fixture
def cursors(clock: Clock) -> Cursors:
    return made(clock, b"key")


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(),
        Cursor(Position("0" * 16)),
        Cursor(Position("5f" * 60)),
        Cursor(Position("7" * 16, "")),
        Cursor(Position("7" * 16, 'é/+\\"')),
        Cursor(Position("7" * 16, "k"), backwards=True),
        # A backend chooses its places: these look like those of version 0.2.0.
        Cursor(Position("7")),
        Cursor(Position("-7", "k")),
        Cursor(Position("ab" * 64)),
        Cursor(Position("z" * 128)),
        Cursor(Position("7", "k" * 300)),
        Cursor(offset=20),
    ],
    ids=str,
)
def test_a_cursor_reads_as_it_was_written(cursors: Cursors, cursor: Cursor) -> None:
    text = cursors.write(cursor, "ann", QUERY, 10)

    assert cursors.read(text, "ann", QUERY, 10) == cursor


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (Position("1f"), Position("000000000000001f")),
        (Position("1f", "k" * 500), Position("000000000000001f", index_key("k" * 500))),
        (Position(b"5f0c".hex().ljust(128, "0")), Position("0000000000005f0c")),
        (Position(b"5f0c1b2a3d4e5f6071829304".hex().ljust(128, "0")), Position("5f0c1b2a3d4e5f6071829304")),
    ],
)
def test_positions_of_version_0_2_0_are_read(cursors: Cursors, before: Position, now: Position) -> None:
    content = orjson.dumps([int(NOW.timestamp()), 10, [before.place, before.key], False, 0])
    signed = hmac.new(b"key", orjson.dumps(["ann", QUERY]) + content, hashlib.sha256).digest()[:16] + content
    text = base64.urlsafe_b64encode(signed).decode().rstrip("=")

    assert cursors.read(text, "ann", QUERY, 10) == Cursor(now)


def test_a_cursor_is_short_however_long_the_value_is_that_it_stands_at(cursors: Cursors) -> None:
    path = USER.path("displayName")
    assert path is not None
    key = sort_key(path, {"displayName": "\U0001f600" * 200_000})

    assert len(cursors.write(Cursor(Position("f" * 128, key)), "ann", QUERY, 10)) < 2048


@pytest.mark.parametrize("key", ["k" * length for length in range(6)])
def test_a_cursor_needs_no_escape_in_a_url(cursors: Cursors, key: str) -> None:
    text = cursors.write(Cursor(Position("f" * 16, "ÿ" + key)), "ann", QUERY, 10)

    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    ("principal", "query"),
    [
        ("bob", QUERY),
        ("", QUERY),
        ("ann", ("Group", *QUERY[1:])),
        ("ann", ("User", 'userName sw "c"', None)),
        ("ann", (*QUERY[:2], "title")),
        ("ann", QUERY[:2]),
    ],
)
def test_a_cursor_belongs_to_one_principal_and_query(
    cursors: Cursors, principal: str, query: tuple[Any, ...]
) -> None:
    text = cursors.write(CURSOR, "ann", QUERY, 10)

    with pytest.raises(InvalidCursor, match="^cursor: does not belong to this query"):
        cursors.read(text, principal, query, 10)


def test_no_byte_of_a_cursor_can_be_changed(cursors: Cursors) -> None:
    text = cursors.write(CURSOR, "ann", QUERY, 10)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    for number in range(len(raw)):
        changed = raw[:number] + bytes([raw[number] ^ 1]) + raw[number + 1 :]
        with pytest.raises(InvalidCursor):
            cursors.read(base64.urlsafe_b64encode(changed).decode(), "ann", QUERY, 10)


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "a b", "*" * 40, "A" * 100, "\ud800"])
def test_other_text_is_no_cursor(cursors: Cursors, text: str) -> None:
    with pytest.raises(InvalidCursor, match="^cursor: "):
        cursors.read(text, "ann", QUERY, 10)


def test_a_cursor_of_another_key_is_refused(cursors: Cursors, clock: Clock) -> None:
    with pytest.raises(InvalidCursor):
        cursors.read(made(clock, b"other").write(CURSOR, "ann", QUERY, 10), "ann", QUERY, 10)


def test_processes_with_one_key_read_each_others_cursors(cursors: Cursors, clock: Clock) -> None:
    assert made(clock, b"key").read(cursors.write(CURSOR, "ann", QUERY, 10), "ann", QUERY, 10) == CURSOR


def test_the_first_key_signs_and_each_key_is_accepted(clock: Clock) -> None:
    first, second = (made(clock, key).write(CURSOR, "ann", QUERY, 10) for key in (b"first", b"second"))
    both = made(clock, b"first", b"second")

    assert both.write(CURSOR, "ann", QUERY, 10) == first
    assert [both.read(text, "ann", QUERY, 10) for text in (first, second)] == [CURSOR, CURSOR]


def test_a_cursor_lives_as_long_as_the_timeout(cursors: Cursors, clock: Clock) -> None:
    text = cursors.write(CURSOR, "ann", QUERY, 10)

    clock.now = NOW + timedelta(seconds=600)
    assert cursors.read(text, "ann", QUERY, 10) == CURSOR
    clock.now = NOW + timedelta(seconds=601)
    with pytest.raises(ExpiredCursor, match="older than 600 seconds"):
        cursors.read(text, "ann", QUERY, 10)


def test_the_count_is_that_of_the_first_request(cursors: Cursors) -> None:
    text = cursors.write(CURSOR, "ann", QUERY, 10)

    with pytest.raises(InvalidCount, match="^count: must be 10"):
        cursors.read(text, "ann", QUERY, 11)


def test_who_asks_for_something_else_learns_nothing_of_a_cursor(cursors: Cursors, clock: Clock) -> None:
    text = cursors.write(CURSOR, "ann", QUERY, 10)
    clock.now = NOW + timedelta(days=1)

    with pytest.raises(InvalidCursor):
        cursors.read(text, "bob", QUERY, 11)
