"""When two values are equal, and in which order they are (RFC 7643 section 2, RFC 7644 section 3.4.2.2)."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema.attribute import TYPES, Attribute
from schema.values import CHECKS, comparison_key, key_function, lenient_key

TEXT, EXACT = Attribute("x"), Attribute("x", case_exact=True)
KINDS = {kind: Attribute("x", kind) for kind in ("boolean", "integer", "decimal", "dateTime", "binary")}
BINARY, REFERENCE = KINDS["binary"], Attribute("x", "reference", case_exact=True)
MOMENT = "2011-05-13T04:42:34"


@pytest.mark.parametrize(
    ("attribute", "one", "other"),
    [
        (TEXT, "Anna", "aNNA"),
        (TEXT, "STRASSE", "straße"),
        (TEXT, "ΣΊΣΥΦΟΣ", "σίσυφος"),
        (Attribute("x", "reference"), "HTTPS://x", "https://X"),
        (KINDS["decimal"], 1, 1.0),
        (KINDS["decimal"], 0.0, -0.0),
        (KINDS["decimal"], 1e2, 100),
        (KINDS["dateTime"], f"{MOMENT}Z", f"{MOMENT}z"),
        (KINDS["dateTime"], f"{MOMENT}Z", MOMENT),
        (KINDS["dateTime"], f"{MOMENT}Z", f"{MOMENT}.000Z"),
        (KINDS["dateTime"], f"{MOMENT}Z", f"{MOMENT}-00:00"),
        (KINDS["dateTime"], f"{MOMENT}Z", "2011-05-13T06:42:34+02:00"),
        (KINDS["dateTime"], f"{MOMENT}Z", "2011-05-12t20:12:34-08:30"),
        (KINDS["dateTime"], f"{MOMENT}.5Z", f"{MOMENT}.5000009Z"),
    ],
    ids=lambda value: repr(value) if not isinstance(value, Attribute) else value.type,
)
def test_two_spellings_of_one_value_are_equal(attribute: Attribute, one: Any, other: Any) -> None:
    assert comparison_key(attribute, one) == comparison_key(attribute, other)


@pytest.mark.parametrize(
    ("attribute", "one", "other"),
    [
        (EXACT, "Anna", "anna"),
        (REFERENCE, "https://x/A", "https://x/a"),
        (TEXT, "Anna", "Anna "),
        (TEXT, "", " "),
        (TEXT, "Zoë", "Zoe"),
        (BINARY, "YQ==", "yq=="),
        (KINDS["integer"], 2**53, 2**53 + 1),
        (KINDS["decimal"], 0.1, 0.1 + 2**-55),
        (KINDS["boolean"], True, False),
        (KINDS["dateTime"], f"{MOMENT}Z", f"{MOMENT}+00:01"),
        (KINDS["dateTime"], f"{MOMENT}Z", f"{MOMENT}.000001Z"),
    ],
    ids=lambda value: repr(value) if not isinstance(value, Attribute) else value.type,
)
def test_two_values_are_not_equal(attribute: Attribute, one: Any, other: Any) -> None:
    assert comparison_key(attribute, one) != comparison_key(attribute, other)


@pytest.mark.parametrize(
    ("attribute", "ordered"),
    [
        (TEXT, ["", "Anna", "anna b", "BERT", "Zoe"]),
        (EXACT, ["Anna", "Zoe", "anna"]),
        (KINDS["boolean"], [False, True]),
        (KINDS["integer"], [-(2**63), -10, -9, 0, 9, 10, 2**63 - 1]),
        (KINDS["decimal"], [-1e308, -10, -1.5, -1e-300, 0, 1e-300, 1.5, 2, 10, 1e308]),
        (KINDS["dateTime"], ["0001-01-01T00:00:00Z", f"{MOMENT}+01:00", f"{MOMENT}Z", f"{MOMENT}.1Z"]),
    ],
    ids=lambda value: f"{value.type}, exact {value.case_exact}" if isinstance(value, Attribute) else "",
)
def test_values_are_ordered_as_their_keys_are(attribute: Attribute, ordered: list[Any]) -> None:
    keys = [comparison_key(attribute, value) for value in ordered]

    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("string", [None, 7, True, ["a"], {}]),
        ("reference", [None, 7]),
        ("binary", [None, 7]),
        ("boolean", [None, 0, 1, "true", []]),
        ("integer", [None, True, 1.0, "1", 2**63, -(2**63) - 1]),
        ("decimal", [None, False, "1", math.nan, math.inf, -math.inf, 10**400]),
        ("dateTime", [None, 7, "", "2011-05-13", "2011-02-30T00:00:00Z", "0001-01-01T00:00:00+01:00"]),
    ],
)
def test_a_value_of_another_type_has_no_key(kind: str, values: list[Any]) -> None:
    attribute = Attribute("x", kind)
    for value in values:
        assert CHECKS[kind](value) is not None
        assert lenient_key(attribute)(value) is None
        with pytest.raises((TypeError, ValueError, AttributeError)):
            key_function(attribute)(value)


def test_every_simple_type_has_a_check() -> None:
    assert set(CHECKS) == set(TYPES) - {"complex"}


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        *(("binary", text, True) for text in ("", "YQ==", "YQ", "-_8", "+/8=", "Y Q\r\n==")),
        *(("binary", text, False) for text in ("A", "=", "YQ===", "YQ==YQ==", "Y*", "YQ\x00")),
        *(("dateTime", MOMENT + rest, True) for rest in ("", "Z", ".1Z", ".123456789123Z")),
        *(("dateTime", MOMENT + rest, True) for rest in ("+14:00", "-12:00")),
        *(("dateTime", MOMENT + rest, False) for rest in (".Z", "+14", "+1400", "+25:00", " Z", "Z\n", "٠")),
        *(("dateTime", text, False) for text in ("2011-5-13T04:42:34Z", "٢٠١١-05-13T04:42:34Z")),
        *(("dateTime", text, False) for text in ("2011-13-01T00:00:00Z", "10000-01-01T00:00:00Z")),
    ],
    ids=repr,
)
def test_text_of_a_type_is_checked(kind: str, value: str, fits: bool) -> None:
    assert (CHECKS[kind](value) is None) is fits


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# Spellings of the same few words, so that equal ones are found.
FEW = st.sampled_from(["anna", "ANNA", "Anna", "anna ", "straße", "STRASSE", "", "İ", "i̇"])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DATES = st.builds(
    lambda minutes, zone: (
        (datetime(2020, 1, 1) + timedelta(minutes=minutes + zone)).isoformat()
        + f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}:{abs(zone) % 60:02}"
    ),
    st.integers(0, 3),
    st.integers(-720, 720),
)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("attribute", "values", "meant"),
    [
        (TEXT, WORDS | FEW, str.casefold),
        (EXACT, WORDS | FEW, str),
        (KINDS["boolean"], st.booleans(), bool),
        (KINDS["integer"], st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), int),
        (KINDS["decimal"], FLOATS | st.integers(-3, 3) | st.sampled_from([-0.0, 0.5]), float),
        (KINDS["dateTime"], DATES, instant),
    ],
    ids=["text", "exact text", "boolean", "integer", "decimal", "dateTime"],
)
def test_keys_are_equal_and_ordered_exactly_as_the_values_are(
    attribute: Attribute, values: st.SearchStrategy[Any], meant: Callable[[Any], Any]
) -> None:
    @settings(deadline=None, derandomize=True, max_examples=80)
    @given(values, values)
    def holds(one: Any, other: Any) -> None:
        first, second = comparison_key(attribute, one), comparison_key(attribute, other)

        assert (first == second) is (meant(one) == meant(other))
        assert (first < second) is (meant(one) < meant(other))

    holds()


@settings(deadline=None, derandomize=True, max_examples=80)
@given(WORDS | FEW)
@example("ß")
def test_text_is_found_in_any_case_unless_it_is_exact(text: str) -> None:
    assert comparison_key(TEXT, text) == comparison_key(TEXT, text.casefold())
    assert comparison_key(EXACT, text) == text
