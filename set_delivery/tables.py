"""The tables of the state database: everything that must survive the process.

docs/architecture.md says who writes and who reads each of them, and how older ones are migrated.

    scim_change(seq, ...)                       the change log: a row per write, insert-only
    scim_change_value(seq, digest, salt, old_value, new_value)   what a change replaced, where that is logged
    scim_order(position, seq, hash)             the order of the changes for every reader, and their chain
    scim_queue(seq, body, is_kept)                       changes that the dispatcher has not taken yet
    scim_queue_part(seq, done)                  how many memberships of a large change are SETs by now
    scim_checkpoint(position, at, hash, signature)   signed hashes of positions
    scim_intent(seq, made_at, due_at, txn, body)     what is about to be changed without a transaction
    scim_set(position, jti, txn, made_at, event, feeds)   the events, in one order for everybody
    scim_stream(feed, position, acked_at)       which feed has which event
    scim_delivery(receiver, position, ...)      what is still to be pushed, or was refused for good
    scim_receiver(name, ...)                    how far each receiver is, and how it fares
    scim_feed(id, trimmed_to)                   up to where a feed has lost events
    scim_job(seq, txn, ...)                     requests that are carried out later
    scim_job_operation(txn, position, state)    what became of the operations of one that is Bulk
    scim_lease(name, owner, until)              who is doing what only one may do at a time
    scim_outbox(seq, made_at, due_at, body)     changes of releases up to 0.2.0; with `due_at`, an intent
    scim_begun(seq, done)                       as scim_queue_part, for scim_outbox
    scim_state(version)                         which version of these tables this is
"""

from collections.abc import Mapping
from typing import Final

from set_delivery.database import StateDatabase

# Raise it with every change of `_TABLES` or `_INDEXES`.
VERSION: Final = 3

# The words in braces are the dialect's (`create_tables`). A column that is added to a table accepts
# NULL or has a default. Not described by models of peewee: its schema manager adds no column and no key
# to a table that is there, and needs a connection of its own, which this package does not have.
_TABLES: Final[Mapping[str, str]] = {
    "scim_change": "seq {serial}, at BIGINT NOT NULL, resource_type {id} NOT NULL, "
    "resource_id {id} NOT NULL, "
    "external_id {long}, kind VARCHAR(32) NOT NULL, version {long}, paths {long} NOT NULL, principal {long}, "
    "credential {long}, address {long}, origin VARCHAR(32) NOT NULL, txn {id} NOT NULL, request_id {long}",
    "scim_change_value": "seq BIGINT NOT NULL PRIMARY KEY, digest VARCHAR(64) NOT NULL, salt VARCHAR(64), "
    "old_value {long}, new_value {long}",
    "scim_order": "position BIGINT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, hash VARCHAR(64) NOT NULL",
    "scim_queue": "seq BIGINT NOT NULL PRIMARY KEY, body {long}, is_kept SMALLINT NOT NULL DEFAULT 1",
    "scim_queue_part": "seq BIGINT NOT NULL PRIMARY KEY, done BIGINT NOT NULL",
    "scim_checkpoint": "position BIGINT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, hash VARCHAR(64) NOT NULL, "
    "signature VARCHAR(64) NOT NULL",
    "scim_intent": "seq {serial}, made_at BIGINT NOT NULL, due_at BIGINT NOT NULL, txn {id} NOT NULL, "
    "body {long} NOT NULL",
    "scim_set": "position {serial}, jti {id} NOT NULL, txn {id} NOT NULL, made_at BIGINT NOT NULL, "
    "event {long} NOT NULL, feeds {long} NOT NULL",
    "scim_stream": "feed {id} NOT NULL, position BIGINT NOT NULL, acked_at BIGINT, "
    "PRIMARY KEY (feed, position)",
    "scim_delivery": "receiver {id} NOT NULL, position BIGINT NOT NULL, dead_at BIGINT, reason {long}, "
    "refused_at BIGINT, PRIMARY KEY (receiver, position)",
    "scim_receiver": "name {id} NOT NULL PRIMARY KEY, delivered BIGINT NOT NULL, attempts INTEGER NOT NULL, "
    "due_at BIGINT NOT NULL, dropped BIGINT NOT NULL, problem {long}, refused BIGINT NOT NULL DEFAULT 0",
    "scim_feed": "id {id} NOT NULL PRIMARY KEY, trimmed_to BIGINT NOT NULL, dropped BIGINT NOT NULL",
    # `lease_until` keeps releases up to 0.2.0 away from a row, and is needed for one release more.
    "scim_job": "seq {serial}, txn {id} NOT NULL UNIQUE, principal {id} NOT NULL, target {id} NOT NULL, "
    "accepted_at BIGINT NOT NULL, request {long} NOT NULL, owner {id}, lease_until BIGINT NOT NULL, "
    "due_at BIGINT, attempts INTEGER NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL, "
    "state {long}, done_at BIGINT, result {long}",
    "scim_job_operation": "txn {id} NOT NULL, position BIGINT NOT NULL, state {long} NOT NULL, "
    "PRIMARY KEY (txn, position)",
    "scim_lease": "name {id} NOT NULL PRIMARY KEY, owner {id} NOT NULL, until BIGINT NOT NULL",
    # Written by releases up to 0.2.0, and read for one release more.
    "scim_outbox": "seq {serial}, made_at BIGINT NOT NULL, due_at BIGINT NOT NULL, body {long} NOT NULL",
    "scim_begun": "seq BIGINT NOT NULL PRIMARY KEY, done BIGINT NOT NULL",
    "scim_state": "version INTEGER NOT NULL PRIMARY KEY",
}
_INDEXES: Final[Mapping[str, str]] = {
    "scim_change_of": "scim_change (resource_type, resource_id, seq)",
    "scim_change_txn": "scim_change (txn)",
    "scim_order_of": "scim_order (seq)",
    "scim_intent_txn": "scim_intent (txn)",
    "scim_set_jti": "scim_set (jti)",
    "scim_set_txn": "scim_set (txn)",
    "scim_stream_of": "scim_stream (position)",
    "scim_delivery_of": "scim_delivery (position)",
    "scim_job_due": "scim_job (done_at, seq)",
    "scim_job_order": "scim_job (principal, done_at, seq)",
}


