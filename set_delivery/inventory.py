"""What is on its way to whom, for operators: figures, and what to do with SETs that were refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, marks
from set_delivery.streams import Publishing

_BATCH: Final = 500
_LOG_TABLES: Final = ("scim_change", "scim_change_value", "scim_order", "scim_queue")


@dataclass(frozen=True)
class ReceiverState:
    """How a receiver fares; `due_in_s` is when it is tried again after a failure.

    `dead` is how many SETs that were refused for good are kept, `refused` how many ever were, and
    `dropped` how many were kept too long without being taken or refused.
    """

    name: str
    pending: int
    delivered: int
    dead: int
    dropped: int
    refused: int = 0
    attempts: int = 0
    due_in_s: float = 0.0
    problem: str | None = None
    oldest_s: float = 0.0


@dataclass(frozen=True)
class FeedState:
    """What a feed holds."""

    feed: str
    held: int
    unacknowledged: int
    dropped: int


@dataclass(frozen=True)
class DeadLetter:
    """A SET that a receiver refused for good, at `dead_at` in milliseconds since 1970."""

    receiver: str
    jti: str
    reason: str
    dead_at: int


@dataclass(frozen=True)
class LogState:
    """How large the change log is, and how old the oldest change that waits for its position."""

    rows: int
    size_bytes: int
    lag_s: float


class Inventory:
    """Counts, lists, and lets operators try again or give up."""

    def __init__(self, database: StateDatabase, publishing: Publishing) -> None:
        self._database = database
        self._publishing = publishing

    def waiting(self) -> int:
        """Return how many changes have not become events yet."""
        return sum(
            int(self._database.row(f"SELECT COUNT(*) FROM {table}")[0])
            for table in ("scim_queue", "scim_intent", "scim_outbox")
        )

    def change_log(self) -> LogState:
        """Return how large the change log is, and how far behind the dispatcher."""
        first, last = self._database.row("SELECT MIN(position), MAX(position) FROM scim_order")
        (oldest,) = self._database.row(
            "SELECT at FROM scim_change WHERE seq = (SELECT MIN(q.seq) FROM scim_queue q "
            "WHERE NOT EXISTS (SELECT 1 FROM scim_order o WHERE o.seq = q.seq))"
        ) or (None,)
        return LogState(
            0 if last is None else last - first + 1,
            self._database.dialect.bytes_of(self._database, _LOG_TABLES),
            0.0 if oldest is None else max(0, now_ms() - oldest) / 1000,
        )

    def receivers(self) -> list[ReceiverState]:
        """Return every receiver that is configured, or that something is kept for."""
        counts: dict[str, list[int]] = {}
        now = now_ms()
        rows = self._database.rows(
            "SELECT receiver, SUM(CASE WHEN dead_at IS NULL THEN 1 ELSE 0 END), "
            "SUM(CASE WHEN dead_at IS NULL THEN 0 ELSE 1 END), "
            "MIN(CASE WHEN dead_at IS NULL THEN position END) FROM scim_delivery GROUP BY receiver"
        )
        for name, pending, dead, oldest in rows:
            counts[name] = [int(pending), int(dead), self._made_at(oldest) or now]
        known = {
            name: tuple(figures)
            for name, *figures in self._database.rows(
                "SELECT name, delivered, dropped, refused, attempts, due_at, problem FROM scim_receiver"
            )
        }
        configured = [receiver.name for receiver in self._publishing.receivers]
        states = []
        for name in dict.fromkeys((*configured, *sorted({*counts, *known}))):
            pending, dead, oldest = counts.get(name, [0, 0, now])
            delivered, dropped, refused, attempts, due_at, problem = known.get(name, (0, 0, 0, 0, 0, None))
            states.append(
                ReceiverState(
                    *(name, pending, delivered, dead, dropped, refused, attempts),
                    max(0, due_at - now) / 1000,
                    problem,
                    max(0, now - oldest) / 1000,
                )
            )
        return states

    def feeds(self) -> list[FeedState]:
        """Return every feed that holds something, or has lost something."""
        return self._feeds(())

    def configured_feeds(self) -> list[FeedState]:
        """Return the feeds of the settings, those that hold nothing included."""
        names = [feed.id for feed in self._publishing.feeds]
        found = {state.feed: state for state in self._feeds(names)}
        return [found.get(name, FeedState(name, 0, 0, 0)) for name in names]

    def _feeds(self, names: Sequence[str]) -> list[FeedState]:
        only = f"IN ({marks(names)})" if names else "IS NOT NULL"
        rows = self._database.rows(
            "SELECT feed, COUNT(*), SUM(CASE WHEN acked_at IS NULL THEN 1 ELSE 0 END) FROM scim_stream "
            f"WHERE feed {only} GROUP BY feed ORDER BY feed",
            names,
        )
        dropped = dict(self._database.rows(f"SELECT id, dropped FROM scim_feed WHERE id {only}", names))
        found = {}
        for feed, held, unread in rows:
            found[feed] = FeedState(feed, held, int(unread), dropped.pop(feed, 0))
        found |= {feed: FeedState(feed, 0, 0, lost) for feed, lost in dropped.items()}
        return list(found.values())

    def _made_at(self, position: int | None) -> int | None:
        row = self._database.row("SELECT made_at FROM scim_set WHERE position = ?", (position or 0,))
        return row[0] if row else None

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Return what was refused for good, the latest first."""
        rows = self._database.rows(
            "SELECT d.receiver, s.jti, d.reason, d.dead_at FROM scim_delivery d "
            "JOIN scim_set s ON s.position = d.position WHERE d.dead_at IS NOT NULL "
            "ORDER BY d.position DESC LIMIT ?",
            (limit,),
        )
        return [DeadLetter(*row) for row in rows]

    def retry(self, receiver: str, jtis: Sequence[str] = ()) -> int:
        """Deliver again what a receiver refused, and at once what it failed to take; return how much."""
        alive = "dead_at = NULL, reason = NULL, refused_at = NULL"
        return self._on_dead(receiver, jtis, f"UPDATE scim_delivery SET {alive}")

    def drop(self, receiver: str, jtis: Sequence[str] = ()) -> int:
        """Forget what a receiver refused, and return how much."""
        return self._on_dead(receiver, jtis, "DELETE FROM scim_delivery")

    def drop_pending(self, receiver: str) -> int:
        """Forget what is still to be delivered to a receiver that is gone, and return how much."""
        with self._database.transaction():
            statement = "DELETE FROM scim_delivery WHERE receiver = ? AND dead_at IS NULL"
            return int(self._database.run(statement, (receiver,)).rowcount)

    def _on_dead(self, receiver: str, jtis: Sequence[str], action: str) -> int:
        with self._database.transaction():
            self._database.run(
                "UPDATE scim_receiver SET attempts = 0, due_at = 0 WHERE name = ?", (receiver,)
            )
            where = "WHERE receiver = ? AND dead_at IS NOT NULL"
            if not jtis:
                return int(self._database.run(f"{action} {where}", (receiver,)).rowcount)
            count = 0
            for start in range(0, len(jtis), _BATCH):
                batch = list(jtis[start : start + _BATCH])
                rows = self._database.rows(
                    f"SELECT position FROM scim_set WHERE jti IN ({marks(batch)})", batch
                )
                positions = [position for (position,) in rows]
                if positions:
                    statement = f"{action} {where} AND position IN ({marks(positions)})"
                    count += self._database.run(statement, (receiver, *positions)).rowcount
            return count
