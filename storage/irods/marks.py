"""Marks of unfinished work: when it began, so that others know when to repair what it left."""

import secrets
import time
from typing import Final

# How long a piece of work may last: so many time-outs, and some seconds. It gives up itself at half of that.
_TIMEOUTS: Final = 3
_SECONDS: Final = 10.0


def mark() -> str:
    """Return text that no other piece of work has, with the time."""
    return f"{time.time() * 1000:.0f}:{secrets.token_hex(8)}"


def is_stale(text: str, timeout_s: float) -> bool:
    """Return whether the work behind text that ends in a mark can no longer be going on."""
    return age(text) > limit_s(timeout_s)


def age(text: str) -> float:
    """Return the seconds since the mark at the end of `text` was made; of other text, very many."""
    milliseconds = text.split(":")[-2] if text.count(":") else ""
    return time.time() - int(milliseconds) / 1000 if milliseconds.isdecimal() else float("inf")


def limit_s(timeout_s: float) -> float:
    """Return after how many seconds work is stale."""
    return _TIMEOUTS * timeout_s + _SECONDS
