"""Ids of JumpCloud, and what they tell: when something was created, and what comes before it."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from schema.values import format_date_time

_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
# Characters of an id of any form.
_LONGEST: Final = 64
_OTHER_ID = re.compile(rf"[0-9A-Za-z_-]{{1,{_LONGEST}}}", re.ASCII)


def is_usual(text: str) -> bool:
    """Return whether a text has the form of ids that JumpCloud is known to give."""
    return _ID.fullmatch(text) is not None


class Ids:
    """Tells whether JumpCloud can have something by an id, so that it is not asked for what it cannot.

    Ids of another form than the usual one are believed in where `some`, which returns any ids that
    there are, shows such ids.
    """

    def __init__(self, some: Callable[[], Iterable[str]]) -> None:
        self._some = some
        # None as long as there was nothing to see.
        self._are_usual: bool | None = None

    def __call__(self, text: str) -> bool:
        if is_usual(text):
            return True
        if _OTHER_ID.fullmatch(text) is None:
            return False
        if self._are_usual is None:
            self._are_usual = next((is_usual(seen) for seen in self._some()), None)
        return self._are_usual is False


def id_of(live: Mapping[str, Any]) -> str:
    """Return the id of a user or group."""
    return str(live.get("_id") or live.get("id"))


def born(resource_id: str) -> str:
    """Return when a user or group was created, which its id tells to the second."""
    if not is_usual(resource_id):
        return format_date_time(datetime.fromtimestamp(0, UTC))
    return format_date_time(datetime.fromtimestamp(int(resource_id[:8], 16), UTC))
