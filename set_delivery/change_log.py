"""The change log: a row per write, in one order that nobody can change without being noticed.

A write appends its row in its own transaction. The dispatcher, alone at it, gives positions without
gaps to rows that are committed (`change_order`). The hash of a position is SHA-256 over the hash before
it, the digest of the logged values, and the canonical bytes of the row. `change_verification` says what
these hashes prove.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from set_delivery.database import StateDatabase, marks

_COLUMNS: Final = (
    "at, resource_type, resource_id, external_id, kind, version, paths, principal, credential, address, "
    "origin, txn, request_id"
)
_INSERT: Final = f"INSERT INTO scim_change ({_COLUMNS}) VALUES ({marks(_COLUMNS.split(','))})"
# How many rows go in one statement; databases limit its parameters.
_ROWS: Final = 200
# The longest name of a type, resource or transaction, in characters.
_MOST: Final = 255
# What the first position follows.
START: Final = "0" * 64


Values = tuple[str | None, str | None]
"""The JSON texts before and after a change."""


class ChangeEntry(NamedTuple):
    """One write, as the log keeps it; `at` is in milliseconds since 1970.

    `paths` is a JSON list of the changed attributes. `kind` is create, put, patch, delete or adopt,
    completion for an asynchronous request that is done, or another word for what is no change of a resource
    (`app.protocol.audit_log`); its type and id may then be empty. `origin` is rest, bulk, async, import or
    system. Only `resource_type`, `resource_id` and `txn` are limited in length (255 characters).
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


@dataclass(frozen=True, repr=False)
class LoggedChange:
    """A row of the log; `position` and `hash` are None until the dispatcher has given them.

    `digest` is that of the logged values, None where none are logged. `before` and `after` are these
    values, JSON texts; both are None where they were erased.
    """

    seq: int
    position: int | None
    hash: str | None
    digest: str | None
    entry: ChangeEntry
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class Head:
    """The last position of the log and its hash, to be remembered outside of the database."""

    position: int
    hash: str


