"""The change log: a row per write, in one order that nobody can change without being noticed.

A write appends its row in its own transaction. The dispatcher, alone at it, gives positions without
gaps to rows that are committed. The hash of a position is SHA-256 over the hash before it, the digest
of the logged values, and the canonical bytes of the row. `verify` finds with the database alone:

- a row, a hash or logged values that were edited; values may be erased, the digest stays;
- a row or a position that was deleted in the middle, or a row that was put in beside the order;
- a start that no signed checkpoint explains (deleted rows before the first position).

Some changes need more than the database, because a writer of all tables can also calculate hashes:

- a consistent rewrite shows only against a signed checkpoint behind the first rewritten position, or
  against a head that was remembered elsewhere;
- a tail that was cut shows only where a checkpoint or a remembered head lies behind the last position.

A rewrite or cut behind the last checkpoint and the last remembered head cannot be found, and neither
can one by somebody with the key of the checkpoints: run `checkpoint` regularly. A log that was emptied
up to exactly a checkpoint looks like a trimmed one; a remembered head behind it tells the two apart.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, Final

import orjson

from set_delivery.database import StateDatabase, marks
from set_delivery.leases import take_lease
from set_delivery.outbox import now_ms

_BATCH: Final = 500
_COLUMNS: Final = (
    "at, resource_type, resource_id, external_id, kind, version, paths, principal, credential, address, "
    "origin, txn, request_id"
)
# What the first position follows.
_START: Final = "0" * 64


@dataclass(frozen=True)
class ChangeEntry:
    """One write, as the log keeps it; `at` is in milliseconds since 1970.

    `paths` is a JSON list of the changed attributes, `kind` is create, put, patch or delete, `origin`
    is rest, bulk, async, import or system. Only `resource_type`, `resource_id` and `txn` are limited
    in length (255 characters).
    """

    at: int
    resource_type: str
    resource_id: str
    external_id: str | None
    kind: str
    version: str | None
    paths: str
    principal: str | None
    credential: str | None
    address: str | None
    origin: str
    txn: str
    request_id: str | None


@dataclass(frozen=True)
class LoggedChange:
    """A row of the log; `position` is None until the dispatcher has given one."""

    seq: int
    position: int | None
    entry: ChangeEntry


@dataclass(frozen=True)
class Head:
    """The last position of the log and its hash, to be remembered outside of the database."""

    position: int
    hash: str


@dataclass(frozen=True)
class Problem:
    """What verification found at a position, in words."""

    position: int
    text: str


class LogBroken(Exception):
    """The log does not verify: nothing of it is trimmed or signed."""


class ChangeLog:
    """Appends to the log and reads it.

    The first of `keys` signs checkpoints, with HMAC-SHA256; each of them is accepted. Without keys,
    nothing can be signed, and checkpoints that are there count as problems.
    """

    def __init__(
        self, database: StateDatabase, keys: Sequence[bytes] = (), clock: Callable[[], int] = now_ms
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    # -- writers

    def append(
        self,
        entry: ChangeEntry,
        queue_body: str | None = None,
        values: tuple[str | None, str | None] | None = None,
    ) -> int:
        """Append a change in the caller's transaction and return its `seq`, which is no order.

        `queue_body` is what the dispatcher makes events of, None for none. `values` are the JSON texts
        before and after the change, where they are logged.
        """
        run, row = self._database.run, astuple(entry)
        insert = f"INSERT INTO scim_change ({_COLUMNS}) VALUES ({marks(row)})"
        with self._database.transaction():
            if self._database.dialect.name == "postgresql":
                # One statement: each one more is another way to the server and back.
                seq = int(
                    run(
                        f"WITH c AS ({insert} RETURNING seq), q AS (INSERT INTO scim_queue (seq, body) "
                        "SELECT seq, ? FROM c) SELECT seq FROM c",
                        (*row, queue_body),
                    ).fetchone()[0]
                )
            else:
                seq = int(run(insert, row).lastrowid)
                run("INSERT INTO scim_queue (seq, body) VALUES (?, ?)", (seq, queue_body))
            if values is not None:
                salt = secrets.token_hex(32)
                run(
                    "INSERT INTO scim_change_value (seq, digest, salt, old_value, new_value) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (seq, _digest(salt, *values), salt, *values),
                )
        return seq

    def erase_values(self, seqs: Sequence[int]) -> None:
        """Erase the logged values of changes; the log still verifies."""
        with self._database.transaction():
            self._database.run(
                "UPDATE scim_change_value SET salt = NULL, old_value = NULL, new_value = NULL "
                f"WHERE seq IN ({marks(seqs)})",
                seqs,
            )

    # -- readers

    def of_resource(self, resource_type: str, resource_id: str) -> list[LoggedChange]:
        """Return the changes of one resource, in the order of `seq`."""
        return self._changes("c.resource_type = ? AND c.resource_id = ?", (resource_type, resource_id))

    def of_txn(self, txn: str) -> list[LoggedChange]:
        """Return the changes of one transaction: a write whose answer was lost is looked up by it."""
        return self._changes("c.txn = ?", (txn,))

    def after(self, position: int, limit: int) -> list[LoggedChange]:
        """Return the changes behind a position, in order."""
        return self._changes("o.position > ?", (position,), "o.position", limit)

    def _changes(
        self, condition: str, params: Sequence[Any], order: str = "c.seq", limit: int = 2**31
    ) -> list[LoggedChange]:
        columns = ", ".join(f"c.{name}" for name in _COLUMNS.split(", "))
        rows = self._database.rows(
            f"SELECT c.seq, o.position, {columns} FROM scim_change c "
            f"LEFT JOIN scim_order o ON o.seq = c.seq WHERE {condition} ORDER BY {order} LIMIT ?",
            (*params, limit),
        )
        return [LoggedChange(row[0], row[1], ChangeEntry(*row[2:])) for row in rows]

    # -- the dispatcher

    def give_positions(self) -> int:
        """Give positions to changes that are committed, and return to how many.

        Queue rows without a body are done then, and are deleted; those with one are the dispatcher's.
        """
        given = 0
        while True:
            with self._alone():
                rows = self._database.rows(
                    "SELECT q.seq, q.body IS NULL FROM scim_queue q "
                    "JOIN scim_change c ON c.seq = q.seq WHERE NOT EXISTS "
                    "(SELECT 1 FROM scim_order o WHERE o.seq = q.seq) ORDER BY q.seq LIMIT ?",
                    (_BATCH,),
                )
                if not rows:
                    return given
                seqs = [seq for seq, _ in rows]
                content, head = self._contents(seqs), self.head()
                for seq in seqs:
                    hash_ = _chained(head.hash, *content[seq])
                    head = Head(head.position + 1, hash_)
                    self._database.run(
                        "INSERT INTO scim_order (position, seq, hash) VALUES (?, ?, ?)",
                        (head.position, seq, head.hash),
                    )
                done = [seq for seq, is_done in rows if is_done]
                if done:
                    self._database.run(f"DELETE FROM scim_queue WHERE seq IN ({marks(done)})", done)
            given += len(seqs)

    def head(self) -> Head:
        """Return the last position and its hash; position 0 where there is none yet."""
        for table in ("scim_order", "scim_checkpoint"):
            row = self._database.row(f"SELECT position, hash FROM {table} ORDER BY position DESC LIMIT 1")
            if row is not None:
                return Head(*row)
        return Head(0, _START)

    def checkpoint(self) -> Head:
        """Sign the last position, so that a later rewrite or cut before it is found. Raises LogBroken."""
        with self._alone():
            if problems := self.verify():
                raise LogBroken(problems[0].text)
            head = self.head()
            if head.position:
                self._sign(head)
        return head

    def trim(self, retention_ms: int) -> int:
        """Delete the oldest changes up to the first that is young enough; return how many.

        A signed checkpoint with the last deleted position stays. Raises LogBroken before anything is
        deleted of a log that does not verify: a signature never covers what was tampered with.
        """
        if problems := self.verify():
            raise LogBroken(problems[0].text)
        latest, trimmed = self._clock() - retention_ms, 0
        while count := self._trim_batch(latest):
            trimmed += count
        return trimmed

    def _trim_batch(self, latest: int) -> int:
        with self._alone():
            rows = self._database.rows(
                "SELECT o.position, o.hash, o.seq, c.at FROM scim_order o "
                "JOIN scim_change c ON c.seq = o.seq WHERE NOT EXISTS "
                "(SELECT 1 FROM scim_queue q WHERE q.seq = o.seq) "
                "ORDER BY o.position LIMIT ?",
                (_BATCH,),
            )
            first = self._database.row("SELECT MIN(position) FROM scim_order")[0]
            old: list[tuple[int, str, int]] = []
            for position, hash_, seq, at in rows:
                if at >= latest or position != first + len(old):
                    break
                old.append((position, hash_, seq))
            if not old:
                return 0
            edge = Head(*old[-1][:2])
            self._sign(edge)
            seqs = [seq for *_, seq in old]
            for table in ("scim_change", "scim_change_value", "scim_order"):
                self._database.run(f"DELETE FROM {table} WHERE seq IN ({marks(seqs)})", seqs)
            self._database.run("DELETE FROM scim_checkpoint WHERE position < ?", (edge.position,))
        return len(old)

    # -- verification

    def verify(self, remembered: Head | None = None) -> list[Problem]:
        """Return what does not fit, nothing for a log that verifies; `remembered` is an earlier head."""
        signed = self._database.rows(
            "SELECT position, hash, at, signature FROM scim_checkpoint ORDER BY position"
        )
        known = {position: hash_ for position, hash_, *_ in signed}
        problems = [
            Problem(position, "the signature of the checkpoint is wrong")
            for position, hash_, at, signature in signed
            if not any(hmac.compare_digest(signature, _signature(k, position, hash_, at)) for k in self._keys)
        ]
        if remembered is not None and remembered.position:
            if known.setdefault(remembered.position, remembered.hash) != remembered.hash:
                problems.append(Problem(remembered.position, "the hash is not the remembered one"))
        problems += self._verify_chain(known)
        last = self.head().position
        first = self._database.row("SELECT MIN(position) FROM scim_order")[0] or last + 1
        problems += [
            Problem(position, "the log ends before this position")
            for position in known
            if position > last or (position < first - 1 and remembered is None)
        ]
        loose = self._database.rows(
            "SELECT c.seq FROM scim_change c WHERE NOT EXISTS (SELECT 1 FROM scim_order o "
            "WHERE o.seq = c.seq) AND NOT EXISTS (SELECT 1 FROM scim_queue q WHERE q.seq = c.seq) LIMIT 1"
        )
        return problems + [Problem(last, f"the change {seq} has no position") for (seq,) in loose]

    def _verify_chain(self, known: dict[int, str]) -> Iterator[Problem]:
        position, previous = None, _START
        while True:
            rows = self._database.rows(
                "SELECT position, seq, hash FROM scim_order WHERE position > ? ORDER BY position LIMIT ?",
                (position or 0, _BATCH),
            )
            content = self._contents([seq for _, seq, _ in rows]) if rows else {}
            for found, seq, hash_ in rows:
                if position is None and found > 1:
                    # What was before is trimmed; the checkpoint is what it left.
                    position, previous = found - 1, known.get(found - 1, "")
                if found != (position or 0) + 1:
                    yield Problem(found, "positions before this one are missing")
                if seq not in content:
                    yield Problem(found, "the row of this position is missing")
                elif content[seq][0] is None or _chained(previous, *content[seq]) != hash_:
                    yield Problem(found, "the row, its values or the hash before it were changed")
                if known.get(found, hash_) != hash_:
                    yield Problem(found, "the hash is not that of the checkpoint")
                position, previous = found, hash_
            if len(rows) < _BATCH:
                return

    def _contents(self, seqs: Sequence[int]) -> dict[int, tuple[str | None, bytes]]:
        """Return the digest of the values and the canonical bytes of each row; no digest if that is wrong."""
        columns = ", ".join(f"c.{name}" for name in _COLUMNS.split(", "))
        rows = self._database.rows(
            f"SELECT v.digest, v.salt, v.old_value, v.new_value, c.seq, {columns} FROM scim_change c "
            f"LEFT JOIN scim_change_value v ON v.seq = c.seq WHERE c.seq IN ({marks(seqs)})",
            seqs,
        )
        contents: dict[int, tuple[str | None, bytes]] = {}
        for digest, salt, old, new, *row in rows:
            is_erased = salt is None and old is None and new is None
            is_right = digest is None or is_erased or _digest(salt or "", old, new) == digest
            contents[row[0]] = ((digest or "") if is_right else None, orjson.dumps(row))
        return contents

    # -- in common

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A transaction of the one process that gives positions or removes them."""
        with self._database.transaction():
            # The row of the lease is locked until the transaction ends.
            take_lease(self._database, "dispatch", "dispatch", 0)
            yield

    def _sign(self, head: Head) -> None:
        if not self._keys:
            raise ValueError("a checkpoint needs a key")
        at = self._clock()
        self._database.run("DELETE FROM scim_checkpoint WHERE position = ?", (head.position,))
        self._database.run(
            "INSERT INTO scim_checkpoint (position, at, hash, signature) VALUES (?, ?, ?, ?)",
            (head.position, at, head.hash, _signature(self._keys[0], head.position, head.hash, at)),
        )


def _digest(salt: str, old: str | None, new: str | None) -> str:
    return hashlib.sha256(orjson.dumps([salt, old, new])).hexdigest()


def _chained(previous: str, digest: str | None, row: bytes) -> str:
    # Both have a fixed length, so that no two inputs are the same bytes.
    return hashlib.sha256(f"{previous:64}{digest or '':64}".encode() + row).hexdigest()


def _signature(key: bytes, position: int, hash_: str, at: int) -> str:
    return hmac.new(key, orjson.dumps([position, hash_, at]), hashlib.sha256).hexdigest()
