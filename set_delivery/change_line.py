"""A row of the change log as one line of JSON: in the export, and for a collector."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from schema.values import format_date_time
from set_delivery.change_log import LoggedChange

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def json_line(change: LoggedChange) -> bytes:
    """Return a line of JSON: the columns of a change in camelCase, its position, its hash and its values."""
    entry = change.entry._asdict() | {"at": shown_time(change.entry.at), "paths": parsed(change.entry.paths)}
    shown = {"position": change.position, "hash": change.hash, "seq": change.seq}
    shown |= {re.sub("_(.)", lambda found: found[1].upper(), name): value for name, value in entry.items()}
    shown |= {"before": parsed(change.before), "after": parsed(change.after), "valuesDigest": change.digest}
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def shown_time(at: int) -> str:
    """Return a time in milliseconds since 1970 as text in UTC."""
    try:
        return format_date_time(EPOCH + timedelta(milliseconds=at))
    except OverflowError:
        # No clock says so: somebody has edited the row.
        return str(at)


def parsed(text: str | None) -> Any:
    """Return what the JSON of a row says; the text itself where it is none."""
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        # Somebody has edited the row.
        return text
