"""Reading an SQLite file that cannot be written: on a full disk, on a read-only mount, of another user.

A database with a write-ahead log has an index of it beside it (`-shm`), which readers keep as well.

1. Where the log and its index are there or can be made, SQLite reads as always (`mode=ro`).
2. Where the index cannot grow, since the disk is full, each connection has one of its own in memory
   (`readonly_shm`). Others may write meanwhile.
3. Where there is no log and none can be made, all is in the file (`immutable`). SQLite then looks for
   no other writer, so we do: whatever is read while the file changes or a log appears is refused.
"""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

CANNOT_WRITE: Final = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)

# A file that changed so short a time ago may change again without another time stamp.
_UNSETTLED_S: Final = 0.05

_State = tuple[int, int, int, int, bool]


class PassingConnection(sqlite3.Connection):
    """A connection for one use: while it is open, no other of the process may be able to write."""

    path = ""
    state: _State | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nobody has changed under it what SQLite takes for immutable."""
        return self.state is None or self.state == _state(self.path)


def open_to_read(path: str) -> PassingConnection:
    """Return a connection that cannot write. Raises sqlite3.Error where not even reading is possible."""
    for options in ("mode=ro", "mode=ro&readonly_shm=1"):
        with suppress(sqlite3.Error):
            return _opened(path, options)
    state = _state(path)
    if state is None or state[-1]:
        # A log holds what was acknowledged: the file without it is not the database.
        raise sqlite3.OperationalError("unable to open database file")
    if abs(time.time_ns() - state[1]) < _UNSETTLED_S * 1e9:
        time.sleep(_UNSETTLED_S)
        return open_to_read(path)
    connection = _opened(path, "mode=ro&immutable=1")
    connection.path, connection.state = path, state
    return connection


def _opened(path: str, options: str) -> PassingConnection:
    uri = f"file:{quote(os.path.abspath(path))}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, factory=PassingConnection)
    try:
        connection.execute("PRAGMA temp_store = memory")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _state(path: str) -> _State | None:
    """Return what changes when a database changes, and whether it has a log; None where it is not."""
    try:
        status = os.stat(path)
        logs = [Path(path + end) for end in ("-wal", "-journal")]
        has_log = any(log.exists() and log.stat().st_size > 0 for log in logs)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, has_log
