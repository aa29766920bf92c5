"""The tables of the state database: everything that must survive the process.

    scim_outbox(seq, made_at, due_at, body)     what was changed, in the transaction of the change; with
                                                `due_at`, an intent: what is about to be changed
    scim_begun(seq, done)                       how many memberships of a large change are SETs by now
    scim_set(position, jti, txn, made_at, event, feeds)   the events, in one order for everybody
    scim_stream(feed, position, acked_at)       which feed has which event
    scim_delivery(receiver, position, ...)      what is still to be pushed, or was refused for good
    scim_receiver(name, ...)                    how far each receiver is, and how it fares
    scim_feed(id, trimmed_to)                   up to where a feed has lost events
    scim_job(seq, txn, ...)                     requests that are carried out later
    scim_job_operation(txn, position, state)    what became of the operations of one that is Bulk
    scim_lease(name, owner, until)              who is doing what only one may do at a time
    scim_state(version)                         which version of these tables this is
"""

from typing import Final

from set_delivery.database import StateDatabase

# Raise it with every change of `_definitions`, and add to `_ADDED` which columns older tables lack.
VERSION: Final = 3

# Columns that came after their table.
_ADDED: Final = (
    ("scim_delivery", "refused_at", "BIGINT"),
    ("scim_receiver", "refused", "BIGINT NOT NULL DEFAULT 0"),
)


class StateTooNew(Exception):
    """The tables were made by a later release."""


def prepare_state(database: StateDatabase) -> None:
    """Make what is missing, and bring what is old up to date. Raises StateTooNew."""
    # A database that cannot be written is read all the same.
    if _version(database) == VERSION:
        return
    with database.dialect.preparing(database):
        if _version(database) == VERSION:
            return
        # MySQL has no transaction around definitions: each step may be found done.
        with database.transaction():
            for statement in _definitions(database):
                database.run_ddl(statement)
            for table, column, kind in _ADDED:
                if column not in database.columns(table):
                    database.run_ddl(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            # Whoever gives out positions waits for this row.
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
    database.row(
        "SELECT refused_at, refused FROM scim_outbox, scim_begun, scim_set, scim_stream, scim_delivery, "
        "scim_receiver, scim_feed, scim_job, scim_job_operation, scim_lease, scim_state WHERE 1 = 0"
    )


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


def _definitions(database: StateDatabase) -> list[str]:
    dialect = database.dialect
    key, text, end = dialect.id, dialect.long if dialect.name != "mysql" else "LONGTEXT", dialect.options
    # Within the definition where MySQL wants it, behind it elsewhere.
    inline = dialect.name == "mysql"
    indexes = {
        "scim_set_jti": ("scim_set", "jti"),
        "scim_set_txn": ("scim_set", "txn"),
        "scim_stream_of": ("scim_stream", "position"),
        "scim_delivery_of": ("scim_delivery", "position"),
        "scim_job_due": ("scim_job", "done_at, seq"),
        "scim_job_order": ("scim_job", "principal, done_at, seq"),
    }

    def inlined(table: str) -> str:
        names = [(name, columns) for name, (owner, columns) in indexes.items() if owner == table]
        return "".join(f", KEY {name} ({columns})" for name, columns in names) if inline else ""

    row_key = dialect.row_key
    if dialect.name == "sqlite":
        # A number that was used must never come again: readers go on from there.
        row_key = "INTEGER PRIMARY KEY AUTOINCREMENT"
    statements = [
        f"CREATE TABLE IF NOT EXISTS scim_outbox (seq {row_key}, made_at BIGINT NOT NULL, "
        f"due_at BIGINT NOT NULL, body {text} NOT NULL){end}",
        f"CREATE TABLE IF NOT EXISTS scim_begun (seq BIGINT NOT NULL PRIMARY KEY, done BIGINT NOT NULL){end}",
        f"CREATE TABLE IF NOT EXISTS scim_set (position {row_key}, jti {key} NOT NULL, "
        f"txn {key} NOT NULL, made_at BIGINT NOT NULL, event {text} NOT NULL, feeds {text} NOT NULL"
        f"{inlined('scim_set')}){end}",
        f"CREATE TABLE IF NOT EXISTS scim_stream (feed {key} NOT NULL, position BIGINT NOT NULL, "
        f"acked_at BIGINT, PRIMARY KEY (feed, position){inlined('scim_stream')}){end}",
        f"CREATE TABLE IF NOT EXISTS scim_delivery (receiver {key} NOT NULL, position BIGINT NOT NULL, "
        f"dead_at BIGINT, reason {text}, refused_at BIGINT, PRIMARY KEY (receiver, position)"
        f"{inlined('scim_delivery')}){end}",
        f"CREATE TABLE IF NOT EXISTS scim_receiver (name {key} NOT NULL PRIMARY KEY, "
        "delivered BIGINT NOT NULL, attempts INTEGER NOT NULL, due_at BIGINT NOT NULL, "
        f"dropped BIGINT NOT NULL, problem {text}, refused BIGINT NOT NULL DEFAULT 0){end}",
        f"CREATE TABLE IF NOT EXISTS scim_feed (id {key} NOT NULL PRIMARY KEY, "
        f"trimmed_to BIGINT NOT NULL, dropped BIGINT NOT NULL){end}",
        f"CREATE TABLE IF NOT EXISTS scim_job (seq {row_key}, txn {key} NOT NULL UNIQUE, "
        f"principal {key} NOT NULL, target {key} NOT NULL, accepted_at BIGINT NOT NULL, "
        f"request {text} NOT NULL, owner {key}, lease_until BIGINT NOT NULL, attempts INTEGER NOT NULL, "
        f"done INTEGER NOT NULL, total INTEGER NOT NULL, state {text}, done_at BIGINT, result {text}"
        f"{inlined('scim_job')}){end}",
        f"CREATE TABLE IF NOT EXISTS scim_job_operation (txn {key} NOT NULL, position BIGINT NOT NULL, "
        f"state {text} NOT NULL, PRIMARY KEY (txn, position)){end}",
        f"CREATE TABLE IF NOT EXISTS scim_lease (name {key} NOT NULL PRIMARY KEY, owner {key} NOT NULL, "
        f"until BIGINT NOT NULL){end}",
        f"CREATE TABLE IF NOT EXISTS scim_state (version INTEGER NOT NULL){end}",
    ]
    if not inline:
        statements += [
            f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})"
            for name, (table, columns) in indexes.items()
        ]
    return statements
