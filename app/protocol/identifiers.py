"""Identifiers of resources and transactions."""

import os
import time
from uuid import UUID

_VERSION, _VARIANT = 7 << 76, 2 << 62
_RANDOM = ~(0xF << 76 | 3 << 62)


def ordered_uuid() -> UUID:
    """Return a UUID of version 7 (RFC 9562 section 5.7): its milliseconds, then 74 random bits.

    New ones lie beside each other in an index. Among random ones, each insertion changes another page of
    each index, and PostgreSQL writes that whole page to its log.
    """
    random = int.from_bytes(os.urandom(10), "big")
    return UUID(int=(time.time_ns() // 1_000_000 << 80 | random) & _RANDOM | _VERSION | _VARIANT)
