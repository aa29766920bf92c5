"""Poll delivery (RFC 8936) and reading a feed by GET: what a stream holds, and what was acknowledged."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from set_delivery.answers import is_final
from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, marks
from set_delivery.events import Set
from set_delivery.push import read_set

_LOG = logging.getLogger(__name__)
_COLUMNS = "s.position, s.jti, s.txn, s.made_at, s.event, s.feeds"


class OutOfWindow(Exception):
    """The stream does not hold (any more) the SET that reading was to go on after."""


@dataclass(frozen=True)
class Part:
    """Some SETs of a stream, in order, and whether there are more."""

    sets: Sequence[Set]
    more_available: bool


class Streams:
    """The streams of the feeds, shared by all processes; each shows its latest `size` SETs."""

    def __init__(
        self, database: StateDatabase, size: int = 10_000, clock: Callable[[], int] = now_ms
    ) -> None:
        self._database = database
        self._size = size
        self._clock = clock

    def holds_anything(self, feed: str) -> bool:
        """Return whether there is a SET in a feed."""
        if "\0" in feed:
            # Not every database can be asked for it.
            return False
        return self._database.row("SELECT 1 FROM scim_stream WHERE feed = ? LIMIT 1", (feed,)) is not None

    def after(self, feed: str, jti: str | None, limit: int) -> Part:
        """Return up to `limit` SETs behind the one called `jti`, or from the first one on.

        Acknowledged ones are among them. Raises OutOfWindow.
        """
        position = 0
        if jti:
            row = self._database.row(
                "SELECT t.position FROM scim_set s JOIN scim_stream t ON t.position = s.position "
                "WHERE s.jti = ? AND t.feed = ?",
                (jti, feed),
            )
            if row is None or self._is_surplus(feed, row[0]):
                raise OutOfWindow(f"the feed {feed} does not hold, or no longer holds, the SET {jti[:100]}")
            position = row[0]
        return self._part(feed, "t.position > ?", (position,), limit)

    def unacknowledged(self, feed: str, limit: int) -> Part:
        """Return up to `limit` SETs that were not acknowledged, from the first one on."""
        return self._part(feed, "t.acked_at IS NULL", (), limit)

    def acknowledge(self, feed: str, jtis: Sequence[str]) -> None:
        """Note that the receiver has these SETs; others of that name do not matter."""
        now = self._clock()
        with self._database.transaction():
            for start in range(0, len(jtis), 500):
                batch = list(jtis[start : start + 500])
                positions = [
                    position
                    for (position,) in self._database.rows(
                        f"SELECT position FROM scim_set WHERE jti IN ({marks(batch)})", batch
                    )
                ]
                if positions:
                    self._database.run(
                        "UPDATE scim_stream SET acked_at = ? WHERE feed = ? AND acked_at IS NULL "
                        f"AND position IN ({marks(positions)})",
                        (now, feed, *positions),
                    )

    def refuse(self, feed: str, errors: Mapping[str, Any]) -> None:
        """Note that the receiver cannot use these SETs (RFC 8936 section 2.4): they are settled.

        An error about the transmitter, such as one that could not be authenticated, settles nothing:
        the SET is given again.
        """
        settled = []
        for jti, error in errors.items():
            code = error.get("err") if isinstance(error, Mapping) else None
            # As a reader says them: without the quotes of %r they could break the line.
            if isinstance(code, str) and not is_final(code):
                _LOG.warning("the reader of the feed %s cannot accept the SET %.64r yet: %s", feed, jti, code)
                continue
            _LOG.error("the reader of the feed %s refuses the SET %.64r: %.200r", feed, jti, code)
            settled.append(jti)
        self.acknowledge(feed, settled)

    def _part(self, feed: str, condition: str, params: tuple[Any, ...], limit: int) -> Part:
        rows = self._rows(feed, condition, params, limit + 1)
        if rows and self._is_surplus(feed, rows[0][0]):
            # The next sweep of `Retention` drops it.
            params = (*params, self._oldest(feed))
            rows = self._rows(feed, f"{condition} AND t.position >= ?", params, limit + 1)
        return Part([read_set(row) for row in rows[:limit]], len(rows) > limit)

    def _rows(self, feed: str, condition: str, params: tuple[Any, ...], limit: int) -> list[Any]:
        return self._database.rows(
            f"SELECT {_COLUMNS} FROM scim_stream t JOIN scim_set s ON s.position = t.position "
            f"WHERE t.feed = ? AND {condition} ORDER BY t.position LIMIT ?",
            (feed, *params, limit),
        )

    def _is_surplus(self, feed: str, position: int) -> bool:
        """Return whether a feed has as many SETs as it keeps behind a position."""
        row = self._database.row(
            "SELECT 1 FROM scim_stream WHERE feed = ? AND position > ? ORDER BY position LIMIT 1 OFFSET ?",
            (feed, position, self._size - 1),
        )
        return row is not None

    def _oldest(self, feed: str) -> int:
        """Return the position of the first SET that a feed keeps."""
        row = self._database.row(
            "SELECT position FROM scim_stream WHERE feed = ? ORDER BY position DESC LIMIT 1 OFFSET ?",
            (feed, self._size - 1),
        )
        return int(row[0]) if row else 0
