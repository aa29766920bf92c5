"""The levels of the loggers of drivers, which must not follow LOGLEVEL."""

import logging
from typing import Final

# Below WARNING they log parameters of statements, requests and messages: hashes of passwords,
# addresses, tokens.
_DRIVERS: Final = (
    "amqp",
    "argon2",
    "irods",
    "kombu",
    "ldap",
    "mongoengine",
    "peewee",
    "psycopg",
    "pymongo",
    "pymysql",
    "redis",
    "requests",
    "urllib3",
)


def silence_drivers(level: int) -> None:
    """Let drivers log warnings and errors only, and nothing below `level`."""
    for name in _DRIVERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # The lines for each message are wanted with DEBUG; those below INFO have the messages themselves.
    logging.getLogger("celery").setLevel(max(level, logging.INFO))
