"""The outbox: changes are noted in the transaction that makes them, or before it as intents."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from set_delivery.database import StateDatabase
from set_delivery.events import Change

# An intent this old (milliseconds) belongs to a process that is gone: no request takes that long.
INTENT_MS: Final = 120_000


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Intent:
    """A change that may or may not have been made.

    `plan` is what the one who began it needs to find out (`app.protocol.changes`).
    """

    seq: int
    plan: Mapping[str, Any]


class Outbox:
    """Notes changes; `wake` is called when there is something to do and it is committed."""

    def __init__(
        self,
        database: StateDatabase,
        wake: Callable[[], object] = lambda: None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._wake = wake
        self._clock = clock

    def add(self, change: Change) -> None:
        """Note a change, in the caller's transaction if there is one."""
        body = orjson.dumps(change.as_json()).decode()
        with self._database.transaction():
            self._insert(0, body)
            self._database.when_committed(self._wake)

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which everything is noted together."""
        return self._database.transaction()

    def begin(self, plan: Mapping[str, Any]) -> int:
        """Keep an intent, durably, and return its number."""
        with self._database.transaction():
            return self._insert(self._clock() + INTENT_MS, orjson.dumps({"plan": plan}).decode())

    def confirm(
        self, seq: int, change: Change | None, also: Callable[[], object] | None = None
    ) -> None:
        """Put what was done in place of an intent, None when nothing was; do `also` together with it."""
        with self._database.transaction():
            if also is not None:
                also()
            if change is None:
                self._database.run("DELETE FROM scim_outbox WHERE seq = ?", (seq,))
                return
            body = orjson.dumps(change.as_json()).decode()
            run = self._database.run
            updated = run("UPDATE scim_outbox SET due_at = 0, body = ? WHERE seq = ?", (body, seq))
            if updated.rowcount == 0:
                # It took so long that somebody else has judged it; twice is better than never.
                self._insert(0, body)
            self._database.when_committed(self._wake)

    def leave(self, seq: int) -> None:
        """Let the next sweep find out what became of an intent."""
        with self._database.transaction():
            self._database.run("UPDATE scim_outbox SET due_at = 1 WHERE seq = ?", (seq,))

    def overdue(self, limit: int = 100) -> list[Intent]:
        """Return intents whose owner is gone or does not know what became of them."""
        rows = self._database.rows(
            "SELECT seq, body FROM scim_outbox WHERE due_at > 0 AND due_at <= ? ORDER BY seq LIMIT ?",
            (self._clock(), limit),
        )
        return [Intent(seq, orjson.loads(body)["plan"]) for seq, body in rows]

    def of_txn(self, txn: str) -> list[Intent]:
        """Return the intents of one transaction, whoever has them."""
        rows = self._database.rows("SELECT seq, body FROM scim_outbox WHERE due_at > 0 ORDER BY seq")
        intents = [Intent(seq, orjson.loads(body)["plan"]) for seq, body in rows]
        return [intent for intent in intents if intent.plan["txn"] == txn]

    def _insert(self, due_at: int, body: str) -> int:
        statement = "INSERT INTO scim_outbox (made_at, due_at, body) VALUES (?, ?, ?)"
        params = (self._clock(), due_at, body)
        if self._database.dialect.name == "postgresql":
            return int(self._database.run(f"{statement} RETURNING seq", params).fetchone()[0])
        return int(self._database.run(statement, params).lastrowid)
