"""What differs between SQLite, PostgreSQL and MariaDB/MySQL; everything else is the same SQL.

Statements are written with `?` for parameters, `ON CONFLICT` never, and `LIMIT ? OFFSET ?`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import peewee

from storage.database_url import DatabaseUrl
from storage.queue import FairQueue
from storage.sql.inserts import RESOURCE, claim_unique, insert_index
from storage.sql.layout import IndexRow

if TYPE_CHECKING:
    from storage.sql.database import Database

# What stands for "all" in a LIMIT: it is a number in every dialect.
UNLIMITED = 2**63 - 1

Row = Sequence[Any]


class Dialect(ABC):
    """One kind of database."""

    name: ClassVar[str]
    # Whether connections belong to a pool; an SQLite connection stays with its thread.
    pooled: ClassVar[bool] = True
    mark: ClassVar[str] = "%s"
    quote: ClassVar[str] = '"'
    begin: ClassVar[str] = "BEGIN"
    # What begins a transaction that reads, and sees what was committed at one instant.
    begin_reading: ClassVar[Sequence[str]]
    # Behind a SELECT of resources: nobody else may change them, or remove them, until the
    # transaction ends.
    for_update: ClassVar[str] = " FOR UPDATE"
    for_share: ClassVar[str] = ""
    # How many counters a total is spread over: each is a row that writers wait for.
    shards: ClassVar[int] = 16
    # Behind scim_resource where all of a type are walked through in order.
    by_type: ClassVar[str] = ""
    # The expression for the JSON text of a document.
    text: ClassVar[str] = "d.details"

    # The statement that tells the planner what is in the tables, once much of it is new.
    count_values: ClassVar[str] = ""

    # Words of the table definitions.
    row_key: ClassVar[str]
    row: ClassVar[str] = "BIGINT"
    key: str
    id: str = "VARCHAR(255)"
    long: ClassVar[str] = "TEXT"
    json: ClassVar[str]
    keyed: ClassVar[str] = ""
    options: str = ""

    @abstractmethod
    def connect(self, url: DatabaseUrl, pool_size: int, timeout_s: float) -> peewee.Database:
        """Return the database of peewee for `url`, without connecting to it."""

    def queue(self, url: DatabaseUrl, timeout_s: float) -> FairQueue | None:
        """Return where writers line up, None where the database sees to that."""
        return None

    def quoted(self, name: str) -> str:
        """Return a name of a table as an identifier."""
        return f"{self.quote}{name.replace(self.quote, self.quote * 2)}{self.quote}"

    @abstractmethod
    def preparing(self, database: "Database") -> AbstractContextManager[None]:
        """Return a context in which no other process changes tables."""

    def is_duplicate(self, error: peewee.PeeweeException) -> bool:
        """Return whether an error says that a key is taken."""
        return isinstance(error, peewee.IntegrityError)

    def is_contention(self, error: peewee.PeeweeException) -> bool:
        """Return whether an error ended a transaction because of another one: it may be tried again."""
        return False

    def is_read_only(self, error: peewee.PeeweeException, name: str) -> bool:
        """Return whether an error says that the database `name` is meant to be read only."""
        return False

    def hint(self, name: str) -> str:
        """Return what keeps the database `name` from being written, where that can be seen from here."""
        return ""

    def is_passing(self, connection: Any) -> bool:
        """Return whether a connection is for one statement or transaction, though there is no pool."""
        return False

    def is_spent(self, error: peewee.PeeweeException) -> bool:
        """Return whether a connection is no good after an error: it is closed when it is given back."""
        return False

    def is_sound(self, connection: Any) -> bool:
        """Return whether all that was read on a passing connection was committed at one instant."""
        return True

    def is_usable(self, connection: Any) -> bool:
        """Return whether a connection can still be used, without asking the server."""
        return True

    @abstractmethod
    def insert_ignoring(self, table: str, columns: str, rows: str) -> str:
        """Return an INSERT that leaves rows out whose key is taken; `rows` is VALUES or a SELECT."""

    def insert_whole(
        self,
        database: "Database",
        table: str,
        resource: Row,
        details: str,
        unique: Sequence[tuple[int, str]],
        index: Sequence[IndexRow],
    ) -> tuple[int, set[int]]:
        """Write a new resource: its row, its document, its unique values and its index rows.

        Return the row key and the paths whose unique value was free; the rest may be missing when
        that is not all of them. Raises DuplicateKey when the id is taken.
        """
        statement = f"INSERT INTO scim_resource ({RESOURCE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        rid = int(database.run(statement, resource).lastrowid)
        claimed = claim_unique(database, rid, unique)
        if len(claimed) == len(unique):
            database.run(f"INSERT INTO {table} (id, details) VALUES (?, ?)", (resource[1], details))
            insert_index(database, rid, index)
        return rid, claimed

    @abstractmethod
    def insert_rows(self, database: "Database", table: str, columns: str, rows: Iterable[Row]) -> None:
        """Insert many rows as fast as the driver can. Raises DuplicateKey."""

    @abstractmethod
    def contains(self, text: str) -> str:
        """Return the condition that `text` contains the parameter."""

    @abstractmethod
    def ends_with(self, text: str) -> str:
        """Return the condition on `text` whose parameters are a length in characters and an end."""

    def ids_by_type_no_more(self, database: "Database") -> list[str]:
        """Return what ends the constraint on ids within a type, once ids are unique over all types.

        SQLite cannot drop it: it stays beside the new one.
        """
        return []

    @abstractmethod
    def adopt(self, database: "Database", table: str) -> None:
        """Make the columns of a table that others have made comparable with ours."""

    @abstractmethod
    def whole_document(self, name: str, members: str) -> str:
        """Return the expression for `d.details` with the members of `d` under `name`.

        `members` is the rest of a SELECT, from FROM on, with a member in `r`, its type in `t` and
        the membership in `m`.
        """


# A member as people see it who read the database.
MEMBER = "'value', r.id, 'type', t.name, 'display', COALESCE(m.display, r.display)"
