"""The levels of the loggers of drivers, which must not follow LOGLEVEL."""

import logging
from collections.abc import Iterable
from typing import Final

from storage.options import StorageOptions

# Below WARNING they log parameters of statements, requests and messages: hashes of passwords,
# addresses, tokens.
_DRIVERS: Final = (
    "amqp",
    "argon2",
    "kombu",
    "peewee",
    "redis",
    "requests",
    "urllib3",
)


def silence_drivers(level: int, backends: Iterable[StorageOptions]) -> None:
    """Let drivers, those of `backends` included, log warnings and errors only, and nothing below `level`."""
    for name in (*_DRIVERS, *(name for options in backends for name in options.drivers)):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # The lines for each message are wanted with DEBUG; those below INFO have the messages themselves.
    logging.getLogger("celery").setLevel(max(level, logging.INFO))