class StateTooNew(Exception):
    """The tables were made by a later release."""


def prepare_state(database: StateDatabase) -> None:
    """Make what is missing, and bring what is old up to date. Raises StateTooNew."""
    # A database that cannot be written is read all the same.
    if _version(database) != VERSION:
        database.prepare(lambda: _make_tables(database))


def _make_tables(database: StateDatabase) -> None:
    if _version(database) == VERSION:
        return
    database.dialect.create_tables(database, _TABLES)
    database.dialect.create_indexes(database, _INDEXES)
    # The process that gives positions waits for this row.
    values = "VALUES ('dispatch', 'dispatch', 0)"
    database.run(database.dialect.insert_ignoring("scim_lease", "name, owner, until", values))
    _count_refused(database)
    database.run("DELETE FROM scim_state")
    database.run("INSERT INTO scim_state (version) VALUES (?)", (VERSION,))


def refuse_later_state(database: StateDatabase) -> None:
    """Raise StateTooNew when a later release has made the tables; there may be none."""
    _version(database)


def check_state(database: StateDatabase) -> None:
    """Return if every table is there, with the columns that came last. Raises what the database does."""
    columns = "refused_at, refused, scim_job.due_at, is_kept"
    database.row(f"SELECT {columns} FROM {', '.join(_TABLES)} WHERE 1 = 0")


def _version(database: StateDatabase) -> int:
    """Return the version of the tables, 0 for none. Raises StateTooNew."""
    row = database.row("SELECT version FROM scim_state") if database.has_table("scim_state") else None
    version = int(row[0]) if row is not None else 0
    if version > VERSION:
        raise StateTooNew(
            f"the state tables have version {version}, made by a later release; this release supports "
            f"versions up to {VERSION}: install the later release again, or restore the backup made before "
            "the upgrade"
        )
    return version


def _count_refused(database: StateDatabase) -> None:
    """Begin to count what receivers refuse with what is kept of that."""
    database.run(
        "UPDATE scim_receiver SET refused = (SELECT COUNT(*) FROM scim_delivery d "
        "WHERE d.receiver = scim_receiver.name AND d.dead_at IS NOT NULL)"
    )
