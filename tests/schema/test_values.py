"""Dates and numbers, over all that there can be: what is written is what is read."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema.attribute import Attribute
from schema.values import (
    CHECKS,
    check_date_time,
    comparison_key,
    format_date_time,
    lenient_key,
    parse_date_time,
)

BORN = Attribute("born", "dateTime")
EARLY, LATE = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# With zones: near both ends they lead out of the years that there are.
INSTANTS = st.datetimes(timezones=st.one_of(st.just(UTC), ZONES))
WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def in_utc(instant: datetime) -> datetime | None:
    """Return an instant in UTC, None where that has no such year."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return None


@settings(deadline=None, max_examples=150, derandomize=True)
@given(INSTANTS)
@example(EARLY.replace(tzinfo=UTC))
@example(LATE.replace(tzinfo=UTC))
@example(EARLY.replace(tzinfo=timezone(timedelta(hours=14))))
@example(LATE.replace(tzinfo=timezone(timedelta(hours=-12))))
@example(datetime(999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC))
def test_what_is_formatted_is_parsed_to_the_same_instant(instant: datetime) -> None:
    expected = in_utc(instant)
    if expected is None:
        with pytest.raises(ValueError):
            format_date_time(instant)
        return

    text = format_date_time(instant)

    assert WRITTEN.fullmatch(text)
    assert check_date_time(text) is None
    assert parse_date_time(text) == expected.replace(microsecond=expected.microsecond // 1000 * 1000)
    assert format_date_time(parse_date_time(text)) == text


@settings(deadline=None, max_examples=150, derandomize=True)
@given(INSTANTS, INSTANTS, st.integers(0, 999))
def test_dates_are_ordered_as_their_keys_are(one: datetime, other: datetime, rest: int) -> None:
    keys = []
    for instant in (one, other):
        expected = in_utc(instant)
        # RFC 3339 as any client writes it, with a fraction finer than what is kept.
        text = f"{instant.replace(tzinfo=None).isoformat(timespec='microseconds')}{rest:03}"
        text += instant.strftime("%z")[:3] + ":" + instant.strftime("%z")[3:5]
        if expected is None:
            assert check_date_time(text) is not None
            return
        assert parse_date_time(text) == expected
        keys.append((expected, comparison_key(BORN, text)))
    (first, first_key), (second, second_key) = keys
    assert (first < second, first == second) == (first_key < second_key, first_key == second_key)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.sampled_from(sorted(CHECKS)), ANYTHING)
@example("decimal", float("nan"))
@example("decimal", 10**400)
@example("integer", 2**63)
@example("dateTime", "0001-01-01T00:00:00+14:00")
@example("string", "\ud800")
def test_a_value_has_a_key_when_it_is_of_its_type_and_nothing_else_happens(kind: str, value: Any) -> None:
    attribute = Attribute("x", kind)

    key = lenient_key(attribute)(value)

    if CHECKS[kind](value) is None:
        assert key == comparison_key(attribute, value)
    elif kind not in ("string", "reference", "binary"):
        assert key is None
    else:
        assert key is None or isinstance(value, str)
