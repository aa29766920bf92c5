"""The outbox: changes are noted in the transaction that makes them, or before it as intents."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from set_delivery.database import StateDatabase
from set_delivery.events import Change

_LOG = logging.getLogger(__name__)

# An intent this old (milliseconds) belongs to a process that is gone: no request takes that long.
INTENT_MS: Final = 120_000
# How soon an intent is looked at after the backend did not answer, and how often one that cannot be
# settled; that one is given up some day.
_FIRST_LOOK_MS: Final = 1_000
_HOPELESS_LOOK_MS: Final = 3_600_000
_HOPELESS_MS: Final = 30 * 86_400_000


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Intent:
    """A change that may or may not have been made.

    Nobody is expected to say what became of it from the time `since` on, in milliseconds since 1970.
    `plan` is what is needed to find out (`app.protocol.changes`).
    """

    seq: int
    since: int
    plan: Mapping[str, Any]


class Outbox:
    """Notes changes; `wake` is called when there is something to do and it is committed.

    A write that its backend did not answer may take effect for `settling_ms` milliseconds.
    """

    def __init__(
        self,
        database: StateDatabase,
        wake: Callable[[], object] = lambda: None,
        clock: Callable[[], int] = now_ms,
        settling_ms: int = 0,
    ) -> None:
        self._settling_ms = settling_ms
        self._database = database
        self._wake = wake
        self._clock = clock

    def add(self, change: Change) -> None:
        """Note a change, in the caller's transaction if there is one."""
        body = orjson.dumps(change.as_json()).decode()
        with self._database.transaction():
            self._insert(self._clock(), 0, body)
            self._database.when_committed(self._wake)

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which everything is noted together."""
        return self._database.transaction()

    def begin(self, plan: Mapping[str, Any], require: Callable[[], object] = lambda: None) -> int:
        """Keep an intent, durably, and return its number; `require` is done in the same transaction."""
        due_at = self._clock() + INTENT_MS
        with self._database.transaction():
            require()
            return self._insert(due_at, due_at, orjson.dumps({"plan": plan}).decode())

    def confirm(
        self, seq: int, change: Change | None, also: Callable[[], object] | None = None
    ) -> None:
        """Put what was done in place of an intent, None when nothing was; do `also` together with it."""
        with self._database.transaction():
            if not self._replace(seq, change, also) and change is not None:
                # It took so long that somebody else has settled it; twice is better than never.
                self._insert(self._clock(), 0, orjson.dumps(change.as_json()).decode())

    def settle(
        self, seq: int, change: Change | None, also: Callable[[], object] | None = None
    ) -> None:
        """Put what was found to be done in place of an intent, as `confirm` does, if it still is one."""
        with self._database.transaction():
            self._replace(seq, change, also)

    def _replace(self, seq: int, change: Change | None, also: Callable[[], object] | None) -> bool:
        """Return False if there is no such intent any more."""
        if also is not None:
            also()
        run = self._database.run
        if change is None:
            return bool(run("DELETE FROM scim_outbox WHERE seq = ? AND due_at > 0", (seq,)).rowcount)
        body = orjson.dumps(change.as_json()).decode()
        self._database.when_committed(self._wake)
        statement = "UPDATE scim_outbox SET made_at = ?, due_at = 0, body = ? WHERE seq = ? AND due_at > 0"
        return bool(run(statement, (self._clock(), body, seq)).rowcount)

    def leave(self, seq: int, is_settled: bool = True) -> None:
        """Have somebody find out what became of an intent; unless `is_settled`, it may still take effect."""
        now = self._clock()
        if is_settled:
            self._change(seq, now - self._settling_ms, 1)
        else:
            self._change(seq, now, now + min(_FIRST_LOOK_MS, self._settling_ms))

    def take_over(self, intent: Intent) -> Intent:
        """Return an intent of which the process that began it is known to be gone, or to have given up."""
        now = self._clock()
        if intent.since <= now:
            return intent
        self._change(intent.seq, now, now + _FIRST_LOOK_MS)
        return replace(intent, since=now)

    def is_settled(self, intent: Intent) -> bool:
        """Return whether what a write has not done until now will not be done."""
        return self._clock() >= intent.since + self._settling_ms

    def look_again(self, intent: Intent) -> None:
        """Have an intent looked at later: more and more seldom, and when it must be settled."""
        now = self._clock()
        if now - intent.since >= _HOPELESS_MS:
            _LOG.warning("the outcome of a change is not known, and is no longer looked for: %s", intent.seq)
            self.settle(intent.seq, None)
            return
        end = intent.since + self._settling_ms
        due_at = now + _HOPELESS_LOOK_MS
        if now < end:
            due_at = min(now + max(_FIRST_LOOK_MS, (now - intent.since) // 2), end)
        self._change(intent.seq, intent.since, due_at)

    def overdue(self, limit: int = 100) -> list[Intent]:
        """Return intents whose owner is gone or does not know what became of them."""
        rows = self._database.rows(
            "SELECT seq, made_at, body FROM scim_outbox WHERE due_at > 0 AND due_at <= ? "
            "ORDER BY seq LIMIT ?",
            (self._clock(), limit),
        )
        return [_intent(row) for row in rows]

    def of_txn(self, txn: str) -> list[Intent]:
        """Return the intents of one transaction, whoever has them, in the order of their beginning."""
        rows = self._database.rows(
            "SELECT seq, made_at, body FROM scim_outbox WHERE due_at > 0 ORDER BY seq"
        )
        return [intent for intent in map(_intent, rows) if intent.plan["txn"] == txn]

    def _change(self, seq: int, since: int, due_at: int) -> None:
        with self._database.transaction():
            self._database.run(
                "UPDATE scim_outbox SET made_at = ?, due_at = ? WHERE seq = ? AND due_at > 0",
                (since, due_at, seq),
            )

    def _insert(self, made_at: int, due_at: int, body: str) -> int:
        statement = "INSERT INTO scim_outbox (made_at, due_at, body) VALUES (?, ?, ?)"
        params = (made_at, due_at, body)
        if self._database.dialect.name == "postgresql":
            return int(self._database.run(f"{statement} RETURNING seq", params).fetchone()[0])
        return int(self._database.run(statement, params).lastrowid)


def _intent(row: Any) -> Intent:
    seq, since, body = row
    return Intent(seq, since, orjson.loads(body)["plan"])
