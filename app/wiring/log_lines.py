"""The lines of the log of a process: text or JSON, with the id of the request that they belong to."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from telemetry.current import current
from telemetry.lines import FIELDS, word

_REQUEST_ID: Final = "request_id"


class TextLines(logging.Formatter):
    """Writes `time LEVEL logger message`, and `request_id=` behind it during a request."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, and the lines of its traceback."""
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {record.getMessage()}"
        activity = current.get()
        if activity is not None and activity.request_id and f" {_REQUEST_ID}=" not in line:
            line = f"{line} {_REQUEST_ID}={word(activity.request_id)}"
        if record.exc_info or record.stack_info:
            line += super().format(record).partition(record.getMessage())[2]
        return line

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return local time with milliseconds; what comes before them is made once a second."""
        number, text = self._second
        if number != int(record.created):
            number = int(record.created)
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(number))
            self._second = number, text
        return f"{text},{int(record.msecs):03d}"


class JsonLines(logging.Formatter):
    """Writes a JSON object: time in UTC, level, logger, message and the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of a record, on one line."""
        time_s = datetime.fromtimestamp(record.created, UTC)
        members: dict[str, Any] = {"time": time_s, "level": record.levelname, "logger": record.name}
        fields = record.__dict__.get(FIELDS)
        members |= fields() if fields is not None else {"message": record.getMessage()}
        activity = current.get()
        if activity is not None and activity.request_id:
            members[_REQUEST_ID] = activity.request_id
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            members["stack"] = self.formatStack(record.stack_info)
        try:
            return orjson.dumps(members, default=str).decode()
        except orjson.JSONEncodeError:
            # A lone surrogate, which a file name may have.
            return json.dumps(members, default=str)
