"""From the change log to feeds and receivers: every change gets a position, and its events become SETs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import uuid4

import orjson

from set_delivery.change_log import ChangeLog
from set_delivery.change_order import ChangeOrder
from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, marks
from set_delivery.events import ChangeEvents, Event
from set_delivery.former_outbox import FormerOutbox
from set_delivery.leases import take_lease
from set_delivery.streams import Publishing

# How many changes are taken over in one transaction, and how many SETs at the most: other writers
# do not wait for more than that.
_CHANGES: Final = 100
_SETS: Final = 1000
# How many rows go in one statement, and how many characters of SETs: databases limit both.
_ROWS: Final = 250
_CHARACTERS: Final = 1_000_000
_NEVER_MS: Final = 2**62
# The rows of the queue that a process without receivers handles. A change that has a position, or was
# trimmed, only waits for its events to be published.
_SILENT: Final = (
    "(q.body IS NULL OR q.is_kept = 1 AND EXISTS (SELECT 1 FROM scim_change h WHERE h.seq = q.seq) "
    "AND NOT EXISTS (SELECT 1 FROM scim_order o WHERE o.seq = q.seq))"
)


class _NewSet(NamedTuple):
    """A SET before it has a position: the columns of its row, and where it goes."""

    jti: str
    txn: str
    made_at: int
    event: str
    feeds: str
    streams: Sequence[str]
    receivers: Sequence[str]


class Dispatcher:
    """Takes changes over from the queue; one process at a time does, whoever comes first.

    Without anybody who receives events, those of other processes, and of a time before, stay in the
    queue. `type_of` returns the name of the resource type that the URI of a resource leads to.
    """

    def __init__(
        self,
        database: StateDatabase,
        log: ChangeLog,
        order: ChangeOrder,
        publishing: Publishing,
        type_of: Callable[[str], str] = lambda uri: "",
    ) -> None:
        self._database = database
        self._log = log
        self._order = order
        self._publishing = publishing
        self._type_of = type_of
        self._former = FormerOutbox(database)
        self._open = "1 = 1" if publishing.is_on else _SILENT
        # Whether changes of an earlier release may be in the queue, behind later ones.
        self._is_merging = True

    def run(self, until: Callable[[], bool] = lambda: False) -> int:
        """Take over every change that is committed and return how many SETs that made.

        Ends earlier when `until` says so.
        """
        made = 0
        begun: dict[int, ChangeEvents] = {}
        while True:
            more, count = self._take_over(begun)
            made += count
            if not more or until():
                return made

    def is_due(self) -> bool:
        """Return whether there is a change to take over."""
        # In the order of the key: PostgreSQL would read the room of every row that was deleted before.
        statement = f"SELECT 1 FROM scim_queue q WHERE {self._open} ORDER BY q.seq LIMIT 1"
        queued = self._database.row(statement)
        return queued is not None or self._former.has_changes()

    def _take_over(self, begun: dict[int, ChangeEvents]) -> tuple[bool, int]:
        """Take over some changes, in one transaction; return whether there may be more, and the SETs made.

        `begun` holds the change that the last transaction had no room for all of: with very many
        members, to read it anew for each part would take longer than all the rest.
        """
        if not self.is_due():
            return False, 0
        with self._database.transaction():
            # Positions are given out by one at a time: who has read up to one misses nothing below it.
            take_lease(self._database, "dispatch", "dispatch", 0)
            rows = self._due(next(iter(begun), -1))
            # Changes that get a position, changes that leave the queue, and changes without history.
            placed: list[int] = []
            taken: list[int] = []
            fleeting: list[int] = []
            sets: list[_NewSet] = []
            count = 0
            for seq, made_at, done, is_kept, is_silent, body in rows:
                (placed if is_kept else fleeting).append(seq)
                if not (is_silent or self._publishing.is_on):
                    # Its events wait for a process that has receivers.
                    continue
                change = begun.pop(seq, None) or _change(body)
                so_far = self._publish(change, made_at, done or 0, _SETS - count, sets)
                count += so_far - (done or 0) + (0 if done else len(change.events))
                if so_far < len(change.memberships):
                    # A group of very many members: the rest comes with the next transaction.
                    self._note_done(seq, so_far)
                    begun[seq] = change
                    break
                taken.append(seq)
                if count >= _SETS:
                    break
            for some in _portions(sets):
                self._insert_sets(some)
            self._order.place(placed)
            self._remove(taken, ["scim_queue", "scim_queue_part"])
            self._remove([seq for seq in taken if seq in fleeting], ["scim_change"])
        return bool(rows), count

    def _remove(self, seqs: Sequence[int], tables: Sequence[str]) -> None:
        for table in tables if seqs else ():
            self._database.run(f"DELETE FROM {table} WHERE seq IN ({marks(seqs)})", seqs)

    def _due(self, known: int) -> list[Any]:
        """Return the next changes in the order of the log, without the body of the one that is `known`.

        The search begins anew each time: what is committed late may have a lower number, and come before
        another change of the same writer. Changes of an earlier release come into the queue late, so that
        the time of each one counts.
        """
        up_to = None
        if self._former.has_changes():
            self._is_merging = True
            up_to = self._former.hand_over_changes(self._log, self._type_of, _CHANGES)
        self._is_merging = self._is_merging and self._former.are_waiting()
        # Looked up for each row that is returned: a join could read the whole history of changes.
        at = "(SELECT c.at FROM scim_change c WHERE c.seq = q.seq)"
        condition, order = "? > 0", "q.seq"
        if self._is_merging:
            condition, order = f"{at} <= ?", f"{at}, q.seq"
        return self._database.rows(
            f"SELECT q.seq, COALESCE({at}, ?), (SELECT p.done FROM scim_queue_part p WHERE p.seq = q.seq), "
            "q.is_kept, CASE WHEN q.body IS NULL THEN 1 ELSE 0 END, "
            "CASE WHEN q.seq = ? THEN NULL ELSE q.body END FROM scim_queue q "
            f"WHERE {condition} AND {self._open} ORDER BY {order} LIMIT ?",
            (now_ms(), known, up_to or _NEVER_MS, _CHANGES),
        )

    def _note_done(self, seq: int, done: int) -> None:
        # Not beside the body, which some databases would write anew each time.
        self._database.run("DELETE FROM scim_queue_part WHERE seq = ?", (seq,))
        self._database.run("INSERT INTO scim_queue_part (seq, done) VALUES (?, ?)", (seq, done))

    def _publish(
        self, change: ChangeEvents, made_at: int, done: int, room: int, sets: list[_NewSet]
    ) -> int:
        """Append SETs of a change to `sets`; return how many memberships have one, of which `done` had."""
        if not done:
            sets += self._sets_of(change.events, change.txn, made_at, self._feeds_of(change))
        now = change.memberships[done : done + max(1, room)]
        joins = ChangeEvents(change.txn, (), memberships=now).feed_events()
        sets += self._sets_of(joins, change.txn, made_at, [change.feed] if change.feed else [])
        return done + len(now)

    def _feeds_of(self, change: ChangeEvents) -> list[str]:
        feeds = [feed.id for feed in self._publishing.feeds]
        if self._publishing.groups_are_feeds:
            feeds += [feed for feed in change.feeds if feed not in feeds]
        return feeds

    def _sets_of(
        self, events: Iterable[Event], txn: str, made_at: int, feeds: Sequence[str]
    ) -> Iterator[_NewSet]:
        """Yield the SETs of events that anybody receives."""
        kept_feeds = orjson.dumps(list(feeds)).decode()
        for event in events:
            streams = list(self._streams_of(event, feeds))
            receivers = [r.name for r in self._publishing.receivers if r.wants(event, streams)]
            if receivers or self._publishing.poll:
                kept = orjson.dumps(event.as_json()).decode()
                yield _NewSet(uuid4().hex, txn, made_at, kept, kept_feeds, streams, receivers)

    def _streams_of(self, event: Event, feeds: Sequence[str]) -> Iterator[str]:
        """Yield the feeds whose stream has an event.

        Who reads everything also learns who joined the feed of a group.
        """
        yield from feeds
        if event.kind.startswith("urn:ietf:params:scim:event:feed:"):
            yield from (feed.id for feed in self._publishing.feeds if feed.id not in feeds)

    def _insert_sets(self, sets: Sequence[_NewSet]) -> None:
        """Insert SETs, in their order, for streams and receivers."""
        # Every database numbers the rows of one statement in their order.
        self._insert("scim_set", "jti, txn, made_at, event, feeds", [one[:5] for one in sets])
        jtis = [one.jti for one in sets]
        found = self._database.rows(f"SELECT jti, position FROM scim_set WHERE jti IN ({marks(jtis)})", jtis)
        positions: dict[str, int] = dict(found)
        if self._publishing.poll:
            rows = [(feed, positions[one.jti]) for one in sets for feed in one.streams]
            self._insert("scim_stream", "feed, position", rows)
        deliveries = [(name, positions[one.jti]) for one in sets for name in one.receivers]
        self._insert("scim_delivery", "receiver, position", deliveries)

    def _insert(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        for begin in range(0, len(rows), _ROWS):
            batch = rows[begin : begin + _ROWS]
            values = ", ".join([f"({marks(batch[0])})"] * len(batch))
            cells = [cell for row in batch for cell in row]
            self._database.run(f"INSERT INTO {table} ({columns}) VALUES {values}", cells)


def _portions(sets: Sequence[_NewSet]) -> Iterator[list[_NewSet]]:
    """Yield SETs in their order, as many at once as one statement takes."""
    some: list[_NewSet] = []
    characters = 0
    for one in sets:
        if some and (len(some) == _ROWS or characters + len(one.event) > _CHARACTERS):
            yield some
            some, characters = [], 0
        some.append(one)
        characters += len(one.event)
    if some:
        yield some


def _change(body: str | None) -> ChangeEvents:
    """Return the change that a row of the queue describes; without a body nobody receives events of it."""
    return ChangeEvents("", ()) if body is None else ChangeEvents.from_json(orjson.loads(body))
