"""Push delivery (RFC 8935): in order to each receiver, until it has taken or refused each SET."""

import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import uuid4

import orjson
import requests
from urllib3.exceptions import HTTPError

from set_delivery.answers import Outcome, judged, pause_after
from set_delivery.clock import now_ms
from set_delivery.connection import Connection, read
from set_delivery.database import StateDatabase, marks
from set_delivery.events import Event, Set
from set_delivery.leases import Lease, is_leased, lease
from set_delivery.streams import Publishing, Receiver
from set_delivery.tokens import encoded
from telemetry import tracing
from telemetry.catalogue import PUSH_SECONDS

_LOG = logging.getLogger(__name__)

# How many SETs are sent before it is written down that they were: so many may come twice.
_BATCH: Final = 50
# How long it may take until that is written down, and how long a process that is gone is waited for.
_BATCH_S: Final = 5.0
_LEASE_S: Final = 10.0


class Pusher:
    """Delivers what is due to the receivers; of each receiver, one run at a time."""

    def __init__(
        self,
        database: StateDatabase,
        publishing: Publishing,
        owner: str,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._publishing = publishing
        self._owner = owner
        self._clock = clock
        self._process = 0
        self._connections: dict[str, Connection] = {}

    def run(self, receiver: Receiver, until: Callable[[], bool] = lambda: False) -> int:
        """Deliver to one receiver what is due, and return how many SETs it took or refused.

        Ends at the first failure, when nothing is left, when another process is at it, or when
        `until` says so.
        """
        if not self.is_due(receiver):
            return 0
        settled = 0
        # Forked processes and threads may share this object, but not a lease.
        owner = f"{self._owner}/{uuid4().hex[:8]}"
        with lease(self._database, _lease_name(receiver), owner, _LEASE_S) as held:
            more = True
            while more and held.holds() and not until():
                more, count = self._deliver_batch(receiver, held, until)
                settled += count
        return settled

    def close(self) -> None:
        """Close the connections to the receivers."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def is_due(self, receiver: Receiver) -> bool:
        """Return whether there is something to deliver now that nobody is delivering."""
        row = self._database.row("SELECT due_at FROM scim_receiver WHERE name = ?", (receiver.name,))
        if row is not None and row[0] > self._clock():
            return False
        if is_leased(self._database, _lease_name(receiver)):
            return False
        return bool(self._due(receiver, 1))

    def _due(self, receiver: Receiver, limit: int) -> list[Set]:
        rows = self._database.rows(
            "SELECT s.position, s.jti, s.txn, s.made_at, s.event, s.feeds FROM scim_delivery d "
            "JOIN scim_set s ON s.position = d.position WHERE d.receiver = ? AND d.dead_at IS NULL "
            "ORDER BY d.position LIMIT ?",
            (receiver.name, limit),
        )
        return [read_set(row) for row in rows]

    def _deliver_batch(
        self, receiver: Receiver, held: Lease, until: Callable[[], bool]
    ) -> tuple[bool, int]:
        """Deliver some SETs; return whether to go on at once, and how many were settled."""
        due = self._due(receiver, _BATCH)
        batch = _Batch()
        deadline = time.monotonic() + _BATCH_S
        with closing(encoded(due, partial(self._claims, receiver), receiver.key)) as tokens:
            for one in due:
                if time.monotonic() > deadline or until() or not held.holds():
                    break
                outcome = self._outcome(receiver, one, tokens)
                if outcome.taken:
                    batch.taken.append(one.position)
                elif outcome.refused is not None:
                    batch.refused.append((one.position, outcome.refused))
                    reason = outcome.refused
                    _LOG.error("receiver %s refuses the SET %s: %s", receiver.name, one.jti, reason)
                else:
                    batch.failed, batch.failure = one, outcome
                    break
        if batch.settled or batch.failure is not None:
            self._settle(receiver, batch)
        return batch.failure is None and batch.settled > 0, batch.settled

    # -- one attempt

    def _outcome(self, receiver: Receiver, one: Set, tokens: Iterator[tuple[str, str]]) -> Outcome:
        """Return what became of a SET, which is the next of `tokens`.

        An attempt that breaks is a failure like any other: the outcomes of the batch so far are written
        down, and the receiver is left alone for a while.
        """
        started, span = time.perf_counter(), None
        if tracing.is_on():
            known = {"scim.receiver": receiver.name, "scim.jti": one.jti, "scim.txn": one.txn}
            span = tracing.begun("client", "push", attributes=known)
        try:
            outcome = self._attempt(receiver, *next(tokens), span)
        except Exception as exc:
            # Its text may hold what was sent.
            kind = type(exc).__name__
            _LOG.error("receiver %s: the SET %s cannot be sent: %s", receiver.name, one.jti, kind)
            _LOG.debug("traceback:\n%s", "".join(traceback.format_tb(exc.__traceback__)))
            outcome = Outcome(problem=kind)
        became = "taken" if outcome.taken else "failed" if outcome.refused is None else "refused"
        PUSH_SECONDS.observe(time.perf_counter() - started, receiver.name, became)
        if span is not None:
            span.set_attribute("scim.outcome", became)
            span.end()
        return outcome

    def _claims(self, receiver: Receiver, one: Set) -> Mapping[str, Any]:
        publishing = self._publishing
        audience = publishing.audience_of(one.event, one.feeds, receiver.audience)
        return one.claims(publishing.issuer, audience, receiver.mode)

    def _attempt(self, receiver: Receiver, body: str, media_type: str, span: Any) -> Outcome:
        headers = {"Content-Type": media_type}
        if span is not None:
            headers["traceparent"] = tracing.traceparent_of(span)
        try:
            return self._answer(receiver, body.encode(), headers)
        except (requests.RequestException, HTTPError) as exc:
            # Its text may hold what was sent; the kind of failure is enough.
            return Outcome(problem=f"{type(exc).__name__}")

    def _answer(self, receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> Outcome:
        if self._process != os.getpid():
            # A connection is not shared with the process this one was forked from.
            self._process, self._connections = os.getpid(), {}
        if receiver.name not in self._connections:
            self._connections[receiver.name] = Connection(receiver.url, receiver.token)
        started = time.monotonic()
        timeout_s = self._publishing.timeout_s
        with self._connections[receiver.name].post(body, headers, timeout_s) as answer:
            said = read(answer, started + timeout_s)
            return judged(answer.status_code, said, answer.headers.get("Retry-After"))

    # -- what is written down

    def _settle(self, receiver: Receiver, batch: "_Batch") -> None:
        now = self._clock()
        with self._database.transaction():
            run = self._database.run
            if batch.failed is not None and self._is_given_up(receiver, batch.failed, batch.failure):
                batch.give_up()
            if batch.taken:
                places = marks(batch.taken)
                statement = f"DELETE FROM scim_delivery WHERE receiver = ? AND position IN ({places})"
                run(statement, (receiver.name, *batch.taken))
            for position, reason in batch.refused:
                run(
                    "UPDATE scim_delivery SET dead_at = ?, reason = ? WHERE receiver = ? AND position = ?",
                    (now, reason, receiver.name, position),
                )
            attempts, due_at, problem = 0, 0, None
            if batch.failure is not None:
                attempts = 1 if batch.settled else self._attempts(receiver) + 1
                pause_s = pause_after(attempts, batch.failure.retry_after_s)
                due_at, problem = now + int(pause_s * 1000), batch.failure.problem
                _LOG.warning(
                    "receiver %s: attempt %d failed (%s), next attempt in %.0f s",
                    *(receiver.name, attempts, problem, pause_s),
                )
            self._note(receiver, len(batch.taken), attempts, due_at, problem)
            if batch.refused:
                statement = "UPDATE scim_receiver SET refused = refused + ? WHERE name = ?"
                run(statement, (len(batch.refused), receiver.name))

    def _is_given_up(self, receiver: Receiver, failed: Set, failure: Outcome | None) -> bool:
        """Return whether a SET has been refused without a reason for too long; note the first time."""
        if failure is None or not failure.is_doubtful:
            return False
        now, mine, after_s = self._clock(), (receiver.name, failed.position), self._publishing.refused_after_s
        where = "WHERE receiver = ? AND position = ?"
        row = self._database.row(f"SELECT refused_at FROM scim_delivery {where}", mine)
        if row is None or row[0] is None:
            self._database.run(f"UPDATE scim_delivery SET refused_at = ? {where}", (now, *mine))
            return False
        if now - row[0] < after_s * 1000:
            return False
        _LOG.error(
            "receiver %s: the SET %s is given up after %d s of refusals without an error code (%s)",
            *(receiver.name, failed.jti, after_s, failure.problem),
        )
        return True

    def _attempts(self, receiver: Receiver) -> int:
        row = self._database.row("SELECT attempts FROM scim_receiver WHERE name = ?", (receiver.name,))
        return int(row[0]) if row else 0

    def _note(
        self, receiver: Receiver, delivered: int, attempts: int, due_at: int, problem: str | None
    ) -> None:
        updated = self._database.run(
            "UPDATE scim_receiver SET delivered = delivered + ?, attempts = ?, due_at = ?, problem = ? "
            "WHERE name = ?",
            (delivered, attempts, due_at, problem, receiver.name),
        )
        if updated.rowcount == 0:
            statement = self._database.dialect.insert_ignoring(
                "scim_receiver",
                "name, delivered, attempts, due_at, dropped, problem",
                "VALUES (?, ?, ?, ?, 0, ?)",
            )
            self._database.run(statement, (receiver.name, delivered, attempts, due_at, problem))


@dataclass
class _Batch:
    """What became of some SETs: positions of those taken, with reasons of those refused, and a failure."""

    taken: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    failed: Set | None = None
    failure: Outcome | None = None

    @property
    def settled(self) -> int:
        """How many need not be sent again."""
        return len(self.taken) + len(self.refused)

    def give_up(self) -> None:
        """Count the SET that failed as refused."""
        if self.failed is not None and self.failure is not None:
            self.refused.append((self.failed.position, self.failure.problem))
        self.failed = self.failure = None


def _lease_name(receiver: Receiver) -> str:
    return f"push {receiver.name}"[:255]


def read_set(row: Any) -> Set:
    """Return the SET that a row (position, jti, txn, made_at, event, feeds) describes."""
    position, jti, txn, made_at, event, feeds = row
    return Set(position, jti, txn, made_at, Event.from_json(orjson.loads(event)), orjson.loads(feeds))
