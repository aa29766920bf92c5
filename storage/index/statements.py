"""What a dialect needs of a database: to run statements there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = Sequence[Any]


class ByValue(str):
    """A statement whose best plan depends on the values of its parameters: some are rare, others frequent.

    PostgreSQL plans such a statement each time, and every other one once for each connection.
    """


class Statements(Protocol):
    """A database, as far as a dialect runs statements there; `name` is its name, or its file."""

    name: str

    def transaction(self) -> AbstractContextManager[None]: ...

    def lease(self) -> AbstractContextManager[None]: ...

    def translated(self) -> AbstractContextManager[None]: ...

    def columns(self, table: str) -> dict[str, str]: ...

    def rows(self, statement: str, params: Row = ()) -> list[Any]: ...

    def row(self, statement: str, params: Row = ()) -> Any: ...

    def run(self, statement: str, params: Row = ()) -> Any: ...

    def run_ddl(self, statement: str) -> None: ...

    def cursor(self) -> Any: ...
