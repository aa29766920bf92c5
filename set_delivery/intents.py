"""Intents: what is about to be changed by a backend without transactions, kept until the outcome is known."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, insert_numbered
from set_delivery.former_outbox import FormerOutbox

_LOG = logging.getLogger(__name__)

# An intent this old (milliseconds) belongs to a process that is gone: no request takes that long.
INTENT_MS: Final = 120_000
# How soon an intent is looked at after the backend did not answer, and how often one that cannot be
# settled; that one is given up some day.
_FIRST_LOOK_MS: Final = 1_000
_HOPELESS_LOOK_MS: Final = 3_600_000
_HOPELESS_MS: Final = 30 * 86_400_000


@dataclass(frozen=True)
class Intent:
    """A change that may or may not have been made.

    Nobody is expected to say what became of it from the time `since` on, in milliseconds since 1970.
    `plan` is what is needed to find out (`app.protocol.write`).
    """

    seq: int
    since: int
    plan: Mapping[str, Any]


class IntentTable:
    """Keeps intents. A write without an answer may take effect for `settling_ms` milliseconds."""

    def __init__(
        self, database: StateDatabase, settling_ms: int = 0, clock: Callable[[], int] = now_ms
    ) -> None:
        self._database = database
        self._settling_ms = settling_ms
        self._clock = clock
        self._former = FormerOutbox(database)

    def begin(self, plan: Mapping[str, Any]) -> int:
        """Keep an intent and return its number: durably, unless the caller has a transaction."""
        due_at = self._clock() + INTENT_MS
        statement = "INSERT INTO scim_intent (made_at, due_at, txn, body) VALUES (?, ?, ?, ?)"
        params = (due_at, due_at, plan["txn"], orjson.dumps(plan).decode())
        with self._database.transaction():
            return insert_numbered(self._database, statement, params, "seq")

    def remove(self, seq: int) -> bool:
        """Remove an intent, in the caller's transaction; return False if it was removed before."""
        return bool(self._database.run("DELETE FROM scim_intent WHERE seq = ?", (seq,)).rowcount)

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
            with self._database.transaction():
                self.remove(intent.seq)
            return
        end = intent.since + self._settling_ms
        due_at = now + _HOPELESS_LOOK_MS
        if now < end:
            due_at = min(now + max(_FIRST_LOOK_MS, (now - intent.since) // 2), end)
        self._change(intent.seq, intent.since, due_at)

    def overdue(self, limit: int = 100) -> list[Intent]:
        """Return intents whose owner is gone or does not know what became of them."""
        now = self._clock()
        self._former.hand_over_intents(now)
        return self._intents("due_at <= ?", (now,), limit)

    def of_txn(self, txn: str) -> list[Intent]:
        """Return the intents of one transaction, whoever has them, in the order of their beginning."""
        self._former.hand_over_intents(None, txn)
        return self._intents("txn = ?", (txn,), 2**31)

    def _intents(self, condition: str, params: tuple[Any, ...], limit: int) -> list[Intent]:
        rows = self._database.rows(
            f"SELECT seq, made_at, body FROM scim_intent WHERE {condition} ORDER BY seq LIMIT ?",
            (*params, limit),
        )
        return [Intent(seq, since, orjson.loads(body)) for seq, since, body in rows]

    def _change(self, seq: int, since: int, due_at: int) -> None:
        with self._database.transaction():
            self._database.run(
                "UPDATE scim_intent SET made_at = ?, due_at = ? WHERE seq = ?", (since, due_at, seq)
            )
