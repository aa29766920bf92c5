"""From the outbox to feeds and receivers: every change becomes SETs, in one order for everybody."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

import orjson

from set_delivery.database import StateDatabase, marks
from set_delivery.events import Change, Event
from set_delivery.leases import take_lease
from set_delivery.streams import Publishing

_LOG = logging.getLogger(__name__)

# How many changes are taken over in one transaction, and how many SETs at the most: other writers
# do not wait for more than that.
_CHANGES: Final = 100
_SETS: Final = 1000


class Dispatcher:
    """Takes changes over from the outbox; one process at a time does, whoever comes first."""

    def __init__(self, database: StateDatabase, publishing: Publishing) -> None:
        self._database = database
        self._publishing = publishing

    def run(self, until: Callable[[], bool] = lambda: False) -> int:
        """Take over every change that is committed and return how many SETs that made.

        Ends earlier when `until` says so.
        """
        made = 0
        begun: dict[int, Change] = {}
        while True:
            more, count = self._take_over(begun)
            made += count
            if not more or until():
                return made

    def is_due(self) -> bool:
        """Return whether there is a change to take over."""
        return self._database.row("SELECT 1 FROM scim_outbox WHERE due_at = 0 LIMIT 1") is not None

    def _take_over(self, begun: dict[int, Change]) -> tuple[bool, int]:
        """Take over some changes, in one transaction; return whether there may be more.

        `begun` holds the change that the last transaction had no room for all of: with very many
        members, to read it anew for each part would take longer than all the rest.
        """
        if not self.is_due():
            return False, 0
        with self._database.transaction():
            # Positions are given out by one at a time: who has read up to one misses nothing below it.
            take_lease(self._database, "dispatch", "dispatch", 0)
            rows = self._due(next(iter(begun), -1))
            taken: list[int] = []
            count = 0
            for seq, made_at, done, body in rows:
                change = begun.pop(seq, None) or Change.from_json(orjson.loads(body))
                so_far = self._publish(change, made_at, done or 0, _SETS - count)
                count += so_far - (done or 0) + (0 if done else len(change.events))
                if so_far < len(change.memberships):
                    # A group of very many members: the rest comes with the next transaction.
                    self._note_done(seq, so_far)
                    begun[seq] = change
                    break
                taken.append(seq)
                if count >= _SETS:
                    break
            if taken:
                for table in ("scim_outbox", "scim_begun"):
                    self._database.run(f"DELETE FROM {table} WHERE seq IN ({marks(taken)})", taken)
        return bool(rows), count

    def _due(self, known: int) -> list[Any]:
        """Return the next changes, oldest first, without the body of the one that is `known`."""
        return self._database.rows(
            "SELECT o.seq, o.made_at, b.done, CASE WHEN o.seq = ? THEN NULL ELSE o.body END "
            "FROM scim_outbox o LEFT JOIN scim_begun b ON b.seq = o.seq "
            "WHERE o.due_at = 0 ORDER BY o.seq LIMIT ?",
            (known, _CHANGES),
        )

    def _note_done(self, seq: int, done: int) -> None:
        # Not beside the body, which some databases would write anew each time.
        self._database.run("DELETE FROM scim_begun WHERE seq = ?", (seq,))
        self._database.run("INSERT INTO scim_begun (seq, done) VALUES (?, ?)", (seq, done))

    def _publish(self, change: Change, made_at: int, done: int, room: int) -> int:
        """Make SETs of a change of which `done` memberships are; return how many are then."""
        if not done:
            for event in change.events:
                self._publish_event(event, change.txn, made_at, self._feeds_of(change))
        now = change.memberships[done : done + max(1, room)]
        for event in Change(change.txn, (), memberships=now).feed_events():
            self._publish_event(event, change.txn, made_at, [change.feed] if change.feed else [])
        return done + len(now)

    def _feeds_of(self, change: Change) -> list[str]:
        feeds = [feed.id for feed in self._publishing.feeds]
        if self._publishing.groups_are_feeds:
            feeds += [feed for feed in change.feeds if feed not in feeds]
        return feeds

    def _publish_event(self, event: Event, txn: str, made_at: int, feeds: Sequence[str]) -> None:
        streams = list(self._streams_of(event, feeds))
        receivers = [r.name for r in self._publishing.receivers if r.wants(event, streams)]
        if not receivers and not self._publishing.poll:
            return
        position = self._insert_set(event, txn, made_at, feeds)
        if self._publishing.poll:
            self._insert("scim_stream", "feed, position", [(feed, position) for feed in streams])
        self._insert("scim_delivery", "receiver, position", [(name, position) for name in receivers])

    def _streams_of(self, event: Event, feeds: Sequence[str]) -> Iterator[str]:
        """Yield the feeds whose stream has an event.

        Who reads everything also learns who joined the feed of a group.
        """
        yield from feeds
        if event.kind.startswith("urn:ietf:params:scim:event:feed:"):
            yield from (feed.id for feed in self._publishing.feeds if feed.id not in feeds)

    def _insert_set(self, event: Event, txn: str, made_at: int, feeds: Sequence[str]) -> int:
        statement = "INSERT INTO scim_set (jti, txn, made_at, event, feeds) VALUES (?, ?, ?, ?, ?)"
        kept = orjson.dumps(event.as_json()).decode()
        params = (uuid4().hex, txn, made_at, kept, orjson.dumps(list(feeds)).decode())
        if self._database.dialect.name == "postgresql":
            return int(self._database.run(f"{statement} RETURNING position", params).fetchone()[0])
        return int(self._database.run(statement, params).lastrowid)

    def _insert(self, table: str, columns: str, rows: Sequence[tuple[str, int]]) -> None:
        if not rows:
            return
        values = ", ".join(["(?, ?)"] * len(rows))
        cells = [cell for row in rows for cell in row]
        self._database.run(f"INSERT INTO {table} ({columns}) VALUES {values}", cells)
