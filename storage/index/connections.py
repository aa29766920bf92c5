"""The connections of one process to its database: who has one, and what can fail on it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import peewee
from playhouse.pool import MaxConnectionsExceeded

from storage.attempts import LONGEST_S
from storage.database_url import DatabaseUrl
from storage.errors import Contention, StorageReadOnly, StorageUnavailable, ValueRefused
from storage.forks import in_child
from storage.index.dialect import Dialect
from storage.index.statements import Row

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_ERRORS = (peewee.PeeweeException, UnicodeEncodeError)


class DuplicateKey(Exception):
    """A row was not written because its key is taken; `cause` is what the driver said."""

    def __init__(self, cause: peewee.PeeweeException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Use(threading.local):
    """How one thread uses its connection."""

    passing = False
    held = False
    # When the thread took its connection, in seconds since the epoch.
    taken_at = 0.0
    # When the thread had all connections opened again, in seconds since the epoch.
    left_at = 0.0


class Connections:
    """Lends a connection to a thread: for one statement, for one transaction, or for a context.

    A child of a fork leaves the connections of its parent alone and opens its own. With `pool_size`
    connections in use, the next caller waits up to `timeout_s` seconds.
    """

    def __init__(self, dialect: Dialect, url: DatabaseUrl, pool_size: int, timeout_s: float) -> None:
        self._dialect = dialect
        self._name = url.name
        self._make = lambda: dialect.connect(url, pool_size, timeout_s)
        self._shown = f"the database {url}"
        self._start()
        in_child(self._start)

    def _start(self) -> None:
        # With a pool, one of playhouse.pool; neither has types.
        self._peewee: Any = self._make()  # type: ignore[no-untyped-call]
        self._use = _Use()

    # -- statements on the connection that this thread has

    def bound(self, statement: str, params: Row | None) -> Any:
        """Return a statement and its parameters as `execute` takes them. Raises ValueRefused."""
        try:
            return self._dialect.bound(statement, params)
        except _ERRORS as exc:
            raise self._failure(exc) from exc

    def execute(self, statements: Sequence[Any]) -> list[Any]:
        """Run statements and return the cursor of each. Raises what `translated` raises.

        On PostgreSQL, it is one round trip. Statements behind one that fails are not run.
        """
        try:
            return self._dialect.send(self._peewee, statements)
        except _ERRORS as exc:
            raise self._failure(exc) from exc

    def execute_first(self, statements: Sequence[Any]) -> list[Any]:
        """Run the first statements of a transaction, as `execute` does.

        They do not end it: if the connection turns out to be dead, they are run on a fresh one.
        """
        try:
            return self.execute(statements)
        except StorageUnavailable:
            if self._use.held or self.is_usable():
                raise
        self.give_back()
        self._peewee.close_idle()
        self.take()
        return self.execute(statements)

    def fetched(self, cursor: Any) -> list[Any]:
        """Return the rows of a cursor: SQLite reads on while they are fetched. Raises as `execute` does."""
        try:
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                rows: list[Any] = cursor.fetchall()
        except _ERRORS as exc:
            raise self._failure(exc) from exc
        return rows

    def cursor(self) -> Any:
        """Return a cursor of the driver; its errors are to be `translated`."""
        return self._peewee.cursor()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise a StorageError, or DuplicateKey, for each error of the driver in this context."""
        try:
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                yield
        except _ERRORS as exc:
            raise self._failure(exc) from exc

    def _failure(self, exc: peewee.PeeweeException | UnicodeEncodeError) -> Exception:
        dialect = self._dialect
        if isinstance(exc, UnicodeEncodeError):
            return ValueRefused("a text has a lone surrogate, which cannot be stored")
        if dialect.is_contention(exc):
            return Contention("other transactions changed the same data at the same time")
        if dialect.is_duplicate(exc):
            return DuplicateKey(exc)
        if isinstance(exc, peewee.DataError):
            return ValueRefused(str(exc).splitlines()[0])
        # The next connection may be one that can write.
        self._use.passing = self._use.passing or dialect.is_spent(exc)
        if dialect.is_read_only(exc, self._name):
            if dialect.pooled and self._leave_server():
                return Contention(f"{self._shown} may be at another server now: {_sentence(exc)}")
            return StorageReadOnly(f"{self._shown} is read-only: {_sentence(exc)}")
        hint = dialect.hint(self._name)
        return StorageUnavailable(f"{self._shown} cannot be used: {_sentence(exc)}{hint}", self._name)

    def _leave_server(self) -> bool:
        """Have all connections opened again; return whether that may lead this thread to another server.

        The address of a database can lead to a standby for a while. Connections that were opened then
        stay there.
        """
        use, now = self._use, time.time()
        # The next try may get a connection that it has opened for something else before.
        is_from_here = use.left_at <= self._peewee.opened_at() and now < use.left_at + LONGEST_S
        is_known = use.taken_at <= self._peewee.opened_at() or is_from_here
        use.left_at = 0.0 if is_known else now
        self._peewee.renew()
        return not is_known

    def is_usable(self) -> bool:
        """Return whether the connection can still be used, without asking the server."""
        return self._dialect.is_usable(self._peewee.connection())

    # -- connections

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""
        if not self._dialect.pooled:
            if not self._peewee.is_closed():
                self._peewee.close()
            return
        self.give_back()
        self._peewee.close_idle()

    def take(self) -> None:
        """Give this thread a connection, unless it has one. Raises StorageUnavailable."""
        if not self._peewee.is_closed():
            return
        began = time.time()
        try:
            self._peewee.connect()
        except MaxConnectionsExceeded as exc:
            raise StorageUnavailable(f"all connections to {self._shown} are in use") from exc
        except (peewee.PeeweeException, OSError) as exc:
            # The driver leaves a file of certificates that it cannot read to us.
            hint = self._dialect.hint(self._name)
            reason = f"{self._shown} cannot be reached: {_sentence(exc)}{hint}"
            raise StorageUnavailable(reason, self._name) from exc
        self._use.taken_at = began
        self._use.passing = not self._dialect.pooled and self._dialect.is_passing(self._peewee.connection())

    def give_back(self) -> None:
        """Take the connection from this thread, unless it is held."""
        passing = self._use.passing
        if not (self._dialect.pooled or passing) or self._use.held or self._peewee.is_closed():
            return
        is_sound = not passing or self._dialect.is_sound(self._peewee.connection())
        self._peewee.close()
        if not is_sound:
            raise StorageUnavailable(f"{self._shown} was changed while it was read")

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep one connection for all that this thread does in this context."""
        self.take()
        self._use.held = True
        try:
            yield
        finally:
            self._use.held = False
            self.give_back()

    def leased(self, work: Callable[[], _Result]) -> _Result:
        """Do `work` on a connection, and once more on a fresh one if that turns out to be dead."""
        try:
            return self._attempt(work)
        except _Stale:
            # The other idle connections are as old as this one was.
            self._peewee.close_idle()
        try:
            return self._attempt(work)
        except _Stale as exc:
            raise exc.failure from exc.failure.__cause__

    def _attempt(self, work: Callable[[], _Result]) -> _Result:
        self.take()
        try:
            return work()
        except StorageUnavailable as failure:
            if self._peewee.is_closed() or self.is_usable():
                raise
            raise _Stale(failure) from failure
        finally:
            self.give_back()

    def take_and(self, begin: Callable[[], object]) -> None:
        """Begin a transaction on a connection that stays with this thread until `give_back`."""
        for attempt in (1, 2):
            self.take()
            try:
                begin()
                return
            except StorageUnavailable:
                usable = self.is_usable()
                self.give_back()
                if usable or attempt == 2:
                    raise
                self._peewee.close_idle()
            except (StorageReadOnly, Contention):
                self.give_back()
                raise

    def roll_back(self) -> None:
        """Undo the transaction on the connection, if there is one; one that cannot do so is closed."""
        if self._peewee.is_closed():
            return
        try:
            self._dialect.send(self._peewee, [self._dialect.bound("ROLLBACK", None)])
        except peewee.PeeweeException:
            # The first error is the one to report; a fresh connection is sure to hold no lock.
            _LOG.warning("rollback failed, the connection is closed")
            if self._dialect.pooled:
                self._peewee.manual_close()
            else:
                self._peewee.close()


class _Stale(Exception):
    """A connection turned out to be dead."""

    def __init__(self, failure: StorageUnavailable) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _sentence(exc: Exception) -> str:
    return " ".join(str(exc).split())
