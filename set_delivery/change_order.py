"""The order of the change log: positions and their hashes, signed checkpoints, and trimming."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Final

from set_delivery.change_log import START, Head, chained, contents
from set_delivery.change_verification import (
    LogBroken,
    Problem,
    signature,
    signed_heads,
    verify,
    verify_start,
)
from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase, marks
from set_delivery.leases import take_lease

_LOG = logging.getLogger(__name__)

_BATCH: Final = 500


class ChangeOrder:
    """Gives positions to changes, signs them, and removes the oldest.

    The first of `keys` signs checkpoints; each of them is accepted. Without keys, nothing can be signed,
    and checkpoints that are there count as problems.
    """

    def __init__(
        self, database: StateDatabase, keys: Sequence[bytes] = (), clock: Callable[[], int] = now_ms
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A transaction of the one process that gives positions or removes them."""
        with self._database.transaction():
            # The row of the lease is locked until the transaction ends.
            take_lease(self._database, "dispatch", "dispatch", 0)
            yield

    # -- the dispatcher

    def place(self, seqs: Sequence[int]) -> None:
        """Give the next positions to committed changes without one, in the order of `seqs`.

        The caller's transaction holds the lease `dispatch` (`alone`). A change that has a position
        keeps it, and a `seq` without a row gets none.
        """
        for begin in range(0, len(seqs), _BATCH):
            self._place_batch(seqs[begin : begin + _BATCH])

    def _place_batch(self, seqs: Sequence[int]) -> None:
        placed = self._database.rows(f"SELECT seq FROM scim_order WHERE seq IN ({marks(seqs)})", seqs)
        content = contents(self._database, seqs)
        for (seq,) in placed:
            content.pop(seq, None)
        head, cells = self.head(), []
        for seq in seqs:
            if seq in content:
                head = Head(head.position + 1, chained(head.hash, *content.pop(seq)))
                cells += [head.position, seq, head.hash]
        if cells:
            rows = ", ".join(["(?, ?, ?)"] * (len(cells) // 3))
            self._database.run(f"INSERT INTO scim_order (position, seq, hash) VALUES {rows}", cells)

    # -- readers

    def waiting(self) -> int:
        """Return how many changes of the history have no position yet."""
        return int(
            self._database.row(
                "SELECT COUNT(*) FROM scim_queue q WHERE q.is_kept = 1 "
                "AND NOT EXISTS (SELECT 1 FROM scim_order o WHERE o.seq = q.seq)"
            )[0]
        )

    def head(self) -> Head:
        """Return the last position and its hash; position 0 where there is none yet."""
        for table in ("scim_order", "scim_checkpoint"):
            row = self._database.row(f"SELECT position, hash FROM {table} ORDER BY position DESC LIMIT 1")
            if row is not None:
                return Head(*row)
        return Head(0, START)

    def verify(
        self, remembered: Head | None = None, progress: Callable[[int], object] = lambda count: None
    ) -> list[Problem]:
        """Return what does not fit, as `verify` of change_verification does."""
        return verify(self._database, self._keys, remembered, progress)

    # -- checkpoints

    def checkpoint(self) -> Head:
        """Sign the last position, so that a later rewrite or cut before it is found, and return it.

        The first key signs the checkpoints of the other keys anew, so that these can be removed.
        Raises LogBroken when the log does not verify, and ValueError without a key.
        """
        head = self.head()
        # Verification takes its time; writers do not wait for it.
        self._require_sound(head)
        with self.alone():
            held = self._database.row("SELECT hash FROM scim_order WHERE position = ?", (head.position,))
            # A head that was trimmed meanwhile has left a checkpoint behind it.
            if held is not None and held[0] == head.hash:
                self._sign(head)
            for former in signed_heads(self._database, self._keys[1:]):
                self._sign(former)
        return head

    def _require_sound(self, remembered: Head | None = None) -> None:
        if problems := self.verify(remembered):
            raise LogBroken(f"position {problems[0].position}: {problems[0].text}")

    def trim(self, retention_ms: int, up_to: int | None = None) -> int:
        """Delete the oldest changes up to the first that is young enough; return how many.

        Changes behind the position `up_to` stay, unless it is None: the log has a warning about old ones.
        A signed checkpoint with the last deleted position stays. Raises LogBroken before a row is deleted
        that does not verify: a signature never covers what was tampered with.
        """
        latest, trimmed = self._clock() - retention_ms, 0
        while count := self._trim_batch(latest, up_to):
            trimmed += count
        return trimmed

    def _trim_batch(self, latest: int, up_to: int | None) -> int:
        with self.alone():
            rows = self._database.rows(
                "SELECT o.position, o.hash, o.seq, c.at FROM scim_order o "
                "LEFT JOIN scim_change c ON c.seq = o.seq ORDER BY o.position LIMIT ?",
                (_BATCH,),
            )
            # One whose row is missing is as old as those before it, and does not verify.
            expired = list(takewhile(lambda row: row[3] is None or row[3] < latest, rows))
            old = [row for row in expired if up_to is None or row[0] <= up_to]
            if len(old) < len(expired):
                _LOG.warning("old rows of the change log stay: the collector has position %d only", up_to)
            if not old:
                return 0
            edge = Head(*old[-1][:2])
            if problems := verify_start(self._database, self._keys, edge.position):
                raise LogBroken(f"position {problems[0].position}: {problems[0].text}")
            self._sign(edge)
            seqs = [seq for _, _, seq, _ in old]
            for table in ("scim_change", "scim_change_value", "scim_order"):
                self._database.run(f"DELETE FROM {table} WHERE seq IN ({marks(seqs)})", seqs)
            self._database.run("DELETE FROM scim_checkpoint WHERE position < ?", (edge.position,))
        return len(old)

    def _sign(self, head: Head) -> None:
        if not self._keys:
            raise ValueError("a checkpoint needs a key")
        at = self._clock()
        self._database.run("DELETE FROM scim_checkpoint WHERE position = ?", (head.position,))
        self._database.run(
            "INSERT INTO scim_checkpoint (position, at, hash, signature) VALUES (?, ?, ?, ?)",
            (head.position, at, head.hash, signature(self._keys[0], head.position, head.hash, at)),
        )
