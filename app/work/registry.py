"""The registry of work: what there is to do beside requests, whoever does it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from app.work.wakeups import Wakeups

# The name of the base, which messages and leases carry: a process serves one base.
DEFAULT_BASE: Final = "default"

Until = Callable[[], bool]


@dataclass(frozen=True)
class Piece:
    """One piece of work, of which all state is rows: any number of processes may do it at the same time.

    `run` does what is due, or less when the function that it is given returns true, and returns how
    much that was. `is_due` returns whether `run` would find something. A driver with a thread for the
    piece runs it after a wake-up of `topic`, or after `every_s` seconds, but not twice within `rest_s`
    seconds. A brief piece is done at once by a process that looks for work; it precedes the pieces
    that become due through it.
    """

    name: str
    topic: str
    is_due: Callable[[], bool]
    run: Callable[[Until], int]
    every_s: float
    rest_s: float = 0.0
    is_brief: bool = False


class Work:
    """The work of one base: its pieces by name, and the wake-ups that say when to look.

    `close` closes the connections that a thread has used.
    """

    def __init__(
        self, base: str, pieces: Iterable[Piece], wakeups: Wakeups, close: Callable[[], object]
    ) -> None:
        self.base = base
        self.pieces = {piece.name: piece for piece in pieces}
        self.wakeups = wakeups
        self.close = close

    def due(self) -> Iterator[Piece]:
        """Yield the pieces that are due and that no other process does; each is looked at when asked for."""
        return (piece for piece in self.pieces.values() if piece.is_due())

    def run_once(self) -> None:
        """Do everything that is due now, in this thread."""
        for piece in self.pieces.values():
            piece.run(lambda: False)

    def title(self, piece: str) -> str:
        """Return the name of a piece for threads and log lines: with the base, unless it is the default."""
        return piece if self.base == DEFAULT_BASE else f"{self.base}/{piece}"


class Driver:
    """Has the work of a base done; this one leaves all of it to other processes."""

    def start(self) -> None:
        """Begin, in a process that serves requests or does work, unless it has begun there."""

    def start_when_settled(self) -> None:
        """Begin in a few seconds, in each process that forks no other process meanwhile."""

    def stop(self) -> None:
        """End what this driver does in this process."""
