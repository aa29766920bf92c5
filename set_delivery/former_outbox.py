"""What releases up to 0.2.0 leave in scim_outbox, taken over for one release more.

A process of such a release may go on beside this one. It finds a row that was taken over gone, and
writes what it knows as a new row: an event may then come twice, and is never lost.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from set_delivery.change_log import ChangeEntry, ChangeLog
from set_delivery.database import StateDatabase

# The kinds of change by the ends of the URIs of their events; another event stands for a PATCH.
_KINDS: Final = ("create", "put", "patch", "delete")


class FormerOutbox:
    """Takes rows over from scim_outbox, each in one transaction."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def has_changes(self) -> bool:
        """Return whether there is a change that nobody took over."""
        return self._database.row("SELECT 1 FROM scim_outbox WHERE due_at = 0 LIMIT 1") is not None

    def hand_over_changes(
        self, log: ChangeLog, type_of: Callable[[str], str], limit: int
    ) -> int | None:
        """Append the oldest changes to the log, in the caller's transaction, alone at it.

        `type_of` returns the name of the resource type with a URI. Returns the time, in milliseconds
        since 1970, up to which the log has all changes, None if all of them are there.
        """
        rows = self._database.rows(
            "SELECT o.seq, o.made_at, o.body, b.done FROM scim_outbox o "
            "LEFT JOIN scim_begun b ON b.seq = o.seq WHERE o.due_at = 0 ORDER BY o.seq LIMIT ?",
            (limit,),
        )
        at = 0
        for seq, made_at, body, done in rows:
            # They have an order, whatever a clock said.
            at = max(at, made_at)
            entry = _entry(orjson.loads(body), at, type_of)
            log.append(entry, body)
            if done:
                appended = log.of_txn(entry.txn)[-1].seq
                self._database.run("INSERT INTO scim_queue_part (seq, done) VALUES (?, ?)", (appended, done))
            for table in ("scim_outbox", "scim_begun"):
                self._database.run(f"DELETE FROM {table} WHERE seq = ?", (seq,))
        return at if len(rows) == limit else None

    def are_waiting(self) -> bool:
        """Return whether changes that were handed over wait in the queue."""
        return (
            self._database.row(
                "SELECT 1 FROM scim_queue q JOIN scim_change c ON c.seq = q.seq "
                "WHERE c.principal IS NULL LIMIT 1"
            )
            is not None
        )

    def hand_over_intents(self, now: int | None, txn: str | None = None) -> None:
        """Move the intents that are due at `now`, or those of a transaction, to scim_intent."""
        due = "due_at > 0" if now is None else "due_at > 0 AND due_at <= ?"
        params = () if now is None else (now,)
        rows = self._database.rows(
            f"SELECT seq, made_at, due_at, body FROM scim_outbox WHERE {due} ORDER BY seq", params
        )
        for seq, since, due_at, body in rows:
            plan = orjson.loads(body)["plan"]
            if txn is None or plan["txn"] == txn:
                with self._database.transaction():
                    moved = self._database.run(
                        "DELETE FROM scim_outbox WHERE seq = ? AND due_at > 0", (seq,)
                    )
                    if moved.rowcount:
                        self._database.run(
                            "INSERT INTO scim_intent (made_at, due_at, txn, body) VALUES (?, ?, ?, ?)",
                            (since, due_at, plan["txn"], orjson.dumps(plan).decode()),
                        )


def _entry(body: Mapping[str, Any], made_at: int, type_of: Callable[[str], str]) -> ChangeEntry:
    """Return the row of a change of which only the events are known."""
    # A change without an event of its own is one of the members of a group.
    event: Mapping[str, Any] = {"kind": "", "subject": ["", body["feed"], None]}
    if body["events"]:
        event = body["events"][0]
    uri, resource_id, external_id = event["subject"]
    kind = event["kind"].rpartition(":")[2]
    return ChangeEntry(
        at=made_at,
        resource_type=type_of(uri),
        resource_id=resource_id or "",
        external_id=external_id,
        kind=kind if kind in _KINDS else "completion" if kind == "asyncresp" else "patch",
        version=event.get("version"),
        paths=orjson.dumps(event.get("attributes") or []).decode(),
        principal=None,
        credential=None,
        address=None,
        origin="rest",
        txn=body["txn"],
        request_id=None,
    )
