"""How long a server asks to be left alone (RFC 9110 section 10.2.3), whatever it sends."""

import random
import string
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from schema.retry_after import LONGEST_S, retry_after_s


@pytest.mark.parametrize(
    "value, seconds",
    [
        *((None, None), ("", None), ("soon", None), ("-5", None), ("1.5", None), ("\xb2", None)),
        *(("\u0661", None), ("1, 2", None), ("1 Jan 99999999999 0:0:0 GMT", None)),
        *(("0", 0.0), (" 7 ", 7.0), ("120", 120.0), ("000120", 120.0)),
        *(("86401", LONGEST_S), ("9" * 400, LONGEST_S), ("9" * 5000, LONGEST_S)),
        *(("Mon, 01 Jan 2001 00:00:00 GMT", 0.0), ("Fri, 01 Jan 2999 00:00:00 GMT", LONGEST_S)),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999", 0.0),
        ("Mon, 01 Jan 2026 00:00:00 -99999999999999", LONGEST_S),
    ],
)
def test_what_it_says(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]
)
def test_the_three_dates_of_http(form: str) -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)

    assert retry_after_s(at.strftime(form)) == pytest.approx(100, abs=10)
    assert retry_after_s(format_datetime(at)) == pytest.approx(100, abs=10)


def test_nothing_that_a_server_sends_raises() -> None:
    numbers = random.Random(9110)
    pieces = ["Mon, ", "31 ", "Feb ", "0", "1", "9" * 12, ":", " GMT", " -0000", "+", "-", "\xb2", "\0"]
    letters = string.printable + "\xff\u0661"
    for _ in range(20_000):
        parts = numbers.choices(pieces, k=numbers.randrange(12)) + numbers.choices(letters, k=3)
        found = retry_after_s("".join(parts))
        assert found is None or 0.0 <= found <= LONGEST_S
