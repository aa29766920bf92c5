"""What a transaction has to do when it commits, and what it knows meanwhile."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from storage.index.statements import Row

Check = Callable[[Any], object]
"""Takes the cursor of a statement, and raises what is wrong with its answer."""


def unchecked(cursor: Any) -> None:
    """Accept every answer."""


@dataclass
class Transaction:
    """The transaction that a thread is in.

    `remembered` is for callers, until the transaction ends or a part of it is undone. Each callback of
    `committed` is called once, in order. `counts` holds the change of the total of each type. `waiting` are
    statements, as `Dialect.bound` makes them, that go to the server together with the next one, each with
    the check of its answer.
    """

    remembered: dict[Any, Any] = field(default_factory=dict)
    committed: dict[Callable[[], object], None] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    waiting: list[tuple[Any, Check]] = field(default_factory=list)
    # Whether the server knows of it.
    has_begun: bool = False
    # MariaDB has undone the whole transaction, or PostgreSQL refuses to go on with it.
    is_broken: bool = False
    _parts: int = 0

    def next_part(self) -> "Part":
        """Return the beginning of a part that can be undone alone."""
        self._parts += 1
        # MySQL forgets a savepoint when another one takes its name.
        return Part(f"part{self._parts}", dict(self.counts), self.waiting, len(self.waiting))

    def undo(self, part: "Part") -> bool:
        """Forget what came after the beginning of a part; return whether the server may know of that."""
        self.counts = part.counts
        self.remembered.clear()
        is_sent = self.waiting is not part.waiting
        del self.waiting[0 if is_sent else part.place :]
        return is_sent

    def take_waiting(self) -> list[tuple[Any, Check]]:
        """Return the statements that wait, and have none wait."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def count(self, type_number: int, change: int) -> None:
        """Change the total of a type when the transaction commits."""
        self.counts[type_number] = self.counts.get(type_number, 0) + change

    def updates_of_totals(self, shards: int) -> Iterator[tuple[str, Row]]:
        """Yield the statements that change the totals, each with its parameters.

        Every writer of a type changes these rows: last, together, and in one order everywhere, so that
        writers wait for each other, but never in a circle.
        """
        for type_number, change in sorted(self.counts.items()):
            if change:
                yield (
                    "UPDATE scim_count SET total = total + ? WHERE type = ? AND shard = ?",
                    (change, type_number, random.randrange(shards)),
                )


@dataclass(frozen=True)
class Part:
    """A part of a transaction: its savepoint, what had been counted, and what waited when it began."""

    name: str
    counts: dict[int, int]
    waiting: list[Any]
    place: int
