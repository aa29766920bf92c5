"""Ids of JumpCloud, and what they tell: when something was created, and what before it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from schema.values import format_date_time
from storage.adapter import StoredResource

_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


def is_id(text: str) -> bool:
    """Return whether JumpCloud can have something by that id."""
    return _ID.fullmatch(text) is not None


def id_of(live: Mapping[str, Any]) -> str:
    """Return the id of a user or group."""
    return str(live.get("_id") or live.get("id"))


def place_of(resource_id: str) -> int:
    """Return where a user or group stands in the order of creation, which its id tells."""
    # Of the 12 bytes of an id: seconds, then who made it, then a counter; 63 bits are to be had.
    if not is_id(resource_id):
        return 2**63 - 1
    seconds, maker, counter = resource_id[:8], resource_id[8:18], resource_id[18:]
    return int(seconds, 16) << 31 | int(counter, 16) << 7 | int(maker, 16) % 127


def born(resource_id: str) -> str:
    """Return when a user or group was created, which its id tells to the second."""
    if not is_id(resource_id):
        return format_date_time(datetime.fromtimestamp(0, UTC))
    return format_date_time(datetime.fromtimestamp(int(resource_id[:8], 16), UTC))


def in_order(resources: Iterable[StoredResource]) -> Iterator[StoredResource]:
    """Yield resources, which come in the order of their ids, in the order of their places.

    The two differ within a second in which several machines gave ids.
    """
    for _, same_second in groupby(resources, key=lambda stored: stored.id[:8]):
        yield from sorted(same_second, key=lambda stored: stored.place)
