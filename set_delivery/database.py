"""The state database, as this package uses it: whoever puts the parts together brings one along."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

_Result = TypeVar("_Result")


class Dialect(Protocol):
    """What differs between databases."""

    name: str
    for_update: str

    def create_tables(self, database: Any, tables: Mapping[str, str]) -> None:
        """Make tables from their descriptions, and add the columns and keys that earlier ones lack."""

    def create_indexes(self, database: Any, indexes: Mapping[str, str]) -> None:
        """Make the indexes that are missing; each name stands for `table (columns)`."""

    def bytes_of(self, database: Any, tables: Sequence[str]) -> int:
        """Return how many bytes tables take; on SQLite, those of the whole database."""

    def insert_ignoring(self, table: str, columns: str, rows: str) -> str:
        """Return an INSERT that leaves rows out whose key is taken."""


class StateDatabase(Protocol):
    """An SQL database; statements have `?` for parameters."""

    @property
    def dialect(self) -> Any:
        """What differs between databases (`Dialect`)."""

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is within a transaction."""

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction; inside another one, a part of it."""

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read in this context was committed at one instant; nothing can be written."""

    def when_committed(self, callback: Callable[[], object]) -> None:
        """Call `callback` once what this thread is doing is committed; not at all if it is undone."""

    def has_table(self, name: str) -> bool:
        """Return whether there is a table called `name`."""

    def columns(self, table: str) -> dict[str, str]:
        """Return the names and types of the columns of a table; none where there is none."""

    def rows(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        """Return every row of a SELECT."""

    def row(self, statement: str, params: Sequence[Any] = ()) -> Any:
        """Return the first row of a SELECT, or None."""

    def run(self, statement: str, params: Sequence[Any] = ()) -> Any:
        """Run a statement within a transaction and return its cursor.

        Its `rowcount` counts the rows that an UPDATE finds, changed or not.
        """

    def run_soon(self, statement: str, params: Sequence[Any] = ()) -> None:
        """Run a statement whose result nobody needs within a transaction, before the next one.

        Where the server takes several at once, it waits for the next one, which then
        raises the error of both.
        """

    def run_ddl(self, statement: str) -> None:
        """Run a statement that defines something."""

    def prepare(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of `work` on definitions, in a transaction, while other processes wait.

        At another node of a cluster nobody waits, and a database may commit each definition at once: after
        a conflict, `work` is done again, and finds a part of it done.
        """

    def close(self) -> None:
        """Close what is not in use; connections are opened again when needed."""


def insert_numbered(database: StateDatabase, statement: str, params: Sequence[Any], number: str) -> int:
    """Run an INSERT within a transaction and return what the database put into the column `number`."""
    if database.dialect.name == "postgresql":
        return int(database.run(f"{statement} RETURNING {number}", params).fetchone()[0])
    return int(database.run(statement, params).lastrowid)


def marks(values: Sequence[Any]) -> str:
    """Return a parameter mark for each of `values`, separated by commas."""
    return ", ".join("?" * len(values))