class ChangeLog:
    """Appends to the log and reads it; `wake` is called when there are events and they are committed.

    Unless `keeps_history`, the row of a change goes when its events are SETs.
    """

    def __init__(
        self,
        database: StateDatabase,
        wake: Callable[[], object] = lambda: None,
        keeps_history: bool = True,
    ) -> None:
        self._database = database
        self._wake = wake
        # For changes without a body, and with one; what is the same for each change is no parameter.
        self._append = [
            _append_statements(database.dialect.name, body, int(keeps_history)) for body in ("NULL", "?")
        ]

    # -- writers

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context in which what is appended and erased is committed together."""
        return self._database.transaction()

    def append(
        self,
        entry: ChangeEntry,
        queue_body: str | None = None,
        values: Values | None = None,
    ) -> None:
        """Append a change in the caller's transaction.

        `queue_body` is what the dispatcher makes events of, None for none. `values` are the JSON texts
        before and after the change, where they are logged.
        """
        run_soon, row = self._database.run_soon, _fitted(entry)
        body = () if queue_body is None else (queue_body,)
        insert, queue = self._append[queue_body is not None]
        with self._database.transaction():
            if queue is None:
                run_soon(insert, (*row, *body))
            else:
                run_soon(insert, row)
                run_soon(queue, body)
            if queue_body is not None:
                self._database.when_committed(self._wake)
            if values is not None:
                (seq,) = self._database.row("SELECT MAX(seq) FROM scim_change WHERE txn = ?", (entry.txn,))
                self._append_values(seq, values)

    def append_many(
        self, entries: Sequence[ChangeEntry], values: Sequence[Values | None] = ()
    ) -> None:
        """Append changes of one `txn` that make no events, in the caller's transaction if there is one.

        `values` has those of each entry, and nothing where none are logged; then no two entries are of
        one resource.
        """
        with self._database.transaction():
            for begin in range(0, len(entries), _ROWS):
                rows = [_fitted(entry) for entry in entries[begin : begin + _ROWS]]
                more = f", ({marks(rows[0])})" * (len(rows) - 1)
                self._database.run(_INSERT + more, [cell for row in rows for cell in row])
            txn = (entries[0].txn,)
            self._database.run("INSERT INTO scim_queue (seq) SELECT seq FROM scim_change WHERE txn = ?", txn)
            if values:
                numbers = self._database.rows("SELECT resource_id, seq FROM scim_change WHERE txn = ?", txn)
                seqs: dict[str, int] = dict(numbers)
                for entry, logged in zip(entries, values, strict=True):
                    if logged is not None:
                        self._append_values(seqs[_fitted(entry).resource_id], logged)

    def _append_values(self, seq: int, values: Values) -> None:
        salt = secrets.token_hex(32)
        self._database.run_soon(
            "INSERT INTO scim_change_value (seq, digest, salt, old_value, new_value) VALUES (?, ?, ?, ?, ?)",
            (seq, _digest(salt, *values), salt, *values),
        )

    def erase_values(self, resource_type: str, resource_id: str) -> int:
        """Erase the logged values of a resource and return of how many changes; the log still verifies."""
        count = 0
        with self._database.transaction():
            # Not in one statement: MariaDB would lock every row of the table.
            found = self._database.rows(
                "SELECT seq FROM scim_change WHERE resource_type = ? AND resource_id = ?",
                (resource_type, resource_id),
            )
            seqs = [seq for (seq,) in found]
            for begin in range(0, len(seqs), _ROWS):
                some = seqs[begin : begin + _ROWS]
                erased = self._database.run(
                    "UPDATE scim_change_value SET salt = NULL, old_value = NULL, new_value = NULL "
                    f"WHERE salt IS NOT NULL AND seq IN ({marks(some)})",
                    some,
                )
                count += erased.rowcount
        return count

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

    def newest(
        self,
        limit: int,
        resource: tuple[str, str] | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> list[LoggedChange]:
        """Return the last changes in order, newest first.

        `resource` is the name of a resource type and an id. `since` and `until` are in milliseconds since
        1970; the latter is excluded.
        """
        conditions: list[tuple[str, Sequence[Any]]] = [("o.position > ?", (0,))]
        if resource is not None:
            conditions.append(("c.resource_type = ? AND c.resource_id = ?", resource))
        if since is not None:
            conditions.append(("c.at >= ?", (since,)))
        if until is not None:
            conditions.append(("c.at < ?", (until,)))
        params = [value for _, values in conditions for value in values]
        return self._changes(" AND ".join(text for text, _ in conditions), params, "o.position DESC", limit)

    def _changes(
        self, condition: str, params: Sequence[Any], order: str = "c.seq", limit: int = 2**31
    ) -> list[LoggedChange]:
        columns = ", ".join(f"c.{name}" for name in _COLUMNS.split(", "))
        rows = self._database.rows(
            f"SELECT c.seq, o.position, o.hash, v.digest, v.old_value, v.new_value, {columns} "
            "FROM scim_change c LEFT JOIN scim_order o ON o.seq = c.seq "
            "LEFT JOIN scim_change_value v ON v.seq = c.seq "
            f"WHERE {condition} ORDER BY {order} LIMIT ?",
            (*params, limit),
        )
        return [
            LoggedChange(seq, position, hash_, digest, ChangeEntry(*entry), before, after)
            for seq, position, hash_, digest, before, after, *entry in rows
        ]


def _append_statements(dialect: str, body: str, is_kept: int) -> tuple[str, str | None]:
    """Return the statement that inserts a change and the one that queues it; None: the first does both."""
    if dialect == "postgresql":
        queue = f"INSERT INTO scim_queue (seq, body, is_kept) SELECT seq, {body}, {is_kept} FROM c"
        return f"WITH c AS ({_INSERT} RETURNING seq) {queue}", None
    last = "LAST_INSERT_ID()" if dialect == "mysql" else "LAST_INSERT_ROWID()"
    return _INSERT, f"INSERT INTO scim_queue (seq, body, is_kept) VALUES ({last}, {body}, {is_kept})"


def _fitted(entry: ChangeEntry) -> ChangeEntry:
    """Return an entry that every database can hold: nothing of it may be in the way of a change."""
    if entry.external_id and "\0" in entry.external_id:
        entry = entry._replace(external_id=entry.external_id.replace("\0", ""))
    if len(entry.resource_id) > _MOST:
        entry = entry._replace(resource_id=entry.resource_id[:_MOST])
    return entry


def contents(database: StateDatabase, seqs: Sequence[int]) -> dict[int, tuple[str | None, bytes]]:
    """Return the digest of the values and the canonical bytes of each row; no digest if that is wrong."""
    columns = ", ".join(f"c.{name}" for name in _COLUMNS.split(", "))
    rows = database.rows(
        f"SELECT v.digest, v.salt, v.old_value, v.new_value, c.seq, {columns} FROM scim_change c "
        f"LEFT JOIN scim_change_value v ON v.seq = c.seq WHERE c.seq IN ({marks(seqs)})",
        seqs,
    )
    found: dict[int, tuple[str | None, bytes]] = {}
    for digest, salt, old, new, *row in rows:
        is_erased = salt is None and old is None and new is None
        is_right = digest is None or is_erased or _digest(salt or "", old, new) == digest
        found[row[0]] = ((digest or "") if is_right else None, orjson.dumps(row))
    return found


def chained(previous: str, digest: str | None, row: bytes) -> str:
    """Return the hash of a position from the hash before it and the contents of its row."""
    # Both have a fixed length, so that no two inputs are the same bytes.
    return hashlib.sha256(f"{previous:64}{digest or '':64}".encode() + row).hexdigest()


def _digest(salt: str, old: str | None, new: str | None) -> str:
    return hashlib.sha256(orjson.dumps([salt, old, new])).hexdigest()
