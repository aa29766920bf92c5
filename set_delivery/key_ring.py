"""The key ring: secrets that the state database keeps, so that every process has the same ones.

    scim_key(number, made_at, secret)           the highest number is the secret that writes

The table is made together with its first secret, whichever version the other tables have.
"""

import os
from collections.abc import Sequence
from typing import Final

from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase

_BYTES: Final = 32


def open_ring(database: StateDatabase) -> Sequence[bytes]:
    """Return the secrets of the ring, the newest first; an empty ring gets its first one.

    Processes that start at the same time get the same secret. Raises what the database does when it
    has no secret and takes none.
    """
    return read_ring(database) or _made_ring(database)


def read_ring(database: StateDatabase) -> Sequence[bytes]:
    """Return the secrets of the ring, the newest first; none where the ring is empty."""
    if not database.has_table("scim_key"):
        return ()
    rows = database.rows("SELECT secret FROM scim_key ORDER BY number DESC")
    return [bytes.fromhex(secret) for (secret,) in rows]


def _made_ring(database: StateDatabase) -> Sequence[bytes]:
    dialect = database.dialect

    def make() -> None:
        database.run_ddl(
            "CREATE TABLE IF NOT EXISTS scim_key (number INTEGER NOT NULL PRIMARY KEY, "
            f"made_at BIGINT NOT NULL, secret {dialect.id} NOT NULL){dialect.options}"
        )
        # Where another process was faster, its secret stays.
        statement = dialect.insert_ignoring("scim_key", "number, made_at, secret", "VALUES (1, ?, ?)")
        database.run(statement, (now_ms(), os.urandom(_BYTES).hex()))

    database.prepare(make)
    return read_ring(database)
