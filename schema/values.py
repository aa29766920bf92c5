"""The simple values of RFC 7643 section 2.3: checking them, and the key by which they compare."""

import base64
import re
import struct
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from schema.attribute import Attribute

_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_INTEGER_LIMIT = 2**63


def parse_date_time(text: str) -> datetime:
    """Return the instant of an xsd:dateTime (RFC 7643 section 2.3.5) as aware UTC.

    A value without a zone is taken as UTC. Raises ValueError when `text` is no dateTime.
    """
    # Python reads more than these: other formats of ISO 8601, and a space in place of the T.
    if _DATE_TIME.fullmatch(text) is None:
        raise ValueError("not a dateTime such as 2011-05-13T04:42:34Z")
    try:
        instant = datetime.fromisoformat(text.upper())
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("dateTime out of range") from exc


def format_date_time(instant: datetime) -> str:
    """Return an aware `instant` as a UTC dateTime with milliseconds and `Z`; years have four digits.

    What `parse_date_time` makes of it is `instant` without its microseconds. Raises ValueError when
    `instant` is in none of the years 1 to 9999 of UTC.
    """
    try:
        return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    except OverflowError as exc:
        raise ValueError("dateTime out of range") from exc


def check_string(value: Any) -> str | None:
    """Return what is wrong with `value` as a string, or None."""
    if type(value) is not str:
        return "must be a string"
    # No database keeps U+0000 in text alike, and no client means it.
    return "must not contain the character U+0000" if "\x00" in value else None


def check_boolean(value: Any) -> str | None:
    """Return what is wrong with `value` as a boolean, or None."""
    return None if type(value) is bool else "must be true or false"


def check_integer(value: Any) -> str | None:
    """Return what is wrong with `value` as an integer of 64 bits, or None."""
    if type(value) is not int:
        return "must be an integer"
    return None if -_INTEGER_LIMIT <= value < _INTEGER_LIMIT else "must fit in 64 bits"


def _is_decimal(value: Any) -> bool:
    # Neither is true of what is not a number (NaN).
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def check_decimal(value: Any) -> str | None:
    """Return what is wrong with `value` as a decimal, or None."""
    return None if _is_decimal(value) else "must be a number"


def check_date_time(value: Any) -> str | None:
    """Return what is wrong with `value` as a dateTime, or None."""
    if type(value) is not str:
        return "must be a dateTime such as 2011-05-13T04:42:34Z"
    try:
        parse_date_time(value)
    except ValueError:
        return "must be a dateTime such as 2011-05-13T04:42:34Z"
    return None


def check_binary(value: Any) -> str | None:
    """Return what is wrong with `value` as base64 text (RFC 7643 section 2.3.6), or None."""
    if type(value) is not str:
        return "must be base64 text"
    try:
        # Both alphabets of RFC 4648 and line breaks are in use; the text itself is kept as sent.
        text = re.sub(r"\s+", "", value).translate(str.maketrans("-_", "+/"))
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:  # binascii.Error is one
        return "must be base64 text"
    return None


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "string": check_string,
    "reference": check_string,
    "boolean": check_boolean,
    "integer": check_integer,
    "decimal": check_decimal,
    "dateTime": check_date_time,
    "binary": check_binary,
}


def _text_key(value: str) -> str:
    if type(value) is not str:
        raise TypeError("not text")
    return value


def _boolean_key(value: bool) -> str:
    if value is not True and value is not False:
        raise TypeError("not a boolean")
    return "true" if value else "false"


def _integer_key(value: int) -> str:
    if type(value) is not int or not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise TypeError("not an integer of 64 bits")
    return f"{value + _INTEGER_LIMIT:020d}"


def _decimal_key(value: float) -> str:
    if not _is_decimal(value):
        raise TypeError("not a number of this range")
    bits = int.from_bytes(struct.pack(">d", float(value) + 0.0), "big")
    return f"{bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63:016x}"


def _date_time_key(value: str) -> str:
    return parse_date_time(value).isoformat(timespec="microseconds")


_KEYS: dict[str, Callable[[Any], str]] = {
    "boolean": _boolean_key,
    "integer": _integer_key,
    "decimal": _decimal_key,
    "dateTime": _date_time_key,
    "binary": _text_key,
}


def comparison_key(attribute: Attribute, value: Any) -> str:
    """Return text that stands for `value` when it is compared, sorted or kept unique.

    Two values of `attribute` are equal exactly when their keys are, and they are ordered as
    their keys are by code point. caseExact is honoured (RFC 7643 section 2.2); dateTime compares
    as an instant; numbers by size. Raises TypeError, ValueError or AttributeError for a value that
    is not of the type, as other programs may have stored.
    """
    return key_function(attribute)(value)


def lenient_key(attribute: Attribute) -> Callable[[Any], str | None]:
    """Return the function behind `comparison_key` for values that other programs may have stored.

    It returns None for a value that is not of the type, and raises nothing.
    """
    key = key_function(attribute)

    def found(value: Any) -> str | None:
        try:
            return key(value)
        except (TypeError, ValueError, AttributeError):
            return None

    return found


def key_function(attribute: Attribute) -> Callable[[Any], str]:
    """Return the function behind `comparison_key` for one attribute, for use in a loop."""
    return _KEYS.get(attribute.type) or (_text_key if attribute.case_exact else str.casefold)
