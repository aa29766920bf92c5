"""A database of one process: statements, and the transactions that they are part of."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from storage.attempts import own_limit, repeated
from storage.database_url import DatabaseUrl
from storage.errors import Contention, OutcomeUnknown, StorageReadOnly, StorageUnavailable
from storage.forks import in_child
from storage.index.connections import Connections, DuplicateKey
from storage.index.dialect import PREPARING_S, Dialect, marks
from storage.index.statements import Row
from storage.index.transaction import Check, Transaction, unchecked

__all__ = ("Database", "DuplicateKey", "marks")

_Result = TypeVar("_Result")
# So many statements wait at most.
_MOST_WAITING = 100


class _State(threading.local):
    """The transaction that a thread is in."""

    transaction: Transaction | None = None


class Database:
    """Runs statements. Whatever fails leaves as a StorageError, or as DuplicateKey.

    A connection is taken from the pool for one statement or one transaction. With `pool_size`
    connections in use, the next caller waits up to `timeout_s` seconds.
    """

    def __init__(self, dialect: Dialect, url: DatabaseUrl, pool_size: int, timeout_s: float) -> None:
        self.dialect = dialect
        self.name = url.name
        self._connections = Connections(dialect, url, pool_size, timeout_s)
        self._url, self._timeout_s = url, timeout_s
        self._queue = dialect.queue(url, timeout_s)
        self._start()
        in_child(self._start)

    def to_read(self) -> "Database":
        """Return the same database for one thread that only reads: nothing is made or changed for it."""
        return Database(self.dialect.to_read(), self._url, 1, self._timeout_s)

    def _start(self) -> None:
        self._local = _State()

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        self._connections.close()

    def lease(self) -> AbstractContextManager[None]:
        """Keep one connection for all that this thread does in this context."""
        return self._connections.lease()

    # -- statements

    def has_table(self, name: str) -> bool:
        """Return whether there is a table or a view called `name`."""
        return bool(self.columns(name))

    def columns(self, table: str) -> dict[str, str]:
        """Return the names and types of the columns of a table or view; none where there is none."""
        return {name: kind.lower() for name, kind in self.rows(self.dialect.columns, (table,))}

    def rows(self, statement: str, params: Row = ()) -> list[Any]:
        """Return every row of a SELECT.

        Outside a transaction, a connection that was lost since it was last used is replaced: a
        restart of the database is not seen.
        """
        if self.in_transaction:
            return self._all(self._execute(statement, params))
        return self._connections.leased(lambda: self._all(self._execute(statement, params)))

    def row(self, statement: str, params: Row = ()) -> Any:
        """Return the first row of a SELECT, or None."""
        found = self.rows(statement, params)
        return found[0] if found else None

    def rows_of(self, *statements: tuple[str, Row]) -> list[list[Any]]:
        """Return every row of each SELECT, run one after another within a transaction."""
        cursors = self._send([self._connections.bound(*one) for one in statements])
        return [self._all(cursor) for cursor in cursors]

    def run(self, statement: str, params: Row = ()) -> Any:
        """Run a statement within a transaction and return its cursor."""
        assert self.in_transaction
        return self._execute(statement, params)

    def run_soon(self, statement: str, params: Row | None = (), check: Check = unchecked) -> None:
        """Run a statement whose result nobody needs within a transaction, before the next one.

        Where the server takes several at once, it waits for the next one, which then
        raises the error of both, and what `check` makes of its answer.
        """
        if not self.dialect.pipelines:
            check(self._execute(statement, params))
            return
        waiting = self._transaction.waiting
        waiting.append((self._connections.bound(statement, params), check))
        if len(waiting) >= _MOST_WAITING:
            self._send([])

    def run_ddl(self, statement: str) -> None:
        """Run a statement that defines something, within a transaction or not."""
        if self.in_transaction:
            self._execute(statement, None)
        else:
            self._connections.leased(lambda: self._execute(statement, None))

    def prepare(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work` on definitions, in a transaction, while other processes wait.

        At another node of a cluster nobody waits, and a database may commit each definition at once: after
        a conflict, `work` is done again, and finds a part of it done.
        """

        def attempt() -> _Result:
            with self.dialect.preparing(self), self.transaction():
                return work()

        # A definition of another process may take so long.
        with own_limit(longest_s=PREPARING_S):
            return repeated(attempt, Contention, DuplicateKey)

    def cursor(self) -> Any:
        """Return a cursor of the driver within a transaction; its errors are `translated`."""
        self._send([])
        return self._connections.cursor()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Give the driver's errors in this context the names that they have everywhere."""
        try:
            with self._connections.translated():
                yield
        except Contention:
            self._break()
            raise

    def _all(self, cursor: Any) -> list[Any]:
        try:
            return self._connections.fetched(cursor)
        except Contention:
            self._break()
            raise

    def _execute(self, statement: str, params: Row | None) -> Any:
        return self._send([self._connections.bound(statement, params)])[0]

    def _send(self, statements: list[Any]) -> list[Any]:
        """Run statements, after those that wait, and return the cursor of each."""
        transaction = self._local.transaction
        if transaction is None:
            return self._connections.execute(statements)
        if transaction.is_broken:
            # An undone transaction must not go on as if it were not undone.
            raise Contention("other transactions changed the same data at the same time")
        waiting, connections = transaction.take_waiting(), self._connections
        execute = connections.execute if transaction.has_begun else connections.execute_first
        transaction.has_begun = True
        try:
            cursors = execute([*(statement for statement, _ in waiting), *statements])
        except Contention:
            self._break()
            raise
        for (_, check), cursor in zip(waiting, cursors, strict=False):
            check(cursor)
        return cursors[len(waiting) :]

    def _break(self) -> None:
        if self._local.transaction is not None:
            self._local.transaction.is_broken = True

    # -- transactions

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is within a transaction."""
        return self._local.transaction is not None

    @property
    def _transaction(self) -> Transaction:
        assert self._local.transaction is not None
        return self._local.transaction

    @property
    def remembered(self) -> dict[Any, Any]:
        """What callers keep for the rest of the transaction, or until a part of it is undone."""
        return self._transaction.remembered

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction; inside another one, a part of it."""
        return nullcontext() if self.in_transaction else self._whole_transaction()

    @contextmanager
    def _whole_transaction(self) -> Iterator[None]:
        # The queue ends with the lock that it is for.
        with self._queue.turn() if self._queue else nullcontext():
            transaction = self._local.transaction = self._begun()
            try:
                yield
                for update in transaction.updates_of_totals(self.dialect.shards):
                    self.run_soon(*update)
                self._commit()
            except BaseException:
                if transaction.has_begun:
                    self._connections.roll_back()
                raise
            finally:
                self._local.transaction = None
                self._connections.give_back()
        for callback in transaction.committed:
            callback()

    def _begun(self) -> Transaction:
        if self.dialect.pipelines:
            self._connections.take()
            begin = self._connections.bound(self.dialect.begin, None)
            return Transaction(waiting=[(begin, unchecked)])
        self._connections.take_and(lambda: self._execute(self.dialect.begin, None))
        return Transaction(has_begun=True)

    def _commit(self) -> None:
        transaction = self._transaction
        if not transaction.has_begun:
            if len(transaction.waiting) == 1:
                # There is nothing behind BEGIN.
                return
            # On a dead connection, all but the end can be repeated.
            self._send([])
        try:
            self._execute("COMMIT", None)
        except (StorageReadOnly, StorageUnavailable) as exc:
            if self._connections.is_usable():
                raise
            # The server may have committed, and died or hung up before it said so.
            raise OutcomeUnknown(str(exc)) from exc

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read in this context was committed at one instant; nothing can be written."""
        if self.in_transaction:
            yield
            return
        begin = self.dialect.begin_reading
        self._connections.take_and(lambda: [self._execute(statement, None) for statement in begin])
        with self._connections.lease():
            try:
                yield
            finally:
                self._connections.roll_back()

    def when_committed(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the transaction under way is committed, or now if there is none.

        A transaction that is undone calls nobody; a part that is undone alone may.
        """
        if self._local.transaction is None:
            callback()
        else:
            self._local.transaction.committed[callback] = None

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction under way that can be undone alone."""
        if not self.in_transaction:
            with self.transaction():
                yield
            return
        transaction = self._transaction
        part = transaction.next_part()
        self.run_soon(f"SAVEPOINT {part.name}", None)
        try:
            yield
        except BaseException:
            if transaction.undo(part) and not transaction.is_broken:
                self.run_soon(f"ROLLBACK TO SAVEPOINT {part.name}", None)
                self.run_soon(f"RELEASE SAVEPOINT {part.name}", None)
            raise
        self.run_soon(f"RELEASE SAVEPOINT {part.name}", None)

    # -- totals

    def count(self, type_number: int, change: int) -> None:
        """Change the total of a type when the transaction commits."""
        self._transaction.count(type_number, change)

    def counted(self, type_number: int) -> tuple[str, Row]:
        """Return the expression for the total of a type, this transaction included."""
        transaction = self._local.transaction
        pending = transaction.counts.get(type_number, 0) if transaction else 0
        return "(SELECT COALESCE(SUM(total), 0) + ? FROM scim_count WHERE type = ?)", (pending, type_number)
