"""Verification of the change log: what the hashes of its positions and signed checkpoints prove.

`verify` finds with the database alone:

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from set_delivery.change_log import START, Head, chained, contents
from set_delivery.database import StateDatabase

_BATCH: Final = 500


@dataclass(frozen=True)
class Problem:
    """What verification found at a position, in words."""

    position: int
    text: str


class LogBroken(Exception):
    """The log does not verify: nothing of it is trimmed or signed."""


def verify(
    database: StateDatabase,
    keys: Sequence[bytes],
    remembered: Head | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> list[Problem]:
    """Return what does not fit, nothing for a log that verifies; `remembered` is an earlier head.

    Each of `keys` is accepted for checkpoints; without keys, checkpoints that are there are problems.
    `progress` is called with the number of positions in each batch that was read.
    """
    # Positions that are given or trimmed meanwhile are no problem of the log.
    with database.snapshot():
        return _verify(database, keys, remembered, progress)


def _verify(
    database: StateDatabase,
    keys: Sequence[bytes],
    remembered: Head | None,
    progress: Callable[[int], object],
) -> list[Problem]:
    known, problems = _checkpoints(database, keys)
    first, last = database.row("SELECT MIN(position), MAX(position) FROM scim_order")
    if first is None:
        last = max(known, default=0)
        first = last + 1
    signed = set(known)
    if remembered is not None and remembered.position:
        if known.setdefault(remembered.position, remembered.hash) != remembered.hash:
            problems.append(Problem(remembered.position, "the hash is not the remembered one"))
    problems += _verify_chain(database, known, last, progress)
    problems += [Problem(one, "the log ends before this position") for one in known if one > last]
    problems += [Problem(one, "the log begins behind this checkpoint") for one in signed if one < first - 1]
    loose = database.rows(
        "SELECT c.seq FROM scim_change c WHERE NOT EXISTS (SELECT 1 FROM scim_order o "
        "WHERE o.seq = c.seq) AND NOT EXISTS (SELECT 1 FROM scim_queue q WHERE q.seq = c.seq) LIMIT 1"
    )
    return problems + [Problem(last, f"the change {seq} has no position") for (seq,) in loose]


def verify_start(database: StateDatabase, keys: Sequence[bytes], last: int) -> list[Problem]:
    """Return what does not fit from the first position that is kept to the position `last`."""
    known, problems = _checkpoints(database, keys)
    return [*problems, *_verify_chain(database, known, last)]


def _checkpoints(
    database: StateDatabase, keys: Sequence[bytes]
) -> tuple[dict[int, str], list[Problem]]:
    """Return the hashes that checkpoints have by position, and what is wrong with their signatures."""
    signed = {head.position for head in signed_heads(database, keys)}
    known = dict(database.rows("SELECT position, hash FROM scim_checkpoint ORDER BY position"))
    return known, [
        Problem(position, "the signature of the checkpoint is wrong")
        for position in known
        if position not in signed
    ]


def signed_heads(database: StateDatabase, keys: Sequence[bytes]) -> list[Head]:
    """Return the heads of the checkpoints that one of `keys` has signed."""
    return [
        Head(position, hash_)
        for position, hash_, at, given in database.rows(
            "SELECT position, hash, at, signature FROM scim_checkpoint"
        )
        if any(hmac.compare_digest(given, signature(key, position, hash_, at)) for key in keys)
    ]


def _verify_chain(
    database: StateDatabase,
    known: dict[int, str],
    last: int,
    progress: Callable[[int], object] = lambda count: None,
) -> Iterator[Problem]:
    """Yield what is wrong up to a position; `known` maps signed and remembered positions to their hashes."""
    position, previous = None, START
    while True:
        rows = database.rows(
            "SELECT position, seq, hash FROM scim_order WHERE position > ? AND position <= ? "
            "ORDER BY position LIMIT ?",
            (position or 0, last, _BATCH),
        )
        content = contents(database, [seq for _, seq, _ in rows]) if rows else {}
        for found, seq, hash_ in rows:
            if position is None and found > 1:
                # The positions before are trimmed, and have left a checkpoint.
                position, previous = found - 1, known.get(found - 1, "")
            if found != (position or 0) + 1:
                yield Problem(found, "positions before this one are missing")
            if seq not in content:
                yield Problem(found, "the row of this position is missing")
            elif content[seq][0] is None or chained(previous, *content[seq]) != hash_:
                yield Problem(found, "the row, its values or the hash before it were changed")
            if known.get(found, hash_) != hash_:
                yield Problem(found, "the hash is not that of the checkpoint")
            position, previous = found, hash_
        progress(len(rows))
        if len(rows) < _BATCH:
            return


def signature(key: bytes, position: int, hash_: str, at: int) -> str:
    """Return the signature of a checkpoint: HMAC-SHA256, in hexadecimal digits."""
    return hmac.new(key, orjson.dumps([position, hash_, at]), hashlib.sha256).hexdigest()
