"""How long events are kept: until they are delivered, or as long as the settings allow."""

import logging
from collections.abc import Callable
from typing import Final

from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, marks
from set_delivery.streams import Publishing

_LOG = logging.getLogger(__name__)

# How many rows go in one transaction.
_BATCH: Final = 500
# From this share of what is allowed on, it is warned of.
_WARN: Final = 0.9


class Retention:
    """Removes what nobody needs any more, and says what it must drop though it was not delivered."""

    def __init__(
        self, database: StateDatabase, publishing: Publishing, clock: Callable[[], int] = now_ms
    ) -> None:
        self._database = database
        self._publishing = publishing
        self._clock = clock
        self._warned: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Do what is due."""
        rows = self._database.rows(
            "SELECT receiver, SUM(CASE WHEN dead_at IS NULL THEN 0 ELSE 1 END) FROM scim_delivery "
            "GROUP BY receiver"
        )
        behind = {("feed", name) for kind, name in self._warned if kind == "feed"}
        behind |= {(kind, name) for name, _ in rows for kind in ("pending", "dead")}
        # Who has taken everything is warned of again the next time.
        self._warned &= behind
        for receiver, dead in rows:
            self._warn(
                ("dead", receiver),
                dead > 0,
                "receiver %s has permanently refused %d SETs: see scim events list --dead",
                *(receiver, dead),
            )
            self._expire_pending(receiver)
            self._expire_dead(receiver)
        # Of all feeds at once: each group may have one.
        feeds = self._database.rows(
            "SELECT feed, COUNT(*), SUM(CASE WHEN acked_at IS NULL THEN 1 ELSE 0 END), MIN(position) "
            "FROM scim_stream GROUP BY feed"
        )
        too_old = self._too_old() if feeds else 0
        for feed, held, unread, first in feeds:
            self._trim(feed, held, int(unread), too_old if first <= too_old else 0)
        self._forget()

    def _expire_pending(self, receiver: str) -> None:
        """Drop what a receiver has neither taken nor refused for too long."""
        retention_ms = int(self._publishing.retention_s * 1000)
        oldest = self._database.row(
            "SELECT MIN(s.made_at) FROM scim_delivery d JOIN scim_set s ON s.position = d.position "
            "WHERE d.receiver = ? AND d.dead_at IS NULL",
            (receiver,),
        )[0]
        age_ms = 0 if oldest is None else self._clock() - oldest
        self._warn(
            ("pending", receiver),
            age_ms > _WARN * retention_ms,
            "receiver %s has accepted no SETs for %d hours; undelivered SETs are dropped after %d",
            *(receiver, age_ms // 3_600_000, retention_ms // 3_600_000),
        )
        if age_ms <= retention_ms:
            return
        while dropped := self._drop_batch(receiver, "IS NULL"):
            _LOG.error("receiver %s: %d undelivered SETs were too old and were dropped", receiver, dropped)

    def _expire_dead(self, receiver: str) -> None:
        """Forget what a receiver refused too long ago; that was counted when it did."""
        while dropped := self._drop_batch(receiver, "IS NOT NULL"):
            _LOG.warning("receiver %s: %d refused SETs were too old and were deleted", receiver, dropped)

    def _drop_batch(self, receiver: str, dead: str) -> int:
        """Drop some of what is too old to be kept and return how many that was.

        `dead` is the condition on when it was refused; what was not counts as dropped.
        """
        latest = self._clock() - int(self._publishing.retention_s * 1000)
        with self._database.transaction():
            rows = self._database.rows(
                "SELECT d.position FROM scim_delivery d JOIN scim_set s ON s.position = d.position "
                f"WHERE d.receiver = ? AND d.dead_at {dead} AND s.made_at < ? ORDER BY d.position LIMIT ?",
                (receiver, latest, _BATCH),
            )
            positions = [position for (position,) in rows]
            if not positions:
                return 0
            # Another process may be at it: only what is dropped here counts here.
            dropped = self._database.run(
                f"DELETE FROM scim_delivery WHERE receiver = ? AND position IN ({marks(positions)})",
                (receiver, *positions),
            ).rowcount
            statement = self._database.dialect.insert_ignoring(
                "scim_receiver",
                "name, delivered, attempts, due_at, dropped",
                "VALUES (?, 0, 0, 0, 0)",
            )
            self._database.run(statement, (receiver,))
            if dead == "IS NULL":
                counted = "UPDATE scim_receiver SET dropped = dropped + ? WHERE name = ?"
                self._database.run(counted, (dropped, receiver))
        return int(dropped)

    def _too_old(self) -> int:
        """Return the last position of what is too old to be kept, 0 if there is none."""
        latest = self._clock() - int(self._publishing.retention_s * 1000)
        row = self._database.row("SELECT MAX(position) FROM scim_set WHERE made_at < ?", (latest,))
        return row[0] or 0

    def _trim(self, feed: str, held: int, unread: int, too_old: int) -> None:
        """Drop the oldest of a feed that holds too many, and what is `too_old`, a position, or before."""
        size = self._publishing.feed_size
        self._warn(
            ("feed", feed),
            unread > _WARN * size,
            "the feed %s holds %d unacknowledged SETs; above %d it drops the oldest",
            *(feed, unread, size),
        )
        edge = max(too_old, self._surplus(feed, held - size))
        if not edge:
            return
        with self._database.transaction():
            lost = self._database.run(
                "DELETE FROM scim_stream WHERE feed = ? AND position <= ? AND acked_at IS NULL", (feed, edge)
            ).rowcount
            self._database.run("DELETE FROM scim_stream WHERE feed = ? AND position <= ?", (feed, edge))
            statement = self._database.dialect.insert_ignoring(
                "scim_feed", "id, trimmed_to, dropped", "VALUES (?, 0, 0)"
            )
            self._database.run(statement, (feed,))
            self._database.run(
                "UPDATE scim_feed SET trimmed_to = ?, dropped = dropped + ? WHERE id = ?", (edge, lost, feed)
            )

    def _surplus(self, feed: str, count: int) -> int:
        """Return the last position of the first `count` that a feed holds."""
        if count < 1:
            return 0
        statement = "SELECT position FROM scim_stream WHERE feed = ? ORDER BY position LIMIT 1 OFFSET ?"
        row = self._database.row(statement, (feed, count - 1))
        return row[0] if row else 0

    def _forget(self) -> None:
        """Remove SETs that are in no feed and on the way to nobody."""
        last = 0
        while True:
            rows = self._database.rows(
                "SELECT s.position FROM scim_set s WHERE s.position > ? "
                "AND NOT EXISTS (SELECT 1 FROM scim_stream t WHERE t.position = s.position) "
                "AND NOT EXISTS (SELECT 1 FROM scim_delivery d WHERE d.position = s.position) "
                "ORDER BY s.position LIMIT ?",
                (last, _BATCH),
            )
            positions = [position for (position,) in rows]
            if not positions:
                return
            with self._database.transaction():
                self._database.run(
                    f"DELETE FROM scim_set WHERE position IN ({marks(positions)})", positions
                )
            last = positions[-1]

    def _warn(self, subject: tuple[str, str], holds: bool, text: str, *params: object) -> None:
        """Warn once, until it is over."""
        if holds and subject not in self._warned:
            _LOG.warning(text, *params)
        (self._warned.add if holds else self._warned.discard)(subject)
