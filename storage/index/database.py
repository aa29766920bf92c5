"""The connections of one process to its database, the transactions on them, and what can fail."""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import peewee
from playhouse.pool import MaxConnectionsExceeded

from storage.database_url import DatabaseUrl
from storage.errors import (
    Contention,
    OutcomeUnknown,
    StorageReadOnly,
    StorageUnavailable,
    ValueRefused,
)
from storage.forks import in_child
from storage.index.dialect import Dialect, Row

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_UNDONE = "other transactions changed the same data at the same time"
# Databases limit the parameters and the length of what comes as one statement.
_MOST_WAITING = 4
_MOST_CELLS = 500
_SURROGATE = "a text has a lone surrogate, which cannot be stored"


class DuplicateKey(Exception):
    """A row was not written because its key is taken; `cause` is what the driver said."""

    def __init__(self, cause: peewee.PeeweeException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _State(threading.local):
    """What one thread is in the middle of."""

    within = False
    broken = False
    passing = False
    held = False
    parts = 0

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.remembered: dict[Any, Any] = {}
        # Each is called once, in order.
        self.committed: dict[Callable[[], object], None] = {}
        # Statements with their parameters and legs, see `run_soon`.
        self.waiting: list[tuple[str, Row, str]] = []


class Database:
    """Runs statements. Whatever fails leaves as a StorageError, or as DuplicateKey.

    A connection is taken from the pool for one statement or one transaction. A child of a fork
    leaves the connections of its parent alone and opens its own. With `pool_size` connections in
    use, the next caller waits up to `timeout_s` seconds.
    """

    def __init__(self, dialect: Dialect, url: DatabaseUrl, pool_size: int, timeout_s: float) -> None:
        self.dialect = dialect
        self.name = url.name
        self._make = lambda: dialect.connect(url, pool_size, timeout_s)
        self._queue = dialect.queue(url, timeout_s)
        self._shown = f"the database {url}"
        self._start()
        in_child(self._start)

    def _start(self) -> None:
        # With a pool, one of playhouse.pool; neither has types.
        self._peewee: Any = self._make()  # type: ignore[no-untyped-call]
        self._local = _State()

    # -- statements

    def has_table(self, name: str) -> bool:
        """Return whether there is a table or a view called `name`."""
        return bool(self.columns(name))

    def columns(self, table: str) -> dict[str, str]:
        """Return the names and types of the columns of a table or view; none where there is none."""
        described = (
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = {} AND table_name = ?"
        )
        catalogue = {
            "sqlite": "SELECT name, type FROM pragma_table_info(?)",
            "postgresql": described.format("current_schema()"),
            "mysql": described.format("DATABASE()"),
        }
        return {name: kind.lower() for name, kind in self.rows(catalogue[self.dialect.name], (table,))}

    def rows(self, statement: str, params: Row = ()) -> list[Any]:
        """Return every row of a SELECT.

        Outside a transaction, a connection that was lost since it was last used is replaced: a
        restart of the database is not seen.
        """
        if self._local.within:
            return self._fetch(statement, params)
        return self._leased(lambda: self._fetch(statement, params))

    def row(self, statement: str, params: Row = ()) -> Any:
        """Return the first row of a SELECT, or None."""
        found = self.rows(statement, params)
        return found[0] if found else None

    def run(self, statement: str, params: Row = ()) -> Any:
        """Run a statement within a transaction and return its cursor."""
        assert self._local.within
        return self._execute(statement, params)

    def run_soon(self, statement: str, params: Row = (), legs: str = "") -> None:
        """Run a statement whose result nobody needs within a transaction, not later than the next one.

        Several that wait go to the server as one; none of them looks at what the others write. `legs`,
        on PostgreSQL, are what stands between WITH and the statement; their parameters come first.
        """
        assert self._local.within
        waiting = self._local.waiting
        if not self.dialect.pooled or len(params) > _MOST_CELLS:
            # Without a server there is no way to it to be saved, and with much to send it costs little.
            self._execute(statement, params)
            return
        if len(waiting) == _MOST_WAITING or legs and any(legs == others for *_, others in waiting):
            self._run_waiting()
        waiting.append((statement, params, legs))

    def _run_waiting(self) -> None:
        waiting = [*self._local.waiting]
        self._local.waiting.clear()
        if waiting:
            self.dialect.run_joined(self, waiting)

    def run_ddl(self, statement: str) -> None:
        """Run a statement that defines something, within a transaction or not."""
        if self.in_transaction:
            self._execute(statement, None)
        else:
            self._leased(lambda: self._execute(statement, None))

    def cursor(self) -> Any:
        """Return a cursor of the driver within a transaction; its errors are `translated`."""
        assert self.in_transaction
        self._run_waiting()
        return self._peewee.cursor()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Give the driver's errors in this context the names that they have everywhere."""
        try:
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                yield
        except peewee.PeeweeException as exc:
            raise self._failure(exc) from exc
        except UnicodeEncodeError as exc:
            raise ValueRefused(_SURROGATE) from exc

    def _fetch(self, statement: str, params: Row) -> list[Any]:
        cursor = self._execute(statement, params)
        try:
            # SQLite reads on while rows are fetched.
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                rows: list[Any] = cursor.fetchall()
        except peewee.PeeweeException as exc:
            raise self._failure(exc) from exc
        return rows

    def _execute(self, statement: str, params: Row | None) -> Any:
        if self._local.broken and self._local.within:
            # What is undone must not go on as if it were not.
            raise Contention(_UNDONE)
        if self._local.waiting:
            self._run_waiting()
        if self.dialect.mark != "?":
            statement = statement.replace("?", self.dialect.mark)
        try:
            return self._peewee.execute_sql(statement, params)
        except peewee.PeeweeException as exc:
            raise self._failure(exc) from exc
        except UnicodeEncodeError as exc:
            raise ValueRefused(_SURROGATE) from exc

    def _failure(self, exc: peewee.PeeweeException) -> Exception:
        if self.dialect.is_contention(exc):
            # MariaDB has undone the whole transaction, PostgreSQL refuses to go on with it.
            self._local.broken = True
            return Contention(_UNDONE)
        if self.dialect.is_duplicate(exc):
            return DuplicateKey(exc)
        if isinstance(exc, peewee.DataError):
            return ValueRefused(str(exc).splitlines()[0])
        # The next connection may be one that can write.
        self._local.passing = self._local.passing or self.dialect.is_spent(exc)
        if self.dialect.is_read_only(exc, self.name):
            return StorageReadOnly(f"{self._shown} is read-only: {_sentence(exc)}")
        hint = self.dialect.hint(self.name)
        return StorageUnavailable(f"{self._shown} cannot be used: {_sentence(exc)}{hint}", self.name)

    # -- connections

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        if not self.dialect.pooled:
            if not self._peewee.is_closed():
                self._peewee.close()
            return
        self._give_back()
        self._peewee.close_idle()

    def _leased(self, work: Callable[[], _Result]) -> _Result:
        """Do `work` on a connection, and once more on a fresh one if that turns out to be dead."""
        try:
            return self._attempt(work)
        except _Stale:
            # What else is idle is as old as this one was.
            self._peewee.close_idle()
        try:
            return self._attempt(work)
        except _Stale as exc:
            raise exc.failure from exc.failure.__cause__

    def _attempt(self, work: Callable[[], _Result]) -> _Result:
        self._take()
        try:
            return work()
        except StorageUnavailable as failure:
            if self._peewee.is_closed() or self.dialect.is_usable(self._peewee.connection()):
                raise
            raise _Stale(failure) from failure
        finally:
            self._give_back()

    def _take(self) -> None:
        if not self._peewee.is_closed():
            return
        try:
            self._peewee.connect()
        except MaxConnectionsExceeded as exc:
            raise StorageUnavailable(f"all connections to {self._shown} are in use") from exc
        except (peewee.PeeweeException, OSError) as exc:
            # The driver leaves a file of certificates that it cannot read to us.
            hint = self.dialect.hint(self.name)
            reason = f"{self._shown} cannot be reached: {_sentence(exc)}{hint}"
            raise StorageUnavailable(reason, self.name) from exc
        self._local.passing = self.dialect.is_passing(self._peewee.connection())

    def _give_back(self) -> None:
        passing = self._local.passing
        if not (self.dialect.pooled or passing) or self._local.held or self._peewee.is_closed():
            return
        is_sound = not passing or self.dialect.is_sound(self._peewee.connection())
        self._peewee.close()
        if not is_sound:
            raise StorageUnavailable(f"{self._shown} was changed while it was read")

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep one connection for all that this thread does in this context."""
        self._take()
        self._local.held = True
        try:
            yield
        finally:
            self._local.held = False
            self._give_back()

    # -- transactions

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is within a transaction."""
        return self._local.within

    @property
    def remembered(self) -> dict[Any, Any]:
        """What callers keep for the rest of the transaction, or until a part of it is undone."""
        return self._local.remembered

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction; inside another one, a part of it."""
        return nullcontext() if self._local.within else self._whole_transaction()

    @contextmanager
    def _whole_transaction(self) -> Iterator[None]:
        # The queue ends with the lock that it is for.
        with self._queue.turn() if self._queue else nullcontext():
            self._leased_for_good(lambda: self._execute(self.dialect.begin, None))
            self._local.within, self._local.parts, self._local.broken = True, 0, False
            self._local.remembered, self._local.committed = {}, {}
            try:
                yield
                self._write_counts()
                self._run_waiting()
                self._commit()
            except BaseException:
                self._local.waiting.clear()
                self._roll_back()
                raise
            finally:
                self._local.within, self._local.counts = False, {}
                self._give_back()
        for callback in self._local.committed:
            callback()

    def _commit(self) -> None:
        try:
            self._execute("COMMIT", None)
        except (StorageReadOnly, StorageUnavailable) as exc:
            if self.dialect.is_usable(self._peewee.connection()):
                raise
            # The server may have committed, and died or hung up before it said so.
            raise OutcomeUnknown(str(exc)) from exc

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read in this context was committed at one instant; nothing can be written."""
        if self.in_transaction:
            yield
            return
        self._leased_for_good(self._begin_reading)
        self._local.held = True
        try:
            yield
        finally:
            self._roll_back()
            self._local.held = False
            self._give_back()

    def _begin_reading(self) -> None:
        for statement in self.dialect.begin_reading:
            self._execute(statement, None)

    def when_committed(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the transaction under way is committed, or now if there is none.

        A transaction that is undone calls nobody; a part that is undone alone may.
        """
        if self.in_transaction:
            self._local.committed[callback] = None
        else:
            callback()

    def _leased_for_good(self, begin: Callable[[], object]) -> None:
        """Begin a transaction on a connection that stays with this thread."""
        for attempt in (1, 2):
            self._take()
            try:
                begin()
                return
            except StorageUnavailable:
                usable = self.dialect.is_usable(self._peewee.connection())
                self._give_back()
                if usable or attempt == 2:
                    raise
                self._peewee.close_idle()
            except StorageReadOnly:
                self._give_back()
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction under way that can be undone alone."""
        if not self.in_transaction:
            with self.transaction():
                yield
            return
        counts = dict(self._local.counts)
        # MySQL forgets a savepoint when another one takes its name.
        self._local.parts += 1
        name = f"part{self._local.parts}"
        self._execute(f"SAVEPOINT {name}", None)
        try:
            yield
            self._run_waiting()
        except BaseException:
            self._local.counts = counts
            self._local.waiting.clear()
            self._local.remembered.clear()
            if not self._local.broken:
                self._execute(f"ROLLBACK TO SAVEPOINT {name}", None)
                self._execute(f"RELEASE SAVEPOINT {name}", None)
            raise
        self._execute(f"RELEASE SAVEPOINT {name}", None)

    def _roll_back(self) -> None:
        try:
            self._peewee.execute_sql("ROLLBACK")
        except peewee.PeeweeException:
            # The first error is the one to report; a fresh connection is sure to hold no lock.
            _LOG.warning("rollback failed, the connection is closed")
            if self.dialect.pooled:
                self._peewee.manual_close()
            else:
                self._peewee.close()

    # -- totals: rows that every writer of a type changes, so they are changed last and together

    def count(self, type_number: int, change: int) -> None:
        """Change the total of a type when the transaction commits."""
        counts = self._local.counts
        counts[type_number] = counts.get(type_number, 0) + change

    def counted(self, type_number: int) -> tuple[str, Row]:
        """Return the expression for the total of a type, this transaction included."""
        pending = self._local.counts
        counted = "(SELECT COALESCE(SUM(total), 0) + ? FROM scim_count WHERE type = ?)"
        return counted, (pending.get(type_number, 0), type_number)

    def _write_counts(self) -> None:
        changes = sorted((number, change) for number, change in self._local.counts.items() if change)
        # In one order everywhere: writers wait for each other, but never in a circle. Legs have no order.
        run = self.run_soon if len(changes) == 1 else self._execute
        for type_number, change in changes:
            run(
                "UPDATE scim_count SET total = total + ? WHERE type = ? AND shard = ?",
                (change, type_number, random.randrange(self.dialect.shards)),
            )


class _Stale(Exception):
    """A connection turned out to be dead."""

    def __init__(self, failure: StorageUnavailable) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _sentence(exc: Exception) -> str:
    return " ".join(str(exc).split())


def marks(values: Sequence[Any]) -> str:
    """Return a parameter mark for each of `values`, separated by commas."""
    return ", ".join("?" * len(values))
