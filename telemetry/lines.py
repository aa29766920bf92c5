"""Lines of the log with named fields: `GET /Users 200 1.2 ms store_calls=1`, or members of a JSON object.

The log of the process adds what its thread is busy with.
"""

import json
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

FIELDS: Final = "fields"
"""The attribute of a log record with a function that returns the fields of the line.

In text, the message has them already; in JSON, they are the members, a `message` among them.
"""


class Values:
    """Whether lines may hold values of resources, such as a path with an id or the text of a filter.

    The log belongs to the process: the program sets it once (LOG_VALUES).
    """

    are_shown = False


def say_line(
    log: logging.Logger, level: int, text: str, fields: Callable[[], Mapping[str, Any]]
) -> None:
    """Write a line that is whole in text; `fields` returns what JSON shows in its place.

    The steps of `Logger.log` that look for the calling function are left out: they take longer than the
    others together.
    """
    record = logging.LogRecord(log.name, level, "", 0, text, None, None)
    record.__dict__[FIELDS] = fields
    log.handle(record)


@lru_cache(maxsize=512)
def word(value: Any) -> str:
    """Return the value of a field as text: quoted as in JSON unless it is one word.

    So no client breaks the line, nor adds a field.
    """
    text = str(value)
    is_word = text.isascii() and text.isprintable() and " " not in text and '"' not in text
    return text if is_word else json.dumps(text)
