"""The header Retry-After (RFC 9110 section 10.2.3); receivers of events and upstreams both send it."""

import re
import time
from email.utils import mktime_tz, parsedate_tz
from typing import Final

# A day: a server that asks for more is asked again after that.
LONGEST_S: Final = 86_400.0
# No date of HTTP is as long, nor any number of seconds that counts.
_LONGEST_TEXT: Final = 64


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds to wait, from 0 to LONGEST_S; None for a header that says nothing.

    Raises nothing, whatever a server sends.
    """
    text = (value or "").strip()
    if re.fullmatch("[0-9]+", text):
        # Python refuses to read a number of very many digits.
        digits = text.lstrip("0") or "0"
        return min(float(digits), LONGEST_S) if len(digits) <= _LONGEST_TEXT else LONGEST_S
    if len(text) > _LONGEST_TEXT:
        return None
    try:
        parsed = parsedate_tz(text)
        left_s = None if parsed is None else mktime_tz(parsed) - time.time()
    except (ValueError, OverflowError, TypeError, IndexError):
        # The library checks neither the calendar nor the size of the zone.
        return None
    return None if left_s is None else float(min(max(left_s, 0.0), LONGEST_S))
